"""Writes the ids that ``test_golden.py`` compares with: ``python -m tests.flow.refresh_golden``."""

from __future__ import annotations

from pathlib import Path

from shikomi.build import steps
from shikomi.flow.runner import Build
from shikomi.flow.store import Store
from shikomi.io import write_json
from shikomi.recipe.load import load

GOLDEN = Path(__file__).with_name("golden_ids.json")
RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.toml"


def quickstart_ids() -> dict[str, str]:
    """The id of every stage of the quickstart; they stand on no outside file, so no store is needed."""
    build = Build(steps(load(RECIPE), RECIPE.parent), Store(Path("no store")))
    return {step.name: build.id(step) for step in build.steps}


if __name__ == "__main__":
    write_json(GOLDEN, quickstart_ids())
