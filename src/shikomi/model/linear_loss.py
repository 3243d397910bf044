"""Cross-entropy and log-probabilities straight from hidden states: the whole logits are never in memory.

One chunk of positions has logits at a time. They become probabilities where they lie, a few rows at a time, so that a
processor's cache holds the float32 values in between. Shape letters: N positions, D hidden, V vocabulary, C positions
of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shikomi.model.halves import multiply, widens

CHUNK_POSITIONS = 128
"""Positions of a chunk at least: fewer would spend more on adding up the head's gradient than on making it. Measured at
V = 131,072 (docs/log.md): 256 take 4 % less time than 128, and a quarter more memory; 64 take a fifth more time."""
CHUNK_ELEMENTS = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Logits of a chunk, if that is more positions. 2^24 in bfloat16 are 32 MiB: measured on 2 cores, 512 positions at
V = 8,192 and all 2,048 are equal within noise (docs/log.md); GPUs want larger products."""
_WIDENED = 4
"""How many times fewer where a processor widens bfloat16 for its products: what is widened is memory too."""
ROW_ELEMENTS = 1 << 18
"""Logits of the rows that a processor holds in float32 at once. Measured (Zen 4, V = 8,192): 8 and 32 rows 17.5 and
18.3 ms, 512 rows 20.7 ms, the whole 2,048 x 8,192 with log-sum-exp and exp 57.7 ms."""
KEPT_BYTES = {"cpu": 1 << 26, "cuda": 1 << 28}
"""Gradients of logits that log-probs keep for the backward pass; those of further chunks are made again."""
_HEAD_ROWS = 1 << 13
"""Vocabulary rows whose gradient is in memory at once before it is added in float32."""
COPIED_HEAD = {"cpu": 1 << 25}
"""Elements of a head up to which there is a bfloat16 copy of it; of a larger one so many rows at a time are copied, for
every chunk again, which costs a sixth of the time and halves what the loss takes (V = 131,072, D = 512)."""

Head = Any
"""The output matrix [V, D]: a tensor, or a ``vocabulary.SharedHead``."""


def cross_entropy_sum(
    hidden_ND: Tensor, head_VD: Head, targets_N: Tensor, weights_N: Tensor, z_loss: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Sum over positions of weight · (-log p(target) + z_loss · (log Z)²) in nats, and the same sum without z-loss.

    Both are scalars of float32 (or float64); the first has gradients to hidden and head, which are those of the plain
    formula and are made in the forward pass. Only first derivatives exist. Z is the softmax's normaliser (z-loss:
    PaLM, arXiv 2204.02311, section 5).

    Args:
        hidden_ND, head_VD: float; under autocast their products are made in its type.
        targets_N: int64.
        weights_N: float.
    """
    if not isinstance(head_VD, Tensor):
        from shikomi.model import vocabulary

        return vocabulary.cross_entropy_sum(hidden_ND, head_VD, targets_N, weights_N, z_loss)
    hidden_ND, head = _operands(hidden_ND, head_VD)
    total, plain = _CrossEntropy.apply(hidden_ND, head_VD, head, targets_N, weights_N, z_loss)  # type: ignore[misc]
    return total, plain


def log_probs(hidden_ND: Tensor, head_VD: Head, targets_N: Tensor) -> Tensor:
    """log p(target) in nats at each position, float32 (or float64) [N], with gradients to hidden and head.

    The logits' gradients of the first chunks are kept for the backward pass (``KEPT_BYTES``), others made again.
    """
    if not isinstance(head_VD, Tensor):
        from shikomi.model import vocabulary

        return vocabulary.log_probs(hidden_ND, head_VD, targets_N)
    hidden_ND, head = _operands(hidden_ND, head_VD)
    return _LogProbs.apply(hidden_ND, head_VD, head, targets_N)  # type: ignore[return-value]


def _operands(hidden_ND: Tensor, head_VD: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states, and the head or a copy of it, in the type that products are made in."""
    kind = hidden_ND.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_ND.dtype
    head = head_VD.detach()
    small = head.numel() <= COPIED_HEAD.get(kind, head.numel())
    return hidden_ND.to(dtype), head.to(dtype) if small else head


def _rows_of(head: Tensor, dtype: torch.dtype) -> list[slice]:
    """The head's rows in parts that may be copied or widened; one part where neither is needed."""
    step = head.shape[0] if head.dtype == dtype and not widens(head) else _HEAD_ROWS
    return [slice(start, start + step) for start in range(0, head.shape[0], step)]


def _logits(hidden_CD: Tensor, head: Tensor) -> Tensor:
    parts = _rows_of(head, hidden_CD.dtype)
    if len(parts) == 1:
        return multiply(hidden_CD, head.to(hidden_CD.dtype).T)
    logits = hidden_CD.new_empty(hidden_CD.shape[0], head.shape[0])
    for rows in parts:
        logits[:, rows] = multiply(hidden_CD, head[rows].to(hidden_CD.dtype).T)
    return logits


def _times_head(grad_CV: Tensor, head: Tensor) -> Tensor:
    """The gradient of hidden states from that of their logits."""
    parts = _rows_of(head, grad_CV.dtype)
    if len(parts) == 1:
        return multiply(grad_CV, head.to(grad_CV.dtype))
    total = torch.zeros(grad_CV.shape[0], head.shape[1], device=head.device)
    for rows in parts:
        total += multiply(grad_CV[:, rows], head[rows].to(grad_CV.dtype))
    return total


def _chunks(hidden_ND: Tensor, vocab: int) -> list[slice]:
    elements = CHUNK_ELEMENTS.get(hidden_ND.device.type, 1 << 24) // (_WIDENED if widens(hidden_ND) else 1)
    positions = max(CHUNK_POSITIONS, elements // vocab)
    return [slice(start, start + positions) for start in range(0, hidden_ND.shape[0], positions)]


def _descent(
    hidden_CD: Tensor, head: Tensor, targets_C: Tensor, weights_C: Tensor | None = None, z_loss: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """A chunk's gradient of weight · (-log p + z_loss · (log Z)²) with respect to its logits, [C, V] in the products'
    type; log p(target) and log Z, [C] in float32 (or float64). No weights: 1."""
    logits = _logits(hidden_CD, head)
    on_cpu = logits.device.type == "cpu"
    count = max(1, min(ROW_ELEMENTS // logits.shape[1], len(logits)) if on_cpu else len(logits))
    found, normalisers = [], []
    for start in range(0, len(logits), count):
        part, target = (whole[start : start + count] for whole in (logits, targets_C[:, None]))
        wide = part if part.dtype.itemsize >= 4 else part.float()
        peak, chosen = wide.amax(dim=-1), wide.gather(1, target)[:, 0]
        wide = torch.ops.aten._softmax.out(wide, -1, False, out=wide) if on_cpu else torch.softmax(wide, -1)
        # The largest probability is exp(peak) / Z, and never less than 1 / V.
        normaliser = peak - wide.amax(dim=-1).log_()
        if z_loss:
            wide.mul_((1 + 2 * z_loss * normaliser)[:, None])
        # In float32, so that what is left of a probability near 1 is not rounded away.
        wide.scatter_add_(1, target, wide.new_full((1, 1), -1.0).expand_as(target))
        if weights_C is not None:
            wide.mul_(weights_C[start : start + len(target), None])
        if wide is not part:
            part.copy_(wide)
        found.append(chosen - normaliser)
        normalisers.append(normaliser)
    return logits, torch.cat(found), torch.cat(normalisers)


def _add_head(grad_head: Tensor, grad_CV: Tensor, hidden_CD: Tensor) -> None:
    """Add grad · hidden to the head's gradient in its own type."""
    if grad_head.dtype == grad_CV.dtype:
        grad_head.addmm_(grad_CV.T, hidden_CD)
        return
    for start in range(0, grad_CV.shape[1], _HEAD_ROWS):
        rows = slice(start, start + _HEAD_ROWS)
        grad_head[rows] += multiply(grad_CV[:, rows].T, hidden_CD)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head_VD: Tensor, head: Tensor, targets: Tensor, weights: Tensor, z_loss: float
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        plain, squares = (torch.zeros((), dtype=wide, device=hidden.device) for _ in range(2))
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_head = torch.zeros_like(head_VD) if ctx.needs_input_grad[1] else None
        for part in _chunks(hidden, head.shape[0]):
            target, weight = targets[part], weights[part].to(wide)
            grad, found, normaliser = _descent(hidden[part], head, target, weight, z_loss)
            plain -= (found * weight).sum()
            if z_loss:
                squares += (normaliser.square() * weight).sum()
            if grad_hidden is not None:
                grad_hidden[part] = _times_head(grad, head)
            if grad_head is not None:
                _add_head(grad_head, grad, hidden[part])
            del grad  # before the next chunk's logits are made
        ctx.grads = grad_hidden, grad_head
        ctx.mark_non_differentiable(plain)
        return plain + z_loss * squares, plain

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        # Scaled in place: a copy of the head's gradient would be the most memory that the loss takes.
        assert ctx.grads is not None, "the gradient of a chunked loss can be asked for once"
        grads, ctx.grads = ctx.grads, None
        for grad in grads:
            if grad is not None:
                grad.mul_(grad_outputs[0].to(grad.dtype))
        return (*grads, None, None, None, None)


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head_VD: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        room = KEPT_BYTES.get(hidden.device.type, 1 << 26) if any(ctx.needs_input_grad) else 0
        found, kept = [], []
        for part in _chunks(hidden, head.shape[0]):
            descent, scores, _ = _descent(hidden[part], head, targets[part])
            found.append(scores)
            room -= descent.nbytes
            if room >= 0:
                kept.append(descent)
            del descent  # before the next chunk's logits are made
        ctx.save_for_backward(hidden, head_VD, head, targets, *kept)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        return torch.cat(found) if found else hidden.new_zeros(0, dtype=wide)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden, head_VD, head, targets, *kept = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_head = torch.zeros_like(head_VD) if ctx.needs_input_grad[1] else None
        for number, part in enumerate(_chunks(hidden, head.shape[0])):
            scale = -grad_outputs[0][part, None].to(hidden.dtype)
            if number < len(kept):
                grad = kept[number] * scale
            else:
                grad = _descent(hidden[part], head, targets[part])[0].mul_(scale)
            if grad_hidden is not None:
                grad_hidden[part] = _times_head(grad, head)
            if grad_head is not None:
                _add_head(grad_head, grad, hidden[part])
            del grad
        return grad_hidden, grad_head, None, None
