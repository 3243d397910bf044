"""``shikomi eval``: what the evaluation found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shikomi.cli.options import open_build, with_json, with_recipe


@click.command("eval")
@with_recipe
@with_json
def command(recipe: Path | None, store: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the scores of RECIPE's models, each with its 95 % interval and its number of questions."""
    from shikomi.cli.options import finished_folder
    from shikomi.cli.screen import show, show_json
    from shikomi.io import read_json

    _, build = open_build(recipe, store, overrides)
    scores = read_json(finished_folder(build, "evaluate") / "scores.json")
    if as_json:
        show_json(scores["headline"])
        return
    show(scores_table(scores))


def scores_table(scores: dict[str, Any]) -> str:
    """Metrics by model as a table, then the baselines of the facts."""
    from shikomi.cli.screen import table

    order = scores["order"]
    rows = [["metric", *order, "n"]]
    for key, about in scores["metrics"].items():
        found = [scores["models"][name].get(key) for name in order]
        counts = [one["n"] for one in found if one]
        rows.append([about["en"], *(_told(one, about["unit"]) for one in found), str(max(counts, default=0))])
    for name, value in (("most frequent answer", "most_frequent"), ("answers shuffled", "shuffled")):
        told = scores["headline"].get(value)
        rows.append([name, *([""] * (len(order) - 1)), "" if told is None else f"{told:.1%}", ""])
    return table(rows, right=range(1, len(order) + 2))


def _told(one: dict[str, Any] | None, unit: str) -> str:
    if not one or one.get("value") is None:
        return "-"
    kind = ".1%" if unit == "share" else ".3f"
    interval = "" if one.get("low") is None else f" [{one['low']:{kind}}, {one['high']:{kind}}]"
    return f"{one['value']:{kind}}{interval}"
