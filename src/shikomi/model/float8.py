"""Matrix products in float8 where the hardware has it: each tensor scaled as a whole, anew at every product.

Activations and weights are float8 e4m3 (more digits), gradients e5m2 (more range), as in Micikevicius et al. 2022
(arXiv 2209.05433); sums are float32 and results bfloat16. Weights stay float32 outside. Shape letters: N positions,
I and O features in and out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from shikomi.errors import MachineError

CAPABILITY = (8, 9)
"""The first CUDA compute capability with float8 products (Ada; Hopper is 9.0)."""
MULTIPLE = 16
"""All sides of a float8 product are multiples of this (cuBLASLt)."""


def check_float8(device: torch.device) -> None:
    """Refuse float8 where the hardware does not multiply it.

    Raises:
        MachineError: no CUDA device of capability 8.9 or later.
    """
    found = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if found is None or found < CAPABILITY or not hasattr(torch, "_scaled_mm"):
        here = "this process trains on a CPU" if found is None else f"this GPU has {found[0]}.{found[1]}"
        raise MachineError(
            f'precision = "float8" needs a GPU of compute capability {CAPABILITY[0]}.{CAPABILITY[1]}; {here}',
            where="site: training.precision",
            hint='take "bfloat16", or a GPU of the Ada or Hopper generation or later',
        )


def use_float8(module: nn.Module) -> int:
    """Let the linear maps of a module multiply in float8, in place; returns how many do (the others' sides are no
    multiples of 16)."""
    count = 0
    for linear in module.modules():
        if isinstance(linear, nn.Linear) and not (linear.in_features % MULTIPLE or linear.out_features % MULTIPLE):
            linear.forward = _forward(linear)  # type: ignore[method-assign]
            count += 1
    return count


def _forward(linear: nn.Linear) -> Any:
    def run(x: Tensor) -> Tensor:
        out = linear8(x, linear.weight)
        return out if linear.bias is None else out + linear.bias.to(out.dtype)

    return run


def linear8(x: Tensor, weight_OI: Tensor) -> Tensor:
    """x [..., I] times the transposed weight, [..., O] in bfloat16; gradients are products in float8 too."""
    x_NI = x.flatten(0, -2)
    fill = -x_NI.shape[0] % MULTIPLE
    padded = torch.nn.functional.pad(x_NI, (0, 0, 0, fill)) if fill else x_NI
    out_NO: Any = _Linear8.apply(padded, weight_OI)
    return out_NO[: x_NI.shape[0]].unflatten(0, x.shape[:-1])


class _Linear8(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        x8, x_scale = _scaled(x_NI, torch.float8_e4m3fn)
        weight8, weight_scale = _scaled(weight_OI, torch.float8_e4m3fn)
        ctx.save_for_backward(x8, x_scale, weight8, weight_scale)
        ctx.types = x_NI.dtype, weight_OI.dtype
        return _product(x8, weight8.t(), x_scale, weight_scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x8, x_scale, weight8, weight_scale = ctx.saved_tensors
        grad8, grad_scale = _scaled(grad_outputs[0], torch.float8_e5m2)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _product(grad8, _by_columns(weight8), grad_scale, weight_scale).to(ctx.types[0])
        if ctx.needs_input_grad[1]:
            grad_weight = _product(grad8.t().contiguous(), _by_columns(x8), grad_scale, x_scale).to(ctx.types[1])
        return grad_x, grad_weight


def _scaled(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Float8 values that fill the type's range, and what to multiply them by."""
    limit = torch.finfo(dtype).max
    scale = (values.detach().abs().amax().float() / limit).clamp_(min=1e-12)
    return (values / scale.to(values.dtype)).clamp(-limit, limit).to(dtype), scale


def _by_columns(matrix: Tensor) -> Tensor:
    """The same matrix laid out by columns, as products want their right side."""
    return matrix.t().contiguous().t()


def _product(left: Tensor, right: Tensor, left_scale: Tensor, right_scale: Tensor) -> Tensor:
    multiply: Any = torch._scaled_mm  # pyright: ignore[reportPrivateImportUsage]
    return multiply(left, right, scale_a=left_scale, scale_b=right_scale, out_dtype=torch.bfloat16)
