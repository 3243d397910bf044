"""Runs that train low-rank adapters, for ranks and for a process alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from shikomi.model import lora
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.lora import LoraPage
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train.loop import FitSpec, fit
from shikomi.train.objective import NextToken
from tests.laws.layouts import CONFIG, Keep, Steps


def train(mesh: dict[str, int] | None = None, *, kind: str = "adamw", merge: bool = True) -> dict[str, Any]:
    """Twenty steps of a model's adapters.

    Returns:
        Rows of the run; of the main rank, the weights by name: merged, or with the adapters apart.
    """
    model = Transformer(CONFIG)
    initialise(model, 1)
    lora.adapt(model, LoraPage(rank=4, alpha=4), 2)
    kept = Keep()
    site = TrainingSite(mesh=MeshPage(**(mesh or {})), precision="float32")
    spec = FitSpec(20, OptimPage(kind=kind, rate=0.002, muon_rate=0.0005), 10**6)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, NextToken(), Steps(CONFIG.vocab_size, 2), spec, Path(folder), site=site, writers=[kept])
    if any(parameter.is_meta for parameter in model.parameters()):
        return {"rows": kept.rows, "weights": {}}
    if merge:
        lora.merge(model)
    return {"rows": kept.rows, "weights": {name: p.detach().numpy() for name, p in model.named_parameters()}}
