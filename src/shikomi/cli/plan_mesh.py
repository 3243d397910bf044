"""``shikomi plan --mesh``: what each rank of a cluster holds in pre-training, before there is a cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shikomi.errors import UsageError

if TYPE_CHECKING:
    from shikomi.flow.runner import Build
    from shikomi.model.config import ModelConfig
    from shikomi.plan.layout import Memory, Work
    from shikomi.plan.mesh import Choice
    from shikomi.recipe.schema import Recipe


def show_mesh(recipe: Recipe, build: Build, mesh: str, gpu_memory: str, as_json: bool) -> None:
    """Print the layout, and bytes a rank by parts, each with its formula.

    Raises:
        UsageError: a mesh or a size that makes no sense.
    """
    from shikomi.cli.screen import show, show_json
    from shikomi.plan.layout import memory
    from shikomi.plan.mesh import choose
    from shikomi.train.memory import shape_of
    from shikomi.train.placement import held_of
    from shikomi.units import parse_bytes

    try:
        limit = parse_bytes(gpu_memory)
    except ValueError as error:
        raise UsageError(str(error), where="--gpu-memory") from error
    config = config_of(recipe, build)
    shape = shape_of(config)
    choice = choose(mesh, shape, work_of(recipe), limit)
    begun = time.perf_counter()
    held = held_of(config, choice.degrees)
    seconds = time.perf_counter() - begun
    need = memory(shape, choice.work, choice.degrees, held)
    if as_json:
        show_json(as_object(recipe, config, choice, need, limit, seconds))
    else:
        show(mesh_text(config, choice, need, limit, seconds))


def config_of(recipe: Recipe, build: Build) -> ModelConfig:
    """The shape of the recipe's model, or of the open base it starts from."""
    from shikomi.flow.step import Source
    from shikomi.model.config import from_page
    from shikomi.model.weights import read_config

    base = build.step("pretrain").inputs.get("base")
    if isinstance(base, Source):
        return read_config(base.paths[0].parent)
    return from_page(recipe.model, recipe.tokenizer.vocab_size)


def work_of(recipe: Recipe) -> Work:
    """What pre-training asks of a rank: GPUs, products in bfloat16."""
    from shikomi.plan.layout import Work

    page = recipe.pretrain
    return Work(
        rows=page.micro_batch_sequences,
        step_rows=page.batch_tokens // page.sequence_tokens,
        sequence_tokens=page.sequence_tokens,
        optimiser=page.optim.kind,
    )


def as_object(
    recipe: Recipe, config: ModelConfig, choice: Choice, need: Memory, limit: int, seconds: float
) -> dict[str, Any]:
    """The plan of a mesh as one JSON object."""
    return {
        "recipe": recipe.name,
        "parameters": config.parameters,
        "ranks": choice.degrees.ranks,
        "degrees": vars(choice.degrees),
        "rows": rows_of(choice),
        "recompute": choice.work.recompute,
        "parts": [vars(part) for part in need.parts],
        "peak_bytes": need.peak,
        "gpu_bytes": limit,
        "fits": need.peak <= limit,
        "placement_seconds": round(seconds, 2),
    }


def rows_of(choice: Choice) -> int:
    """Rows of a micro-batch on a rank."""
    return min(choice.work.rows, max(1, choice.work.step_rows // choice.degrees.data))


def mesh_text(config: ModelConfig, choice: Choice, need: Memory, limit: int, seconds: float) -> str:
    """The plan of a mesh for people."""
    from shikomi.cli.screen import table
    from shikomi.plan.layout import what_fits
    from shikomi.train.memory import shape_of
    from shikomi.units import format_bytes, format_count

    degrees, work = choice.degrees, choice.work
    axes = ", ".join(f"{name} {count}" for name, count in vars(degrees).items() if count > 1) or "one rank"
    rows = rows_of(choice)
    micros = -(-work.step_rows // degrees.data // rows)
    lines = [
        f"{format_count(config.parameters)} parameters on {degrees.ranks:,} ranks: {axes}",
        f"a step of {work.step_rows:,} rows of {work.sequence_tokens:,} tokens: {micros} micro-batches of {rows} on "
        f"each of {degrees.data:,} parts" + (", layers computed again in the backward pass" if work.recompute else ""),
        "",
    ]
    body = [["a rank holds", "", "how"]]
    body += [[part.name, format_bytes(part.bytes), part.formula] for part in need.parts]
    body.append(["at most at once", format_bytes(need.peak), f"of {format_bytes(limit)}"])
    lines += [table(body, right=(1,)), ""]
    lines.append(
        f"placements made on meta tensors for {degrees.ranks:,} ranks in {seconds:.1f} s; activations by formula"
    )
    if need.peak > limit:
        found = what_fits(shape_of(config), work, degrees, limit, "pretrain")
        lines.append(f"{format_bytes(need.peak - limit)} too much")
        lines += [f"hint: {fit.key} = {str(fit.value).lower()} needs {format_bytes(fit.bytes)}" for fit in found]
    return "\n".join(lines)
