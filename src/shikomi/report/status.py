"""What a store holds of one recipe's build: which stages are finished, what they took, what they found.

Only files are read, and no library beyond Python's own: the status of a build answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from shikomi.errors import DataError
from shikomi.io import read_json

MANIFEST = "manifest.json"
SCRATCH = "scratch"
"""Where a stage in work keeps what it goes on from, below its work folder."""

State = Literal["finished", "unfinished", "missing"]
"""``finished``: its manifest is there; ``unfinished``: cut off or running, its work folder is there; ``missing``."""


@dataclass(frozen=True)
class StageStatus:
    """One stage of a build.

    Attributes:
        name: of the stage.
        id: of its result.
        folder: where its finished result lives (or would).
        state: see ``State``.
        manifest: what its runner wrote of it; empty unless finished.
        cached: finished before the latest build began, so that build passed it over.
        work: where it is being built, or was cut off; None unless unfinished.
    """

    name: str
    id: str
    folder: Path
    state: State = "missing"
    manifest: Mapping[str, Any] = field(default_factory=dict)
    cached: bool = False
    work: Path | None = None

    @property
    def finished(self) -> bool:
        """Whether its result is whole."""
        return self.state == "finished"

    @property
    def seconds(self) -> float:
        """Wall seconds it took when it ran, attempts that were cut off included; 0 unless finished."""
        return _number(self.manifest.get("seconds"))

    @property
    def peak_mb(self) -> float:
        """Most memory its processes held at once, in megabytes (10⁶ bytes); 0 unless finished."""
        return _number(self.manifest.get("peak_mb"))

    @property
    def facts(self) -> dict[str, Any]:
        """What the stage said of its result; empty unless finished."""
        found = self.manifest.get("facts")
        return dict(found) if isinstance(found, dict) else {}

    @property
    def page(self) -> dict[str, Any]:
        """Its page of the recipe; empty unless finished."""
        found = self.manifest.get("page")
        return dict(found) if isinstance(found, dict) else {}

    def read(self, name: str) -> Any:
        """A JSON file of its result; None where the stage is not finished or the file is missing or damaged."""
        if not self.finished:
            return None
        try:
            return read_json(self.folder / name)
        except (DataError, OSError):
            return None

    def rows(self, name: str, most: int = 0) -> list[dict[str, Any]]:
        """The objects of a JSON-lines file of its result, or, while it is in work, of the file it is writing; lines
        that are none are left out. Of a file with more than ``most`` lines (0: any number) about as many are read,
        evenly spread, the first and the last among them."""
        folder = self.folder if self.finished else self.work / SCRATCH if self.work else None
        try:
            lines = (folder / name).read_bytes().splitlines() if folder else []
        except OSError:
            return []
        if most and len(lines) > most:
            step = -(-len(lines) // most)
            lines = [*lines[:-2:step], *lines[-2:]]  # the last line may be cut off in the middle
        found = []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                found.append(row)
        return found


@dataclass(frozen=True)
class BuildStatus:
    """A recipe's build in a store.

    Attributes:
        recipe: the recipe's name.
        store: the store's folder.
        stages: every stage of the recipe, in order.
        record: what the store keeps of the latest build (``started``, ``finished``, ``seconds``, ``file``,
            ``overrides``); empty if it was never started.
    """

    recipe: str
    store: Path
    stages: Sequence[StageStatus]
    record: Mapping[str, Any] = field(default_factory=dict)

    def stage(self, name: str) -> StageStatus:
        """The stage of that name; one that is missing where the recipe has no such stage."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        return StageStatus(name, "", self.store / name)

    @property
    def complete(self) -> bool:
        """Whether every stage is finished."""
        return bool(self.stages) and all(stage.finished for stage in self.stages)

    @property
    def in_work(self) -> bool:
        """Whether a build of it has begun and not ended: it runs, or it was cut off."""
        return bool(self.record.get("started")) and not self.record.get("finished")

    @property
    def build_seconds(self) -> float:
        """Wall seconds that the finished stages took, each once, whenever they ran."""
        return round(sum(stage.seconds for stage in self.stages), 2)

    @property
    def peak_mb(self) -> float:
        """The largest peak of any stage, in megabytes."""
        return max((stage.peak_mb for stage in self.stages), default=0.0)

    @property
    def synthetic(self) -> bool:
        """Whether the pages or the dialogues come from the sample, where everything is fictional."""
        told = any(stage.facts.get("synthetic") is True for stage in self.stages)
        return told or any(stage.name == "crawl" for stage in self.stages)

    @property
    def scores(self) -> dict[str, Any]:
        """``scores.json`` of the evaluation; empty unless finished."""
        found = self.stage("evaluate").read("scores.json")
        return found if isinstance(found, dict) else {}

    @property
    def answers(self) -> list[dict[str, Any]]:
        """Three questions with the final model's answers; empty before the evaluation."""
        return [row for row in as_list(self.scores.get("answers")) if isinstance(row, dict)]

    @property
    def report_path(self) -> Path:
        """Where the report of this recipe is kept."""
        return self.store / "reports" / f"{self.recipe}.html"

    def plain(self) -> dict[str, Any]:
        """As JSON values, for ``shikomi status --json``."""
        stages = [
            {
                "name": stage.name,
                "id": stage.id,
                "state": stage.state,
                "cached": stage.cached,
                "seconds": stage.seconds,
                "peak_mb": stage.peak_mb,
            }
            for stage in self.stages
        ]
        return {
            "recipe": self.recipe,
            "complete": self.complete,
            "synthetic": self.synthetic,
            "report_path": str(self.report_path.absolute()) if self.report_path.is_file() else None,
            "build_seconds": self.build_seconds,
            "peak_mb": self.peak_mb,
            "answers": self.answers,
            "stages": stages,
        }


class Named(Protocol):
    """A recipe, as far as its status needs it."""

    @property
    def name(self) -> str: ...


class StepLike(Protocol):
    """A step, as far as its status needs it."""

    @property
    def name(self) -> str: ...


class StoreLike(Protocol):
    """A store, as far as its status needs it."""

    @property
    def root(self) -> Path: ...


class BuildLike(Protocol):
    """A planned build (``shikomi.flow.runner.Build``), as far as its status needs it."""

    @property
    def steps(self) -> Sequence[Any]: ...

    @property
    def store(self) -> StoreLike: ...

    def id(self, item: Any, /) -> str: ...


def read_status(recipe: Named, build: BuildLike) -> BuildStatus:
    """The status of a recipe as it stands now, whether or not it was ever built."""
    ids = [(step.name, build.id(step)) for step in build.steps]
    return status_of(build.store.root, recipe.name, ids)


def read_recorded(store: Path, recipe: str) -> BuildStatus:
    """The status of a recipe's latest build, by the store alone.

    Raises:
        DataError: no build of that name was ever started in this store, or its record is damaged.
    """
    record = _record(store, recipe)
    steps = record.get("steps")
    try:
        ids = [(step["name"], step["id"]) for step in steps or ()]
    except (KeyError, TypeError) as error:
        raise DataError("the record of the build is damaged", where=str(_record_path(store, recipe))) from error
    if not ids:
        raise DataError(f'no build of "{recipe}" in this store', where=str(store), hint="build the recipe first")
    return status_of(store, recipe, ids)


def status_of(store: Path, recipe: str, ids: Sequence[tuple[str, str]]) -> BuildStatus:
    """The status of stages given as (name, id) in order."""
    record = _record(store, recipe)
    if [[step.get("name"), step.get("id")] for step in record.get("steps", ())] != [list(pair) for pair in ids]:
        record = {}
    begun = _number(record.get("started"))
    return BuildStatus(recipe, store, [_stage(store, name, identity, begun) for name, identity in ids], record)


def _stage(store: Path, name: str, identity: str, begun: float) -> StageStatus:
    folder = store / name / identity
    try:
        manifest = read_json(folder / MANIFEST)
    except DataError:
        manifest = None
    if not isinstance(manifest, dict):
        work = store / "work" / f"{name}-{identity}"
        there = work.is_dir() and any(work.iterdir())
        return StageStatus(name, identity, folder, "unfinished" if there else "missing", work=work if there else None)
    cached = bool(begun) and _number(manifest.get("finished")) < begun
    return StageStatus(name, identity, folder, "finished", manifest, cached)


def _record_path(store: Path, recipe: str) -> Path:
    return store / "builds" / f"{recipe}.json"


def _record(store: Path, recipe: str) -> dict[str, Any]:
    try:
        found = read_json(_record_path(store, recipe))
    except DataError:
        return {}
    steps = found.get("steps") if isinstance(found, dict) else None
    usable = isinstance(steps, list) and all(isinstance(step, dict) for step in steps)
    return found if usable else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def as_dict(value: Any) -> dict[str, Any]:
    """The value if it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []
