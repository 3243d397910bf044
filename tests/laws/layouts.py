"""Training runs that ranks are sent (``tests.dist.crew``), and that a process alone makes to compare them with."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributed.tensor import DTensor

from shikomi.compute.mesh import open_world
from shikomi.model.attention import documents
from shikomi.model.config import ModelConfig
from shikomi.model.linear_loss import log_probs
from shikomi.model.parallel import parallelize
from shikomi.model.transformer import Transformer, drawn, initialise
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train.batches import Row, stack
from shikomi.train.loop import FitSpec, fit
from shikomi.train.objective import NextToken

CONFIG = ModelConfig("qwen3", 64, 32, 2, 4, 2, 8, 48, 64)
SEQUENCE_TOKENS, ROWS_PER_STEP = 32, 8


class Steps:
    """Rows of random tokens in documents of random lengths, with random weights: row i is a function of i."""

    def __init__(self, vocab_size: int, micro_rows: int, rows_per_step: int = ROWS_PER_STEP) -> None:
        self.vocab_size, self.micro_rows, self.rows_per_step = vocab_size, micro_rows, rows_per_step

    def row(self, index: int) -> Row:
        random = np.random.default_rng(index)
        # Tokens follow each other by a rule, so that there is something to learn.
        ids = np.cumsum(random.integers(0, 3, SEQUENCE_TOKENS + 1) * 5 + 1) % self.vocab_size
        documents = np.cumsum(random.random(SEQUENCE_TOKENS) < 0.1).astype(np.int32)
        weights = (random.random(SEQUENCE_TOKENS) < 0.2 + 0.6 * random.random()).astype(np.float32)
        return Row(ids[:-1].astype(np.int64), ids[1:].astype(np.int64), weights, documents)

    def step(self, step: int, part: tuple[int, int] = (0, 1)) -> list[Any]:
        index, parts = part
        first = step * self.rows_per_step
        rows = [self.row(first + place) for place in range(index, self.rows_per_step, parts)]
        return [stack(rows[start : start + self.micro_rows]) for start in range(0, len(rows), self.micro_rows)]


class Exact:
    """Next-token loss of the plain formula, in the model's own type (the house's chunked one sums in float32)."""

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        scores = F.log_softmax(model.head(model(batch.tokens_BT, batch.mask)), -1)
        picked = scores.gather(2, batch.targets_BT[..., None])[..., 0]
        return -(picked * batch.weights_BT.to(picked.dtype)).sum(), {"counted": float(batch.weights_BT.sum())}


class Keep:
    """A writer that keeps the rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def row(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def close(self) -> None:
        pass


def train(
    mesh: dict[str, int] | None = None,
    *,
    kind: str = "adamw",
    steps: int = 20,
    double: bool = False,
    micro_rows: int = 2,
    rows_per_step: int = ROWS_PER_STEP,
    site: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    folder: str = "",
    holds: bool = True,
    meta: bool = False,
) -> dict[str, Any]:
    """A run from scratch in a layout.

    Args:
        folder: one for all ranks; a pipeline's meet there. None needed otherwise.
        meta: whether the model is made without memory, and each rank takes its pieces of the weights.
        holds: whether ranks hold whole gradients between micro-batches.

    Returns:
        Rows of the run; of the main rank, the trained weights by name; elements of the parameters that this rank held.
    """
    page = TrainingSite(mesh=MeshPage(**(mesh or {})), precision="float32", **(site or {}))
    with torch.device("meta" if meta else "cpu"):
        model, whole = (Transformer(dataclasses.replace(CONFIG, **(config or {}))) for _ in range(2))
    if not meta:
        initialise(model, 1)
    if double:
        model.double()
    kept = Keep()
    optim = OptimPage(kind=kind, rate=0.003)
    batches = Steps(model.config.vocab_size, micro_rows, rows_per_step)
    objective, spec = Exact() if double else NextToken(), FitSpec(steps, optim, 10**6)
    held: list[int] = []
    first = (lambda: drawn(whole, 1)) if meta else None

    def count(*_: Any) -> None:
        parts = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters()]
        held.append(sum(part.numel() for part in parts))

    memory = mock.patch("shikomi.train.loop.holds_gradients", return_value=holds)
    with tempfile.TemporaryDirectory() as own, memory:
        fit(
            model,
            objective,
            batches,
            spec,
            Path(folder or own),
            site=page,
            weights=first,
            writers=[kept],
            progress=count,
        )
    weights = {name: p.detach().double() for name, p in model.named_parameters() if not p.is_meta}
    return {"rows": kept.rows, "weights": {name: v.numpy() for name, v in weights.items()}, "held": held[0]}


def score(mesh: dict[str, int], tokens: int, packed: bool = False) -> Any:
    """Log-probs of targets in rows of any length, their pull on the last norm's weight, the last positions' logits."""
    page = TrainingSite(mesh=MeshPage(**mesh), precision="float32")
    world = open_world(page.mesh)
    model = Transformer(dataclasses.replace(CONFIG, vocab_size=67))
    initialise(model, 1)
    parallelize(model, world.mesh, world.device, page)
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 67, (2, tokens + 1), generator=generator)
    numbers = (torch.arange(tokens) * 2 // tokens).int().expand(2, -1)
    hidden = model(ids[:, :-1], documents(numbers) if packed else None)
    found = log_probs(hidden.flatten(0, 1), model.head_weight, ids[:, 1:].flatten())
    (found * torch.rand(found.shape, generator=generator)).sum().backward()
    grad = model.model.norm.weight.grad
    logits = model.head(hidden[:, -1])
    grad = grad.full_tensor() if isinstance(grad, DTensor) else grad
    assert grad is not None
    return found.detach().numpy(), grad.numpy(), logits.detach().numpy()
