"""The output head whose vocabulary ranks share (tensor parallelism): each makes the logits of its own tokens.

What travels is three numbers a position: the largest logit, the sum of exponentials, the target's logit (Megatron-LM,
arXiv 1909.08053, section 3). Shape letters: N positions, D hidden, V vocabulary, R tokens of a rank, C positions of a
chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate

from shikomi.model.halves import multiply

CHUNK_ELEMENTS = 1 << 24
"""Logits of a rank that are in memory at once."""


@dataclass(frozen=True)
class SharedHead:
    """The output matrix [V, D] of which each rank has rows; stands where a whole one would.

    Attributes:
        rows_RD: this rank's rows, with a gradient.
        start: the token of its first row.
        weight: all rows, those that fill it up included; ``vocab_size`` of them count.
    """

    rows_RD: Tensor
    start: int
    weight: DTensor
    vocab_size: int

    @property
    def mesh(self) -> DeviceMesh:
        """The ranks."""
        return self.weight.device_mesh

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., D]; every rank gets all of them."""
        whole = DTensor.from_local(hidden, self.mesh, [Replicate()], run_check=False)
        made: Any = torch.nn.functional.linear(whole, self.weight)
        return made.full_tensor()[..., : self.vocab_size]

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.rows_RD.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the rows."""
        return self.rows_RD.dtype


def output_head(weight: Tensor, vocab_size: int) -> Any:
    """The output matrix [V, D] of a weight [V and more, D] whose rows ranks may share by tensor parallelism; rows from
    ``vocab_size`` on, which fill the weight up, are left out."""
    mesh = getattr(weight, "device_mesh", None)
    if not isinstance(weight, DTensor) or mesh is None or mesh.mesh_dim_names != ("tensor",):
        # FSDP makes weights whole before they are used.
        return weight if weight.shape[0] == vocab_size else weight[:vocab_size]
    start = mesh.get_local_rank() * -(-weight.shape[0] // mesh.size())
    return SharedHead(weight.to_local()[: max(vocab_size - start, 0)], start, weight, vocab_size)


def cross_entropy_sum(
    hidden_ND: Tensor, head: SharedHead, targets_N: Tensor, weights_N: Tensor, z_loss: float
) -> tuple[Tensor, Tensor]:
    """As ``linear_loss.cross_entropy_sum``; every rank gets the same sums, and the whole gradient of ``hidden_ND``."""
    chosen, normalisers = _scores(hidden_ND, head, targets_N)
    weights = weights_N.to(chosen.dtype)
    plain = ((normalisers - chosen) * weights).sum()
    total = plain + z_loss * (normalisers.square() * weights).sum() if z_loss else plain
    return total, plain.detach()


def log_probs(hidden_ND: Tensor, head: SharedHead, targets_N: Tensor) -> Tensor:
    """As ``linear_loss.log_probs``; every rank gets all positions, and the whole gradient of ``hidden_ND``."""
    chosen, normalisers = _scores(hidden_ND, head, targets_N)
    return chosen - normalisers


def _scores(hidden_ND: Tensor, head: SharedHead, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    kind = hidden_ND.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_ND.dtype
    rows = head.rows_RD.detach().to(dtype)
    return _Scores.apply(hidden_ND.to(dtype), head.rows_RD, rows, targets_N - head.start, head.mesh)  # type: ignore[return-value]


def _over_ranks(values: Tensor, mesh: DeviceMesh, how: str) -> Tensor:
    partial = DTensor.from_local(values, mesh, [Partial(how)], run_check=False)
    return partial.redistribute(placements=[Replicate()]).to_local()


def _chunks(positions: int, rows: int) -> list[slice]:
    size = max(1, CHUNK_ELEMENTS // max(rows, 1))
    return [slice(start, start + size) for start in range(0, positions, size)]


class _Scores(torch.autograd.Function):
    """Each target's logit and each position's log Z, [N] in float32 (or float64); logits are made again backward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, rows_RD: Tensor, rows: Tensor, targets: Tensor, mesh: DeviceMesh
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        chosen, normalisers = (torch.zeros(len(targets), dtype=wide, device=hidden.device) for _ in range(2))
        inside = (targets >= 0) & (targets < len(rows))
        places = targets.clamp(0, len(rows) - 1)[:, None]
        for part in _chunks(len(targets), len(rows)):
            scores = multiply(hidden[part], rows.T).to(wide)
            peak = _over_ranks(scores.amax(dim=-1), mesh, "max")
            own = scores.gather(1, places[part])[:, 0] * inside[part]
            mass = scores.sub_(peak[:, None]).exp_().sum(dim=-1)
            chosen[part], total = _over_ranks(torch.stack((own, mass)), mesh, "sum")
            normalisers[part] = total.log() + peak
        ctx.save_for_backward(hidden, rows_RD, rows, places, inside, normalisers)
        ctx.mesh = mesh
        return chosen, normalisers

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden, rows_RD, rows, places, inside, normalisers = ctx.saved_tensors
        grad_chosen, grad_normaliser = grad_outputs
        grad_hidden, grad_rows = torch.empty_like(hidden), torch.zeros_like(rows_RD)
        for part in _chunks(len(hidden), len(rows)):
            scores = multiply(hidden[part], rows.T).to(normalisers.dtype)
            grad = scores.sub_(normalisers[part, None]).exp_().mul_(grad_normaliser[part, None])
            grad.scatter_add_(1, places[part], (grad_chosen[part] * inside[part])[:, None])
            grad = grad.to(hidden.dtype)
            grad_hidden[part] = multiply(grad, rows)
            grad_rows += multiply(grad.T, hidden[part]).to(grad_rows.dtype)
        return _over_ranks(grad_hidden, ctx.mesh, "sum"), grad_rows, None, None, None
