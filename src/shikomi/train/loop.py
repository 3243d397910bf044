"""The one training loop: objectives and batches are plugged in, everything else is the same for all."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from shikomi.errors import ShikomiError
from shikomi.io import write_jsonl
from shikomi.log import Progress, silent
from shikomi.model.transformer import Transformer
from shikomi.recipe.mesh import ONE_PROCESS, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train import checkpoint
from shikomi.train.objective import Objective
from shikomi.train.optim import Optimiser
from shikomi.train.schedule import rate_factor


class Batches(Protocol):
    """Gives the micro-batches of any step, as a pure function of the step's number."""

    def step(self, step: int) -> Sequence[Any]:
        """Micro-batches of step ``step`` (from 0); each has ``weight``, ``num_tokens`` and ``to(device)``."""
        ...


@dataclass(frozen=True)
class FitSpec:
    """How long and how: ``steps`` optimiser steps, a checkpoint every ``checkpoint_steps``."""

    steps: int
    optim: OptimPage
    checkpoint_steps: int
    unit: str = "tokens"


def device() -> torch.device:
    """Where this process trains: the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(where: torch.device, precision: str = "auto") -> Any:
    """Matrix products in a site's ``precision``; ``auto``: bfloat16 on CUDA, AVX-512 BF16 and AMX, else float32."""
    has = where.type == "cuda" or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    if precision == "float32" or (precision == "auto" and not has):
        return nullcontext()
    return torch.autocast(where.type, dtype=torch.bfloat16)


def fit(
    model: Transformer,
    objective: Objective,
    batches: Batches,
    spec: FitSpec,
    out: Path,
    *,
    site: TrainingSite = ONE_PROCESS,
    progress: Progress = silent,
) -> dict[str, float]:
    """Train ``model`` in place; writes ``out/metrics.jsonl`` and, under ``out/scratch``, checkpoints.

    A run cut off at any instant and started again with the same arguments goes on from its last checkpoint and ends
    in the same loss curve and weights (bit for bit on the same machine and number of threads).

    Returns:
        Facts for the manifest: first and final loss (nats a weighted token; means of the first and last 5 % of
        steps), positions processed and positions a second of this attempt.

    Raises:
        ShikomiError: the loss is not finite.
    """
    where = device()
    model.to(where).train()
    optimiser = Optimiser(model, spec.optim)
    checkpoints, rows_path = out / "scratch" / "checkpoints", out / "scratch" / "metrics.jsonl"
    start = checkpoint.resume(checkpoints, model, optimiser)
    rows = _rows_until(rows_path, start)
    begun, processed = time.perf_counter(), 0
    for step in range(start, spec.steps):
        row = _step(model, objective, batches.step(step), optimiser, rate_factor(step, spec.steps, spec.optim), site)
        processed += int(row["positions"])
        rows.append({"step": step + 1, **row})
        if not math.isfinite(row["loss"]):
            raise ShikomiError(
                f"loss is {row['loss']} at step {step + 1}",
                where=str(out),
                hint="lower the rates on this stage's optim page; the last checkpoint is untouched",
            )
        speed = processed / (time.perf_counter() - begun)
        progress(step + 1, spec.steps, "steps", f"loss {row['loss']:.3f}, {speed:,.0f} tokens/s")
        if (step + 1) % spec.checkpoint_steps == 0 and step + 1 < spec.steps:
            write_jsonl(rows_path, rows)
            checkpoint.save(checkpoints, step + 1, model, optimiser)
    write_jsonl(out / "metrics.jsonl", rows)
    model.eval()
    seconds = time.perf_counter() - begun
    return _summary(rows) | {"tokens_per_second": round(processed / seconds, 1) if processed else 0.0}


def _step(
    model: Transformer,
    objective: Objective,
    micros: Sequence[Any],
    optimiser: Optimiser,
    factor: float,
    site: TrainingSite,
) -> dict[str, float]:
    weight, where = sum(micro.weight for micro in micros), model.head_weight.device
    total, sums = 0.0, {}
    for micro in micros:
        with autocast(where, site.precision):
            loss, extra = objective.loss(model, micro.to(where))
        (loss / weight).backward()
        total += float(loss.detach())
        for name, value in extra.items():
            sums[name] = sums.get(name, 0.0) + value
    norm = optimiser.clip()
    optimiser.step(factor)
    means = {name: round(value / weight, 6) for name, value in sums.items()}
    positions = sum(micro.num_tokens for micro in micros)
    return (
        {"loss": round(total / weight, 6), "grad_norm": round(norm, 5), "factor": round(factor, 5)}
        | means
        | {"positions": positions}
    )


def _rows_until(path: Path, step: int) -> list[dict]:
    if not step or not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["step"] <= step]


def _summary(rows: list[dict]) -> dict[str, float]:
    if not rows:
        return {"steps": 0, "first_loss": 0.0, "final_loss": 0.0, "positions": 0}
    window = max(1, len(rows) // 20)
    return {
        "steps": len(rows),
        "first_loss": round(sum(row["loss"] for row in rows[:window]) / window, 4),
        "final_loss": round(sum(row["loss"] for row in rows[-window:]) / window, 4),
        "positions": sum(int(row["positions"]) for row in rows),
    }
