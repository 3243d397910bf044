"""The site: where a build runs. Nothing of it is ever part of an identity."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shikomi.recipe.load import load_page
from shikomi.recipe.page import Page


class Site(Page):
    """One machine and how much of it a build may use."""

    workers: int = Field(default=0, ge=0)
    """Processes a stage may use; 0: as many as there are processors to use."""
    threads: int = Field(default=0, ge=0)
    """Threads one process may use; 0: as many as there are processors to use."""


def load_site(path: Path) -> Site:
    """Read a site file (TOML), as strictly as a recipe.

    Raises:
        RecipeError: the file cannot be read, or a key is wrong.
    """
    return load_page(path, Site)
