"""``shikomi plan``: what a build will take, before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shikomi.cli.options import open_build, with_json, with_recipe
from shikomi.errors import UsageError

if TYPE_CHECKING:
    from shikomi.flow.runner import Build
    from shikomi.plan.estimate import Estimate, Planned
    from shikomi.recipe.dial import Reason
    from shikomi.recipe.schema import Recipe


@click.command("plan")
@with_recipe
@click.option("--formulas", is_flag=True, help="Show how the FLOPs come about.")
@click.option("--explain", metavar="FIELD", help="Say where one number of the model's shape comes from.")
@click.option(
    "--mesh",
    metavar="MESH",
    help="Memory of a rank of pretrain on so many nodes x GPUs (64x8), or on named degrees (shard=64,tensor=8).",
)
@click.option("--gpu-memory", metavar="SIZE", default="80GB", show_default=True, help="Memory of a rank, with --mesh.")
@with_json
def command(
    recipe: Path | None, store: Path, overrides: tuple[str, ...], formulas: bool, explain: str | None,
    mesh: str | None, gpu_memory: str, as_json: bool,
) -> None:  # fmt: skip
    """Say for each stage of RECIPE what it reads, tokens, parameters, FLOPs, time expected, cached or not."""
    from shikomi.cli.screen import show, show_json
    from shikomi.plan.estimate import estimate, total

    page, build = open_build(recipe, store, overrides)
    if explain:
        explained(page, explain, as_json)
        return
    if mesh:
        from shikomi.cli.plan_mesh import show_mesh

        show_mesh(page, build, mesh, gpu_memory, as_json)
        return
    finished = {
        step.name: build.store.manifest(step.name, build.id(step)) or {} for step in build.steps if build.finished(step)
    }
    planned = lay_out(page, build, finished)
    estimates = estimate(planned, [step.name for step in build.steps], finished)
    seconds, low, high = total(estimates)
    if as_json:
        stages = [{**vars(one), "id": build.id(step)} for one, step in zip(estimates, build.steps, strict=True)]
        told = {"recipe": page.name, "seconds": seconds, "low": low, "high": high, "stages": stages}
        show_json(told | {"shape": [vars(reason) for reason in shape_reasons(page)]})
        return
    show(plan_text(estimates, formulas))
    if reasons := shape_reasons(page):
        show("\n" + shape_text(reasons))


def shape_reasons(recipe: Recipe) -> list[Reason]:
    """Where each number of the model's shape comes from; empty where the recipe gives them all."""
    from shikomi.recipe.dial import reasons

    return reasons(recipe.model, recipe.tokenizer.vocab_size)


def shape_text(reasons: list[Reason]) -> str:
    """A shape's numbers with their reasons, as a table."""
    from shikomi.cli.screen import table

    rows = [["model", "", "why"]]
    rows += [[one.field, f"{one.value:,}" if type(one.value) is int else str(one.value).lower(), one.why]
             for one in reasons]  # fmt: skip
    return table(rows, right=(1,))


def explained(recipe: Recipe, field: str, as_json: bool) -> None:
    """Print where one number of the model's shape comes from.

    Raises:
        UsageError: no such field of the model page.
    """
    from shikomi.cli.screen import show, show_json
    from shikomi.recipe.dial import Reason

    name = field.removeprefix("model.")
    found = [one for one in shape_reasons(recipe) if one.field == name]
    if not found and name in type(recipe.model).model_fields:
        given = name in recipe.model.model_fields_set
        found = [Reason(name, getattr(recipe.model, name), "given in the recipe" if given else "the default")]
    if not found:
        known = ", ".join(f"model.{known}" for known in type(recipe.model).model_fields)
        raise UsageError(f"{field} is not explained", where="--explain", hint=f"one of {known}")
    if as_json:
        show_json(vars(found[0]))
    else:
        show(f"model.{name} = {str(found[0].value).lower()}\n  {found[0].why}")


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
