"""Losses as sums with weights: the loop divides once by the weight of the whole step.

All objectives stand on the two functions of ``model.linear_loss``, which never hold the whole logits, and call them at
the positions that count. Shape letters: B rows, T positions, N positions that count, D hidden.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from shikomi.model.linear_loss import cross_entropy_sum
from shikomi.model.transformer import Transformer
from shikomi.train.batches import Batch


class Objective(Protocol):
    """What a step minimises. ``batch`` is whatever the paired batches give; it carries its own ``weight``."""

    def loss(self, model: Transformer, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """The loss **summed** over the batch, and sums of things to log (divided by the same weight)."""
        ...


class NextToken:
    """Next-token cross-entropy; SFT is the same with weights that are 1 on answers only.

    Attributes:
        z_loss: factor on the square of each position's log-normaliser, which keeps logits from drifting; 0: none.
    """

    def __init__(self, z_loss: float = 0.0) -> None:
        self.z_loss = z_loss

    def loss(self, model: Transformer, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """Weighted sum of -log p (+ z-loss) in nats; logits are made only where the weight is not 0.

        Logs, with a z-loss, the cross-entropy without it.
        """
        hidden_ND = model(batch.tokens_BT, batch.mask).flatten(0, 1)
        targets_N, weights_N = batch.targets_BT.flatten(), batch.weights_BT.flatten()
        if len(batch.needed_N) < len(targets_N):
            hidden_ND, targets_N, weights_N = (part[batch.needed_N] for part in (hidden_ND, targets_N, weights_N))
        total, plain = cross_entropy_sum(hidden_ND, model.head_weight, targets_N, weights_N, self.z_loss)
        return total, {"cross_entropy": plain} if self.z_loss else {}
