"""Parts of the decoder with hand-written gradients, for processors without fused kernels.

PyTorch runs these parts on a CPU as chains of small operators, each a pass over memory; here each takes the fewest
passes. Where products are made in bfloat16 (autocast), what goes into them is bfloat16 as soon as it is made, and what
is in between is float32: adding or multiplying tensors of two types is done one element at a time on a CPU (measured:
1.6 ms against 0.05 ms for 2,048 x 256), so types are made equal first. On other devices and under ``torch.compile``
the plain operators are used.

Measured at 4,096 x 192 on 2 cores: norm 8.8 → 3.9 ms, per-head norm 9.8 → 3.6 ms, rotary 3.7 → 1.3 ms, gated product
22.7 → 13.7 ms, forward and backward in float32 (docs/log.md).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from shikomi.model import halves
from shikomi.model.halves import halves_on_cpu, multiply, operand


def _plain(*tensors: Tensor) -> bool:
    """Whether all lie whole on the CPU and are not traced: what the functions here are written for."""
    if torch.compiler.is_compiling():
        return False
    return not any(isinstance(tensor, DTensor) or tensor.device.type != "cpu" for tensor in tensors)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        wide = x.to(weight.dtype)
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, inverse = ctx.saved_tensors
        grad = grad_outputs[0].to(weight.dtype)
        unit = x.to(weight.dtype) * inverse
        per_weight = grad * unit
        grad_weight = per_weight.flatten(0, -2).sum(0)
        mean = (per_weight @ weight)[..., None].div_(-x.shape[-1])
        return (grad * weight).addcmul_(unit, mean).mul_(inverse).to(x.dtype), grad_weight, None, None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) · weight over the last dimension (Zhang & Sennrich 2019); the shape stays.

    Where a CPU multiplies in bfloat16 the result is bfloat16, computed in the weight's type.
    """
    halves = halves_on_cpu()
    if not _plain(x, weight) or (x.dtype != weight.dtype and not halves):
        return F.rms_norm(x, weight.shape, weight.to(x.dtype), eps)
    return _RMSNorm.apply(x, weight, eps, torch.bfloat16 if halves else x.dtype)  # type: ignore[return-value]


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(grad_outputs[0], cos, sin, -1.0), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    half = x.shape[-1] // 2
    wide = x.to(torch.promote_types(x.dtype, cos.dtype))
    out = wide * cos
    out[..., :half].addcmul_(wide[..., half:], sin[..., :half], value=-sign)
    out[..., half:].addcmul_(wide[..., :half], sin[..., half:], value=sign)
    return out.to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + E/2) of the last dimension by its position's angle; cos and sin broadcast against x.

    Both halves of cos and of sin are equal, so the gradient is the turn by the opposite angle.
    """
    if not _plain(x):
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-second, first), dim=-1) * sin
    return _Rotate.apply(x, cos, sin)  # type: ignore[return-value]


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        active = F.silu(gate)
        ctx.save_for_backward(gate, up, active)
        return active * up

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        (grad,) = grad_outputs
        gate, up, active = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), grad * active


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) · up (SwiGLU, Shazeer 2020)."""
    if not _plain(gate, up):
        return F.silu(gate) * up
    return _Gated.apply(gate, up)  # type: ignore[return-value]


def add(residual: Tensor, change: Tensor) -> Tensor:
    """residual + change, in the residual's type."""
    return residual + (change.to(residual.dtype) if residual.device.type == "cpu" else change)


class _Products(torch.autograd.Function):
    """x times several matrices as one product in bfloat16; the gradient to x is summed inside one product too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        sizes = [weight.shape[0] for weight in weights]
        stacked = torch.empty(sum(sizes), x.shape[-1], dtype=torch.bfloat16)
        for part, weight in zip(stacked.split(sizes), weights, strict=True):
            part.copy_(weight)
        flat = x.to(torch.bfloat16).reshape(-1, x.shape[-1])
        ctx.save_for_backward(flat, stacked)
        ctx.x, ctx.weights = (x.shape, x.dtype), [(len(weight), weight.dtype) for weight in weights]
        return multiply(flat, stacked.T).view(*x.shape[:-1], -1).split(sizes, dim=-1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        flat, stacked = map(operand, ctx.saved_tensors)
        grad = operand(torch.cat(grad_outputs, dim=-1).flatten(0, -2))
        shape, dtype = ctx.x
        grad_x = multiply(grad, stacked).view(shape).to(dtype) if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:]):
            return grad_x, *([None] * len(ctx.weights))
        parts = multiply(grad.T, flat).split([size for size, _ in ctx.weights])
        return grad_x, *(part.to(kind) for part, (_, kind) in zip(parts, ctx.weights, strict=True))


def products(x: Tensor, *linears: nn.Module) -> tuple[Tensor, ...]:
    """What each of several linear layers gives for the same x [..., I]: one product where a CPU makes it in bfloat16.

    Layers of another kind (adapted, sharded, with bias) are called one by one; so are all in float32, where one
    product is no faster than several.
    """
    weights = [linear.weight for linear in linears if type(linear) is nn.Linear and linear.bias is None]
    if len(weights) == len(linears) and halves_on_cpu() and torch.is_grad_enabled() and _plain(x, *weights):
        return _Products.apply(x, *weights)  # type: ignore[return-value]
    return tuple(product(x, linear) for linear in linears)


def product(x: Tensor, linear: nn.Module) -> Tensor:
    """What a linear layer gives for x [..., I]; in bfloat16 by widening where a processor has no such products."""
    if type(linear) is nn.Linear and halves_on_cpu() and not halves.HALF_PRODUCTS and _plain(x, linear.weight):
        (found,) = _Products.apply(x, linear.weight)  # type: ignore[misc]
        return found if linear.bias is None else found + linear.bias.to(found.dtype)
    return linear(x)
