"""Products of bfloat16 matrices on processors, also on those that have no instructions for them, or slow ones.

A bfloat16 is a float32 whose lower half is zero, so operands may be widened, multiplied in float32 and the result
rounded: the same product, summed in float32 as the instructions do. That is the faster way

- where oneDNN has no bfloat16 products (x86 without AVX-512) and PyTorch multiplies element by element. Measured (Zen
  3, 2 threads, 2,048 x 320 by 320 x 960): 12.9 GFLOP/s as PyTorch has it, 98.9 widened, 85.3 in float32 throughout;
- on Intel's processors without AMX, whose bfloat16 instructions do no more a cycle than float32's, and where MKL is
  better at float32 than oneDNN at bfloat16. Measured (Emerald Rapids without AMX, 2 threads, 2,048 x 256 by 256 x
  1,408): 139 GFLOP/s as PyTorch has it, 208 widened, 260 in float32 throughout.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor


@cache
def _processor() -> str:
    """What Linux says of the processors; empty elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def is_intel() -> bool:
    """Whether the processor is one of Intel's, for which PyTorch's MKL has its fast kernels; no where nothing says."""
    return "GenuineIntel" in _processor()


def _has_half_products() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # not part of PyTorch's documented interface
        return True


HAS_HALF_PRODUCTS = _has_half_products()
"""Whether oneDNN multiplies in bfloat16 on this processor; yes where PyTorch does not say."""
HALF_PRODUCTS = HAS_HALF_PRODUCTS and (not is_intel() or "amx_bf16" in _processor())
"""Whether that is the faster way. A constant, since compiled layers look at it."""


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
