"""Toy builds: ``numbers`` writes shards and goes on from those it finds, ``sum`` adds them up.

``python -m tests.flow.toy STORE`` builds them and prints a line for each shard, so that a test can kill it in between.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shikomi.flow.runner import Build
from shikomi.flow.step import Context, Source, Step
from shikomi.flow.store import MANIFEST, Store
from shikomi.io import atomic, read_json

SHARDS = 12


def numbers(
    page: Mapping[str, Any] = {"shards": SHARDS, "factor": 3},
    inputs: Mapping[str, Step | Source] = {},
    *,
    version: int = 1,
    each: Callable[[int], None] = lambda shard: None,
) -> Step:
    """A step that writes ``page["shards"]`` shards; ``each`` is told every shard it writes."""

    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
        (out / "scratch").mkdir(exist_ok=True)
        (out / "scratch" / "left over.txt").write_text(str(time.time()))
        for shard in range(page["shards"]):
            path = out / "shards" / f"{shard:05d}.txt"
            if path.exists():
                continue
            each(shard)
            with atomic(path) as handle:
                handle.write("".join(f"{page['factor'] * (shard * 100 + n)}\n" for n in range(100)))
            context.progress(shard + 1, page["shards"], "shards")
        return {"shards": page["shards"]}

    return Step("numbers", version, dict(page), inputs, run)


def total(inputs: Mapping[str, Step | Source], page: Any = None, *, version: int = 1) -> Step:
    """A step that adds up the numbers of its inputs."""

    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
        found = sum(int(line) for path in inputs["numbers"].glob("shards/*.txt") for line in path.read_text().split())
        (out / "合計.txt").write_text(f"{found}\n", encoding="utf-8")
        return {"sum": found}

    return Step("sum", version, page, inputs, run)


def toy_build(store: Path, **given: Any) -> Build:
    """Both steps in a store."""
    first = numbers(**given)
    return Build([first, total({"numbers": first})], Store(store))


def journal(build: Build, *names: str) -> list[dict]:
    """Events of those names, in order."""
    return [event for event in build.store.journal.read() if event["event"] in names]


def one_step(root: Path, run: Callable[[dict[str, Path], Path, Context], Any]) -> Build:
    """A build of one step."""
    return Build([Step("one", 1, None, {}, run)], Store(root))


def contents(store: Path) -> dict[str, bytes]:
    """Every file of every finished stage but its manifest, by path in the store."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for manifest in store.glob(f"*/*/{MANIFEST}")
        for path in manifest.parent.rglob("*")
        if manifest.parent.parent.name != "work" and path.is_file() and path != manifest
    }


def facts(build: Build) -> dict[str, Any]:
    """The facts of every finished stage, by its name."""
    return {step.name: read_json(build.folder(step) / MANIFEST)["facts"] for step in build.steps}


def slowly(shard: int) -> None:
    """Tell a shard and take a moment over it."""
    print(shard, flush=True)
    time.sleep(0.01)


if __name__ == "__main__":
    toy_build(Path(sys.argv[1]), each=slowly).run(recipe="玩具")
