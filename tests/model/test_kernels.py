"""The hand-written gradients are those of the plain formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shikomi.model.kernels import gated, rms_norm, rotate


def plain_norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight


def plain_rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def gradients(function, *inputs):
    leaves = [part.clone().requires_grad_() for part in inputs]
    out = function(*leaves)
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=out.dtype)).sum().backward()
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 5, 8), (2, 7, 4, 6)])
def test_norm(shape):
    x, weight = random(*shape), random(shape[-1])
    for ours, theirs in zip(
        gradients(lambda x, w: rms_norm(x, w, 1e-6), x, weight), gradients(plain_norm, x, weight), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_rotate():
    angles = torch.cat((random(5, 4), random(5, 4)), dim=-1)
    cos, sin = angles.cos(), angles.sin()
    x = random(2, 3, 5, 8)
    ours = gradients(lambda x: rotate(x, cos, sin), x)
    theirs = gradients(lambda x: plain_rotate(x, cos, sin), x)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_gated():
    inputs = random(4, 6), random(4, 6) + 1
    ours = gradients(gated, *inputs)
    theirs = gradients(lambda g, u: F.silu(g) * u, *inputs)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))
