"""Micro-batches where several ranks share each sequence: each takes its positions, and everything counts once.

Batches of rows are cut with their targets and weights. Other batches (an objective that needs each sequence whole, as
DPO does) are computed in shares too, but their loss is made by every context rank alike: loss and weight both count
as often as there are ranks, and the division by the step's weight evens it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shikomi.model.context import Context, WholeSequences
from shikomi.train.objective import Objective


@dataclass(frozen=True)
class Whole:
    """A micro-batch whose sequences the objective sees whole, on each of ``ranks`` context ranks."""

    micro: Any
    ranks: int

    @property
    def weight(self) -> float:
        """The micro-batch's weight, on every rank."""
        return self.micro.weight

    @property
    def num_tokens(self) -> float:
        """This rank's share of the positions."""
        return self.micro.num_tokens / self.ranks

    def to(self, where: torch.device) -> Whole:
        """The same on a device."""
        return Whole(self.micro.to(where), self.ranks)


def share(micro: Any, context: Context) -> Any:
    """This context rank's share of a micro-batch.

    Raises:
        RecipeError: its sequences do not cut into two pieces a rank.
    """
    return micro.cut(context) if hasattr(micro, "cut") else Whole(micro, context.ranks)


class SharedSequences:
    """An objective over shares of micro-batches."""

    def __init__(self, objective: Objective, context: Context) -> None:
        self.objective, self.context = objective, context

    def loss(self, model: Any, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """See ``Objective``."""
        if isinstance(batch, Whole):
            whole: Any = WholeSequences(model, self.context)
            return self.objective.loss(whole, batch.micro)
        return self.objective.loss(model, batch)
