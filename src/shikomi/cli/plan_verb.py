"""``shikomi plan``: what a build will take, before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shikomi.cli.options import open_build, with_json, with_recipe

if TYPE_CHECKING:
    from shikomi.flow.runner import Build
    from shikomi.plan.estimate import Estimate, Planned
    from shikomi.recipe.schema import Recipe


@click.command("plan")
@with_recipe
@click.option("--formulas", is_flag=True, help="Show how the FLOPs come about.")
@with_json
def command(recipe: Path | None, store: Path, overrides: tuple[str, ...], formulas: bool, as_json: bool) -> None:
    """Say for each stage of RECIPE what it reads, tokens, parameters, FLOPs, time expected, cached or not."""
    from shikomi.cli.screen import show, show_json
    from shikomi.plan.estimate import estimate, total

    page, build = open_build(recipe, store, overrides)
    finished = {
        step.name: build.store.manifest(step.name, build.id(step)) or {} for step in build.steps if build.finished(step)
    }
    planned = lay_out(page, build, finished)
    estimates = estimate(planned, [step.name for step in build.steps], finished)
    seconds, low, high = total(estimates)
    if as_json:
        stages = [{**vars(one), "id": build.id(step)} for one, step in zip(estimates, build.steps, strict=True)]
        show_json({"recipe": page.name, "seconds": seconds, "low": low, "high": high, "stages": stages})
        return
    show(plan_text(estimates, formulas))


def lay_out(recipe: Recipe, build: Build, finished: dict[str, dict[str, Any]]) -> Planned:
    """Everything the estimate stands on: the shape, the sizes, and the speeds of this machine."""
    from shikomi.flow.step import Source
    from shikomi.io import read_json
    from shikomi.plan.estimate import Planned
    from shikomi.plan.hardware import usable_cores
    from shikomi.plan.rates import read_evidence, read_rates
    from shikomi.plan.shape import of_config, of_page
    from shikomi.plan.sizes import expect

    pretrain, pages = build.step("pretrain"), build.step("pages")
    base = pretrain.inputs.get("base")
    if isinstance(base, Source):
        shape = of_config(read_json(base.paths[0]), str(base.paths[0]))
    else:
        shape = of_page(recipe.model, recipe.tokenizer.vocab_size)
    crawl = pages.inputs.get("crawl") or pages.inputs["documents"]
    warc_bytes = sum(path.stat().st_size for path in crawl.paths) if isinstance(crawl, Source) else 0
    facts = {name: manifest.get("facts", {}) for name, manifest in finished.items()}
    history = {step.name: build.store.manifests(step.name) for step in build.steps}
    return Planned(
        recipe=recipe,
        shape=shape,
        sizes=expect(recipe, shape.vocab_size, warc_bytes, facts),
        rates=read_rates(),
        evidence=read_evidence(history),
        workers=usable_cores(),
    )


def plan_text(estimates: list[Estimate], formulas: bool) -> str:
    """The plan as a table, its total, and where the speeds come from."""
    from shikomi.cli.screen import paint, table
    from shikomi.plan.estimate import total
    from shikomi.units import format_count

    rows = [["stage", "input", "tokens", "parameters", "FLOPs", "time expected", ""]]
    for one in estimates:
        rows.append(
            [
                one.stage,
                one.input,
                _count(one.tokens),
                _count(one.parameters),
                f"{one.flops:.2g}" if one.flops else "",
                "" if one.cached else _range(one.low, one.high),
                f"cached, {one.basis}" if one.cached else "",
            ]
        )
    _, low, high = total(estimates)
    flops = sum(one.flops or 0 for one in estimates if not one.cached)
    rows.append(
        ["total", "", "", "", f"{flops:.2g}" if flops else "", _range(low, high) if high else "nothing to do", ""]
    )
    parts = [table(rows, right=(2, 3, 4, 5)), ""]
    bases: dict[str, list[str]] = {}
    for one in estimates:
        if not one.cached:
            bases.setdefault(one.basis, []).append(one.stage)
    for basis, stages in bases.items():
        parts.append(f"speed: {basis} ({'all' if len(stages) == len(estimates) else ', '.join(stages)})")
    if formulas:
        parts += [
            f"{paint(one.stage, 'bold')}: {one.formula} = {format_count(one.flops or 0)} FLOPs"
            for one in estimates
            if one.formula
        ]
    return "\n".join(parts)


def _count(value: float | None) -> str:
    from shikomi.units import format_count

    return "" if value is None else format_count(float(f"{value:.3g}"))


def _range(low: float, high: float) -> str:
    from shikomi.units import format_seconds

    return f"{format_seconds(low)} – {format_seconds(high)}"
