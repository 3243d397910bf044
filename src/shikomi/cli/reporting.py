"""The report's file, written by whichever verb needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shikomi.flow.runner import Build
    from shikomi.recipe.schema import Recipe


def report_path(recipe: Recipe, build: Build) -> Path:
    """Where the report of a recipe is kept."""
    return build.store.reports / f"{recipe.name}.html"


def write_report(recipe: Recipe, build: Build) -> Path:
    """Write the report of what is built so far; returns its absolute path."""
    from shikomi.report.page import write_report as write
    from shikomi.report.status import read_status

    path = report_path(recipe, build)
    write(read_status(recipe, build), path)
    return path.absolute()
