"""Products of a few rows with weights that do not change: generation's linear layers.

On a CPU such a product takes as long as its weights take to be read, so they lie in memory as they are read. Measured
(all matrices of a model of 10M parameters in float32, one pass over each), in ms as trained, transposed, and packed for
oneDNN: Zen 4, one thread: 1 row 4.7, 3.1; 8 rows 7.6, 5.8, 3.9; 32 rows 12, 10.3, 7.5; 300 rows 62, 55. Emerald
Rapids, two threads: 1 row 1.2, 1.1, 2.0; 8 rows 2.1, 1.8, 2.6; 32 rows 4.9, 3.5, 4.4; 64 rows 6.7, 6.0, 7.1. So
matrices are packed where the processor is none of those for which PyTorch's MKL has its fast kernels.

Shape letters: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from shikomi.model.halves import is_intel
from shikomi.model.lora import LoraLinear


class Product:
    """x @ weight + bias, of several linear layers side by side.

    Args:
        weights: matrices [O, I] that read the same input.
        biases: of each; or none.
        dtype: what to compute in.
        copied: whether the weights are copied into the form that is fastest; otherwise they are used where they lie.
        norm_I: a norm's weight that the input would be multiplied with; only where ``copied``.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        dtype: torch.dtype,
        *,
        copied: bool,
        norm_I: Tensor | None = None,
    ) -> None:
        self.bias_O = torch.cat(list(biases)).to(dtype) if biases else None
        self._packed: Tensor | None = None
        self._matrices: tuple[Tensor, ...] = tuple(weight.to(dtype).T for weight in weights)
        on_cpu = weights[0].device.type == "cpu"
        self._packs = copied and dtype is torch.float32 and on_cpu and not is_intel() and _can_pack()
        if copied:
            whole_IO = torch.cat([weight.T for weight in weights], dim=1)
            if norm_I is not None:
                whole_IO = whole_IO.to(torch.promote_types(whole_IO.dtype, torch.float32)) * norm_I[:, None]
            self._matrices = (whole_IO.to(dtype).contiguous(),)

    def __call__(self, x_NI: Tensor) -> Tensor:
        """[N, I] to a new [N, O]."""
        if self._packs and len(x_NI) > 1:
            return self._by_packed(x_NI)
        matrix, *others = self._matrices
        if others:
            whole = torch.cat([torch.mm(x_NI, each) for each in self._matrices], dim=-1)
            return whole if self.bias_O is None else whole.add_(self.bias_O)
        return torch.mm(x_NI, matrix) if self.bias_O is None else torch.addmm(self.bias_O, x_NI, matrix)

    def add_to(self, total_NO: Tensor, x_NI: Tensor) -> None:
        """Add the product to ``total_NO`` in place."""
        if self._packs and len(x_NI) > 1:
            total_NO.add_(self._by_packed(x_NI))
            return
        total_NO.addmm_(x_NI, self._matrices[0])
        if self.bias_O is not None:
            total_NO.add_(self.bias_O)

    def _by_packed(self, x_NI: Tensor) -> Tensor:
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._matrices[0].T.contiguous())
        return torch.ops.mkldnn._linear_pointwise(x_NI, self._packed, self.bias_O, "none", [], "")


def product(linears: Sequence[nn.Linear], dtype: torch.dtype, *, copied: bool, norm_I: Tensor | None = None) -> Product:
    """The product of linear layers that read the same input, adapters added; see ``Product``."""
    biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
    return Product([_weight(linear) for linear in linears], biases, dtype, copied=copied, norm_I=norm_I)


def _weight(linear: nn.Linear) -> Tensor:
    """The matrix [O, I] as it acts, an adapter added."""
    weight = linear.weight.detach()
    if not isinstance(linear, LoraLinear):
        return weight
    return weight + linear.lora_B.weight.detach() @ linear.lora_A.weight.detach() * linear.scale


@cache
def _can_pack() -> bool:
    """Whether this PyTorch has oneDNN and the operators by which its own compiler uses packed weights: tried out, since
    they are not part of its documented interface."""
    x_NI, weight_OI = torch.ones(2, 4), torch.arange(12.0).view(3, 4)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI)
        found = torch.ops.mkldnn._linear_pointwise(x_NI, packed, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.equal(found, x_NI @ weight_OI.T)
