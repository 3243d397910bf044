"""The hand-written gradients are those of the plain formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shikomi.model.kernels import add, gated, products, rms_norm, rotate


def plain_norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight


def plain_rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def gradients(function, *inputs):
    leaves = [part.clone().requires_grad_() for part in inputs]
    out = function(*leaves)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    out.backward(weight.to(out.dtype))
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


def halved(function, *inputs):
    """Value and gradients under bfloat16 autocast, from float32 inputs."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return gradients(function, *(part.float() for part in inputs))


def near(ours, theirs):
    return (ours.double() - theirs).norm() <= 0.01 * theirs.norm()


def test_bfloat16_norm_and_rotation_are_rounded_once():
    x, weight, angles = random(6, 5, 8), random(8), torch.cat((random(5, 4), random(5, 4)), dim=-1)
    ours = halved(lambda x, w: rms_norm(x, w, 1e-6), x, weight)
    assert [part.dtype for part in ours] == [torch.bfloat16, torch.float32, torch.float32]
    assert all(near(a, b) for a, b in zip(ours, gradients(plain_norm, x, weight), strict=True))
    cos, sin = angles.cos().float(), angles.sin().float()
    turned = rotate(x.bfloat16(), cos, sin)
    assert turned.dtype == torch.bfloat16
    assert torch.equal(turned, rotate(x.bfloat16().float(), cos, sin).bfloat16())


def linear(weight):
    made = torch.nn.Linear(*reversed(weight.shape), bias=False)
    made.weight = torch.nn.Parameter(weight)
    return made


@pytest.mark.parametrize("frozen", ["nothing", "x", "weights"])
def test_products_are_those_of_the_layers(frozen):
    x, weights = random(2, 5, 8), [random(4, 8), random(6, 8)]

    def run(dtype, multiply):
        own = x.to(dtype).detach().clone().requires_grad_(frozen != "x")
        layers = [linear(weight.to(dtype)).requires_grad_(frozen != "weights") for weight in weights]
        outs = multiply(own, *layers)
        torch.stack([out.double().square().sum() for out in outs]).sum().backward()
        return [*(out.detach() for out in outs), own.grad, *(layer.weight.grad for layer in layers)]

    expected = run(torch.float64, lambda x, *layers: [layer(x) for layer in layers])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = run(torch.float32, products)
    for mine, theirs in zip(ours, expected, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or near(mine, theirs)
    assert ours[0].dtype == torch.bfloat16
    exact = run(torch.float64, products)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(exact, expected, strict=True))


def test_products_call_other_layers_themselves():
    class Doubled(torch.nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    layer = Doubled(8, 4, bias=False)
    x = random(3, 8).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, _ = products(x, layer, linear(random(4, 8).float()))
        assert torch.equal(ours, layer(x))


def test_sums_keep_the_residual_type():
    x, change = random(3, 8).float(), random(3, 8).bfloat16()
    assert add(x, change).dtype == torch.float32
    assert torch.equal(add(x, change), x + change)
