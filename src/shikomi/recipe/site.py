"""The site: where a build runs. Nothing of it is ever part of an identity."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from shikomi.recipe.launch import LaunchPage, SlurmPage
from shikomi.recipe.load import load_page
from shikomi.recipe.mesh import TrainingSite
from shikomi.recipe.page import Page, Seconds
from shikomi.units import parse_bytes

Size = Annotated[int, BeforeValidator(parse_bytes)]
"""A size in bytes written with its unit: ``"500MB"``, ``"2GiB"``."""


class RaySite(Page):
    """A Ray cluster that does the data stages (extra ``cluster``)."""

    address: str = Field(default="auto", pattern=r"^(auto|[^\s:/]+:\d+|\[[0-9A-Fa-f:]+\]:\d+)$")
    """Where its head listens, ``host:port``; ``auto``: the cluster that this machine is a part of."""


class Site(Page):
    """Where a build runs and how much of that it may use."""

    workers: int = Field(default=0, ge=0)
    """Processes a stage may use; 0: as many as there are processors to use, here or in the cluster."""
    threads: int = Field(default=0, ge=0)
    """Threads one process may use; 0: as many as there are processors to use."""
    page_time: Seconds = Field(default="60s", gt=0)  # type: ignore[assignment]
    """Longest time a worker may take over one page; then the worker is ended, and the second time the page is
    quarantined."""
    page_memory: Size = Field(default="1GB", ge=50_000_000)  # type: ignore[assignment]
    """Memory that a worker may take beyond what it holds when it begins a file; a page that needs more is
    quarantined."""
    training: TrainingSite = TrainingSite()
    launch: LaunchPage = LaunchPage()
    slurm: SlurmPage | None = None
    """The job that a build becomes on a Slurm cluster (``launch.kind = "slurm"``, or ``--launch slurm``)."""
    ray: RaySite | None = None
    """A Ray cluster for the data stages; without it they run on this machine."""


def load_site(path: Path) -> Site:
    """Read a site file (TOML), as strictly as a recipe.

    Raises:
        RecipeError: the file cannot be read, or a key is wrong.
    """
    return load_page(path, Site)
