"""Steps: what a build is made of. A step names its page and its inputs, never a path, a device or a worker count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shikomi.log import Progress, silent
from shikomi.recipe.mesh import ONE_PROCESS, TrainingSite
from shikomi.recipe.page import Page

if TYPE_CHECKING:
    from shikomi.compute.pool import Pool


class Launch(Protocol):
    """Runs a step in processes of its own, which open the same build and work on the same folder."""

    def __call__(self, stage: str, identity: str, out: Path, progress: Progress) -> dict[str, Any]:
        """Run the step of that name and id into ``out``; returns its facts."""
        ...


@dataclass(frozen=True)
class Context:
    """How a step may work here; nothing of it changes what the step writes.

    Attributes:
        progress: told how far the step is, at least once a second.
        workers: processes the step may use, at least 1.
        threads: threads one process may use, at least 1.
        pool: where functions over shards run; None: on this machine, with ``workers``.
        training: how training stages work here.
        launch: runs training stages in several processes; None: in this one.
    """

    progress: Progress = silent
    workers: int = 1
    threads: int = 1
    pool: Pool | None = None
    training: TrainingSite = ONE_PROCESS
    launch: Launch | None = None


Run = Callable[[dict[str, Path], Path, Context], dict[str, Any]]
"""What a step does: (folders of its inputs, folder to write into, context) to facts for the manifest (plain JSON)."""


@dataclass(frozen=True, eq=False)
class Source:
    """Files from outside, known by their contents in order; their names and places do not count.

    Attributes:
        name: what they are called in the manifests of the steps that read them.
        paths: the files, in the order in which they are read.
    """

    name: str
    paths: list[Path]


@dataclass(frozen=True, eq=False)
class Step:
    """One stage of a build.

    Attributes:
        name: also the folder of the store its results live in.
        version: raised when the meaning of the step's code changes.
        page: the part of the recipe that decides the result (a page, plain values, or None).
        inputs: what it reads, by the name under which ``run`` is given the folder.
        run: does the work; may find an earlier attempt's unfinished files in its folder and goes on from them.
        trains: whether several ranks may run it together (a training stage).
    """

    name: str
    version: int
    page: Any
    inputs: Mapping[str, Step | Source] = field(repr=False)
    run: Run = field(repr=False)
    trains: bool = False

    @property
    def values(self) -> Any:
        """The page as plain values, as it enters the id and the manifest."""
        return self.page.identity() if isinstance(self.page, Page) else self.page


def sources(steps: list[Step]) -> Iterator[Source]:
    """Every source that steps read, each once."""
    seen: set[int] = set()
    for step in steps:
        for item in step.inputs.values():
            if isinstance(item, Source) and id(item) not in seen:
                seen.add(id(item))
                yield item
