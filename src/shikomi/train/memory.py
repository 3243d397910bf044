"""Before the first weight is drawn: does a training stage fit into this machine, and what would?"""

from __future__ import annotations

import os
from dataclasses import fields

import torch

from shikomi.errors import MachineError, RecipeError
from shikomi.model.config import ModelConfig
from shikomi.plan.hardware import memory_bytes
from shikomi.plan.layout import Degrees, Fit, Work, memory, told, what_fits
from shikomi.plan.shape import Shape
from shikomi.recipe.lora import LoraPage
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train.device import device, takes_bfloat16
from shikomi.units import format_bytes

ROOM = 1.05
"""A stage is refused when its estimate is more than this much of the memory. Measured peaks lie above the estimate
(1.1 to 1.7 times it at 1M to 10M parameters, ``bench/memory.py``), so that one that would run is not refused."""


def check_memory(
    config: ModelConfig,
    stage: str,
    optim: OptimPage,
    site: TrainingSite,
    *,
    rows: int,
    step_rows: int,
    sequence_tokens: int,
    lora: LoraPage | None = None,
    scratch: bool = False,
    limit: int | None = None,
) -> None:
    """Refuse a stage that needs more memory than a rank has here.

    Args:
        config: the model's shape.
        stage: its name in the recipe.
        optim: its optimiser.
        site: how it runs here.
        rows: of a micro-batch.
        step_rows: of a step.
        sequence_tokens: of a row.
        lora: adapters, if they are trained instead of all weights.
        scratch: whether the recipe says how large the model is.
        limit: bytes that a rank may use; None: this machine's memory or accelerator's, shared by its ranks.

    Raises:
        MachineError: by how much it is too large, and what would fit.
        RecipeError: adapters of a model that tensor ranks would share.
    """
    if lora is not None and site.mesh.tensor > 1:
        raise RecipeError(
            f"{stage}.lora cannot be trained where {site.mesh.tensor} tensor ranks share each matrix",
            where="site: training.mesh.tensor",
            hint="leave tensor at 1 (the ranks then share the model by FSDP), or the lora table out",
        )
    degrees, where = degrees_of(site.mesh, int(os.environ.get("WORLD_SIZE", "1"))), device()
    work = Work(
        rows=min(rows, max(1, step_rows // degrees.data)),
        step_rows=step_rows,
        sequence_tokens=sequence_tokens,
        optimiser=optim.kind,
        recompute=site.recompute,
        half=takes_bfloat16(where, site.precision),
        device=where.type,
        lora_rank=lora.rank if lora else 0,
        lora_targets=lora.targets if lora else (),
    )
    limit = limit or rank_memory(where)
    shape = shape_of(config)
    need = memory(shape, work, degrees)
    if need.peak <= limit * ROOM:
        return
    found = what_fits(shape, work, degrees, limit, stage, scratch=scratch)
    what = "each rank" if degrees.ranks > 1 else "it"
    raise MachineError(
        f"{stage} is {format_bytes(need.peak - limit)} larger than this machine's memory: {what} needs "
        f"{told(need, limit)}",
        where=f"{stage}, {config.parameters:,} parameters, {work.rows} rows of {sequence_tokens} tokens at once",
        hint=_advice(found),
    )


def _advice(found: list[Fit]) -> str:
    if not found:
        return "no single change fits: take a smaller model, shorter sequences, or a machine with more memory"
    ways = [f"{fit.key} = {_written(fit.value)} ({format_bytes(fit.bytes)})" for fit in found]
    return "any of these fits: " + "; ".join(ways)


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool | int) else f'"{value}"'


def degrees_of(mesh: MeshPage, ranks: int) -> Degrees:
    """Ranks along each axis of a mesh, of ``ranks`` in all; what does not divide is told when the world is opened."""
    return Degrees(mesh.replicate, mesh.shard_of(ranks), mesh.tensor, mesh.context, mesh.pipeline)


def rank_memory(where: torch.device) -> int:
    """Bytes that one rank may use: its accelerator's, or its share of the machine's."""
    if where.type == "cuda":
        return torch.cuda.get_device_properties(where).total_memory
    return memory_bytes() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def shape_of(config: ModelConfig) -> Shape:
    """A model's shape as the planner counts it."""
    return Shape(**{field.name: getattr(config, field.name) for field in fields(Shape)})
