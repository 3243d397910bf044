"""``shikomi look``: into what a stage has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shikomi.cli.options import DEFAULT_RECIPE, finished_folder, open_build, with_json, with_recipe

CORPUS_VIEWS = ("corpus", "drops", "duplicates", "hosts")
"""What shows a corpus, from one side each."""


@click.command("look")
@click.argument("stage")
@with_recipe
@click.option(
    "--samples",
    "num_samples",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Samples to show of each kind.",
)
@click.option(
    "--stage",
    "trained",
    type=click.Choice(("pretrain", "anneal", "sft")),
    default="pretrain",
    show_default=True,
    help="look batch: of which training stage.",
)
@click.option("--step", type=click.IntRange(1), default=1, show_default=True, help="look batch: which step, from 1.")
@click.option("--row", type=click.IntRange(1), default=1, show_default=True, help="look batch: which of its rows.")
@with_json
def command(
    stage: str,
    recipe: Path | None,
    store: Path,
    overrides: tuple[str, ...],
    num_samples: int,
    trained: str,
    step: int,
    row: int,
    as_json: bool,
) -> None:
    """Show what STAGE of RECIPE has made: counts, reasons, samples. `look corpus` shows the funnel, `look drops`, `look
    duplicates` and `look hosts` a part of it closely, `look domain` what learned scores go by. `look batch` shows what
    a training stage sees at a step: the text of a row, what of it is learned from, where documents begin."""
    from shikomi.cli.screen import show, show_json

    page, build = open_build(recipe, store, overrides)
    if stage == "batch":
        from shikomi.cli.look_batch import batch_row, batch_text

        told = batch_row(page, build, (recipe or Path(DEFAULT_RECIPE)).parent, trained, step, row)
        show_json(told) if as_json else show(batch_text(told))
        return
    folder = finished_folder(build, "corpus" if stage in CORPUS_VIEWS else stage)
    if stage in CORPUS_VIEWS:
        found, text = look_into(folder, stage, num_samples)
        show_json(found) if as_json else show(text)
        return
    if stage == "domain":
        from shikomi.cli.look_domain import domain_text
        from shikomi.corpus.quality.domain import look_domain

        scorers = look_domain(folder)
        show_json(scorers) if as_json else show(domain_text(scorers, num_samples))
        return
    manifest = build.store.manifest(stage, build.id(build.step(stage))) or {}
    told = {"folder": str(folder), **{name: manifest[name] for name in ("id", "facts", "files", "seconds", "peak_mb")}}
    show_json(told) if as_json else show(facts_text(told))


def look_into(folder: Path, view: str, num_samples: int) -> tuple[dict[str, Any], str]:
    """A corpus from one side: as facts, and as text."""
    from shikomi.cli import look_corpus
    from shikomi.corpus import look

    if view == "drops":
        found = look.look_drops(folder)
        return found, look_corpus.drops_text(found, num_samples)
    if view == "hosts":
        found = look.look_hosts(folder)
        return found, look_corpus.hosts_text(found, num_samples)
    if view == "duplicates":
        found = look.look_duplicates(folder, num_samples)
        return found, look_corpus.duplicates_text(found)
    found = look.look(folder)
    return found, look_corpus.funnel_text(found, num_samples)


def facts_text(told: dict[str, Any]) -> str:
    """A stage's facts and files as a table."""
    from shikomi.cli.screen import cut, table
    from shikomi.io import dumps
    from shikomi.units import format_bytes, format_seconds

    rows = [["folder", told["folder"]], ["took", f"{format_seconds(told['seconds'])}, {told['peak_mb']} MB at most"]]
    rows += [
        [name, cut(value if isinstance(value, str) else dumps(value), 100)] for name, value in told["facts"].items()
    ]
    rows += [[f"/{name}", format_bytes(size)] for name, size in told["files"].items()]
    return table(rows, head=False)
