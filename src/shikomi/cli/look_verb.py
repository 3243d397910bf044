"""``shikomi look``: into what a stage has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shikomi.cli.options import finished_folder, open_build, with_json, with_recipe


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
@with_json
def command(
    stage: str, recipe: Path | None, store: Path, overrides: tuple[str, ...], num_samples: int, as_json: bool
) -> None:
    """Show what STAGE of RECIPE has made: counts, reasons, samples. `look corpus` shows the funnel, `look domain` what
    learned scores go by."""
    from shikomi.cli.screen import show, show_json

    _, build = open_build(recipe, store, overrides)
    folder = finished_folder(build, stage)
    if stage == "corpus":
        from shikomi.corpus.look import look

        found = look(folder)
        show_json(found) if as_json else show(funnel_text(found, num_samples))
        return
    if stage == "domain":
        from shikomi.cli.look_domain import domain_text
        from shikomi.corpus.domain import look_domain

        scorers = look_domain(folder)
        show_json(scorers) if as_json else show(domain_text(scorers, num_samples))
        return
    manifest = build.store.manifest(stage, build.id(build.step(stage))) or {}
    told = {"folder": str(folder), **{name: manifest[name] for name in ("id", "facts", "files", "seconds", "peak_mb")}}
    show_json(told) if as_json else show(facts_text(told))


def funnel_text(found: dict[str, Any], num_samples: int) -> str:
    """The funnel as a table: pages read, dropped by reason, kept."""
    from shikomi.cli.progress import bar
    from shikomi.cli.screen import cut, table

    read = max(1, found["read"])
    rows = [["pages", "", "share", ""], ["read", f"{found['read']:,}", "", ""]]
    for reason, count in sorted(found["dropped_by_reason"].items(), key=lambda item: -item[1]):
        rows.append([f"- {reason}", f"{count:,}", f"{count / read:.1%}", bar(count / read)])
    rows.append(["kept", f"{found['kept']:,}", f"{found['kept'] / read:.1%}", bar(found["kept"] / read)])
    parts = [table(rows, right=(1, 2))]
    for kind, samples in found.get("samples", {}).items():
        for sample in list(samples)[:num_samples] if isinstance(samples, list) else []:
            words = " ".join(str(value) for value in sample.values()) if isinstance(sample, dict) else str(sample)
            parts.append(f"{kind}: {cut(words, 110)}")
    return "\n".join(parts)


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
