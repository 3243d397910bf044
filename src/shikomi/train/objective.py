"""Losses as sums with weights: the loop divides once by the weight of the whole step.

Shape letters: N positions, D hidden, V vocabulary. Logits exist for one chunk of positions at a time.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from shikomi.model.transformer import Transformer
from shikomi.train.batches import Batch

CHUNK_POSITIONS = 512
"""Positions whose logits are in memory at once. Measured: 256 to 1024 are equal within noise on a CPU; the whole
[N, V] costs 7 x the memory at V = 65,536 (docs/log.md)."""


class _LinearCrossEntropy(torch.autograd.Function):
    """Weighted sum of -log p(target); the gradients are made in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
        total = hidden_ND.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        grad_head = torch.zeros_like(head_VD) if ctx.needs_input_grad[1] else None
        head = head_VD.to(hidden_ND.dtype)
        for start in range(0, hidden_ND.shape[0], CHUNK_POSITIONS):
            part = slice(start, start + CHUNK_POSITIONS)
            logits, target, weight = (hidden_ND[part] @ head.T).float(), targets_N[part, None], weights_N[part]
            normaliser = torch.logsumexp(logits, dim=-1)
            total += ((normaliser - logits.gather(1, target)[:, 0]) * weight).sum()
            if grad_hidden is None and grad_head is None:
                continue
            gradient = logits.sub_(normaliser[:, None]).exp_()
            gradient.scatter_add_(1, target, torch.full_like(target, -1, dtype=gradient.dtype))
            gradient = gradient.mul_(weight[:, None]).to(hidden_ND.dtype)
            if grad_hidden is not None:
                torch.mm(gradient, head, out=grad_hidden[part])
            if grad_head is not None:
                grad_head += (gradient.T @ hidden_ND[part]).to(grad_head.dtype)
        ctx.save_for_backward(grad_hidden, grad_head)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (scale,) = grad_outputs
        hidden, head = ctx.saved_tensors
        return (
            None if hidden is None else hidden * scale,
            None if head is None else head * scale,
            None,
            None,
        )


def cross_entropy_sum(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """Sum over positions of weight · (-log p(target)) in nats, a float32 scalar with gradients to hidden and head.

    Gradients are those of the plain formula; only first derivatives exist.
    """
    return _LinearCrossEntropy.apply(hidden_ND, head_VD, targets_N, weights_N)  # type: ignore[return-value]


def log_probs(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    """log p(target) in nats at each position, float32 [N]; the backward pass makes the logits again, chunk by chunk."""
    parts = [
        checkpoint(
            _chunk_log_probs,
            hidden_ND[start : start + CHUNK_POSITIONS],
            head_VD,
            targets_N[start : start + CHUNK_POSITIONS],
            use_reentrant=False,
        )
        for start in range(0, hidden_ND.shape[0], CHUNK_POSITIONS)
    ]
    return torch.cat(parts) if parts else hidden_ND.new_zeros(0, dtype=torch.float32)


def _chunk_log_probs(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    logits = (hidden_ND @ head_VD.to(hidden_ND.dtype).T).float()
    return logits.gather(1, targets_N[:, None])[:, 0] - torch.logsumexp(logits, dim=-1)


class Objective(Protocol):
    """What a step minimises. ``batch`` is whatever the paired batches give; it carries its own ``weight``."""

    def loss(self, model: Transformer, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss **summed** over the batch, and sums of things to log (divided by the same weight)."""
        ...


class NextToken:
    """Next-token cross-entropy; SFT is the same with weights that are 1 on answers only."""

    def loss(self, model: Transformer, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Weighted sum of -log p in nats; logits are made only where the weight is not 0."""
        hidden = model(batch.tokens_BT, batch.mask)
        needed = batch.weights_BT.flatten() > 0
        hidden_ND = hidden.flatten(0, 1)[needed]
        targets_N, weights_N = batch.targets_BT.flatten()[needed], batch.weights_BT.flatten()[needed]
        return cross_entropy_sum(hidden_ND, model.head_weight, targets_N, weights_N), {}
