"""``shikomi status``: what is built, and why the rest is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shikomi.cli.options import open_build, with_json, with_recipe


@click.command("status")
@with_recipe
@click.option(
    "--why", "stage", default="", metavar="STAGE", help="Say why STAGE is to be built: the first field that differs."
)
@with_json
def command(recipe: Path | None, store: Path, overrides: tuple[str, ...], stage: str, as_json: bool) -> None:
    """Say which stages of RECIPE are built, what they took, and where the report is."""
    from shikomi.cli.screen import show, show_json
    from shikomi.flow.explain import why
    from shikomi.report.status import read_status

    page, build = open_build(recipe, store, overrides)
    if stage:
        step = build.step(stage)
        told = {"stage": stage, "id": build.id(step), "why": why(build, step)}
        show_json(told) if as_json else show(f"{stage}: {told['why']}")
        return
    told = read_status(page, build).plain()
    if as_json:
        show_json(told)
        return
    reasons = {step.name: why(build, step) for step in build.steps}
    show(status_text(told, reasons))


def status_text(told: dict[str, Any], reasons: dict[str, str]) -> str:
    """Stages as a table, then the sums and the answers."""
    from shikomi.cli.screen import cut, table
    from shikomi.units import format_seconds

    rows = [["stage", "id", "took", "memory", "state"]]
    for stage in told["stages"]:
        finished = stage["state"] == "finished"
        rows.append(
            [
                stage["name"],
                stage["id"],
                format_seconds(stage["seconds"]) if finished else "",
                f"{stage['peak_mb']:.0f} MB" if finished else "",
                cut(reasons.get(stage["name"], ""), 90),
            ]
        )
    parts = [table(rows, right=(2, 3)), ""]
    parts.append(f"finished stages: {format_seconds(told['build_seconds'])}, {told['peak_mb']:.0f} MB at most")
    if told["report_path"]:
        parts.append(f"report: {told['report_path']}")
    for one in told["answers"]:
        parts += ["", f"問: {one['question']}", f"答: {one['answer']}"]
    return "\n".join(parts)
