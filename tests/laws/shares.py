"""Work for ranks that share sequences or layers: preference tuning, and meshes that must be refused."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shikomi.errors import ShikomiError
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.recipe.tune import DpoPage
from shikomi.train.loop import FitSpec, fit
from shikomi.tune.dpo import DpoObjective, PairBatches, Side
from tests.laws import layouts


def prefer(
    mesh: dict[str, Any] | None = None, steps: int = 10, pairs: int = 4, folder: str = ""
) -> list[dict[str, Any]]:
    """Rows of a run of direct preference optimisation over pairs of many lengths."""
    random = np.random.default_rng(4)

    def side(prompt: list[int]) -> Side:
        answer = random.integers(2, 64, random.integers(3, 12)).tolist()
        return Side(prompt + answer, [0] * len(prompt) + [1] * len(answer))

    prompts = [random.integers(2, 64, random.integers(3, 30)).tolist() for _ in range(12)]
    made = [(side(prompt), side(prompt)) for prompt in prompts]
    page = DpoPage(pairs=steps * pairs, batch_pairs=pairs, micro_batch_pairs=1, optim=OptimPage(rate=0.003))
    batches = PairBatches(made, torch.linspace(-40, -20, 24).view(2, 12), page, pad_id=0)
    model = Transformer(dataclasses.replace(layouts.CONFIG, layers=4))
    initialise(model, 1)
    kept = layouts.Keep()
    site = TrainingSite(mesh=MeshPage(**(mesh or {})), precision="float32")
    with tempfile.TemporaryDirectory() as own:
        spec = FitSpec(steps, page.optim, 10**6, unit="pairs")
        fit(model, DpoObjective(0.1, 0.1), batches, spec, Path(folder or own), site=site, writers=[kept])
    return kept.rows


def refusal(mesh: dict[str, Any], sequence_tokens: int = 32, layers: int = 2, pairs: bool = False) -> str:
    """What is said instead of the first step."""
    layouts.SEQUENCE_TOKENS, before = sequence_tokens, layouts.SEQUENCE_TOKENS
    try:
        if pairs:
            prefer(mesh, steps=1)
        else:
            layouts.train(mesh, steps=1, config={"layers": layers})
    except ShikomiError as error:
        return f"{error.what}\n{error.where}\nhint: {error.hint}"
    finally:
        layouts.SEQUENCE_TOKENS = before
    return "nothing"
