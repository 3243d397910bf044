"""Runs that are stopped in one layout and gone on with in another, as ranks are sent them (``tests.dist.crew``)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from shikomi.errors import Stopped
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train.loop import FitSpec, fit
from shikomi.train.objective import NextToken
from tests.laws.layouts import CONFIG, Keep, Steps

STEPS = 16


def go(
    folder: str,
    mesh: dict[str, int],
    *,
    kind: str,
    stop_at: int = 0,
    seed: int = 1,
    config: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train to the end, or until asked to stop after step ``stop_at``, from whatever checkpoint the folder holds.

    Returns:
        Rows of this attempt and, of a main rank that came to the end, the weights by name.
    """
    model = Transformer(dataclasses.replace(CONFIG, **(config or {})))
    initialise(model, seed)
    kept = Keep()
    site = TrainingSite(mesh=MeshPage(**mesh), precision="float32")
    spec = FitSpec(STEPS, OptimPage(kind=kind, rate=0.003), checkpoint_steps=5)
    batches = Steps(model.config.vocab_size, 2)
    stopped = ""
    try:
        fit(
            model, NextToken(), batches, spec, Path(folder), site=site, writers=[kept],
            stop_requested=lambda: bool(kept.rows) and kept.rows[-1]["step"] == stop_at,
        )  # fmt: skip
    except Stopped as told:
        stopped = told.what
    weights = {name: p.detach().numpy() for name, p in model.named_parameters() if not p.is_meta} if not stopped else {}
    return {"rows": kept.rows, "weights": weights, "stopped": stopped}
