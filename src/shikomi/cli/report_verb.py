"""``shikomi report``: one HTML page about a build."""

from __future__ import annotations

from pathlib import Path

import click

from shikomi.cli.options import open_build, with_json, with_recipe


@click.command("report")
@with_recipe
@with_json
def command(recipe: Path | None, store: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Write the report of what is built of RECIPE, and print its path."""
    from shikomi.cli.reporting import write_report
    from shikomi.cli.screen import show, show_json

    page, build = open_build(recipe, store, overrides)
    path = write_report(page, build)
    show_json({"report_path": str(path)}) if as_json else show(str(path))
