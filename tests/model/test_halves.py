"""Products in bfloat16: a processor without them widens, and gets what one with them gets, to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shikomi.model import halves, linear_loss
from shikomi.model.attention import attend, documents
from shikomi.model.config import ModelConfig
from shikomi.model.halves import multiply, operand
from shikomi.model.kernels import product, products
from shikomi.model.transformer import Transformer, initialise


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """How far apart, over the size of what is expected."""
    return float((found.double() - expected.double()).norm().detach() / expected.double().norm().detach())


@pytest.fixture(params=[False, True], ids=["widened", "own products"])
def either_way(request, monkeypatch) -> bool:
    monkeypatch.setattr(halves, "HALF_PRODUCTS", request.param)
    return request.param


def test_a_widened_product_is_the_exact_one_rounded_once(monkeypatch):
    monkeypatch.setattr(halves, "HALF_PRODUCTS", False)
    left, right = drawn(40, 64).bfloat16(), drawn(64, 24, seed=1).bfloat16()
    exact = left.double() @ right.double()
    found = multiply(left, right)
    assert found.dtype is torch.bfloat16
    assert torch.all((found.double() - exact).abs() <= 2.0**-8 * exact.abs() + 1e-5)
    assert multiply(operand(left), operand(right)).dtype is torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):  # which would make float32 operands bfloat16 again
        assert torch.equal(multiply(left, right), found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_types_are_multiplied_as_ever(either_way, dtype):
    left, right = drawn(8, 16).to(dtype), drawn(16, 4, seed=1).to(dtype)
    assert torch.equal(multiply(left, right), left @ right)
    assert operand(left) is left


@pytest.mark.parametrize("bias", [False, True])
def test_layers_give_what_float32_gives_to_rounding(either_way, bias):
    layers = [nn.Linear(32, out, bias=bias) for out in (24, 8)]
    x = drawn(3, 5, 32).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [*products(x, *layers), product(x, layers[0])]
    assert all(part.dtype is torch.bfloat16 for part in found)
    for part, layer in zip(found, [*layers, layers[0]], strict=True):
        assert distance(part, layer(x)) < 0.01
    grads = torch.autograd.grad(sum(part.float().square().sum() for part in found), [x, *layers[0].parameters()])
    whole = sum(layer(x).square().sum() for layer in [*layers, layers[0]])
    for grad, exact in zip(grads, torch.autograd.grad(whole, [x, *layers[0].parameters()]), strict=True):
        assert distance(grad, exact) < 0.02


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("head_dim", [32, 80])
def test_attention_is_that_of_float32_to_rounding(either_way, packed, head_dim):
    query, key, value = (drawn(2, 4, 220, head_dim, seed=seed).bfloat16() for seed in range(3))
    numbers = torch.zeros(2, 220, dtype=torch.int32)
    numbers[:, 15:] = 1
    seen = documents(numbers) if packed else None
    query.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attend(query, key, value, seen)
    assert found.dtype is torch.bfloat16
    exact = attend(query.float(), key.float(), value.float(), seen)
    assert distance(found, exact) < 0.01
    (grad,), (expected,) = (torch.autograd.grad(out.float().square().sum(), query) for out in (found, exact))
    assert distance(grad, expected) < 0.02


def test_attention_in_float32_stays_so_under_autocast(monkeypatch):
    """Autocast would hand bfloat16 to PyTorch's attention, whose backward pass is ten times slower without products."""
    asked = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def spy(query, *others, **named):
        asked.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return plain(query, *others, **named)

    monkeypatch.setattr(halves, "HALF_PRODUCTS", False)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    query = drawn(1, 2, 20, 16).bfloat16()
    numbers = torch.tensor([[0] * 5 + [1] * 15], dtype=torch.int32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attend(query, query, query, None)
        attend(query, query, query, documents(numbers))
    assert asked == [(torch.float32, False)] * 3


def test_a_model_learns_the_same_both_ways(monkeypatch):
    config = ModelConfig("qwen3", 90, 32, 2, 4, 2, 8, 48, 64)
    tokens = torch.randint(0, 90, (2, 21), generator=torch.Generator().manual_seed(3))
    found = []
    for own in (False, True):
        monkeypatch.setattr(halves, "HALF_PRODUCTS", own)
        model = Transformer(config)
        initialise(model, 1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model(tokens[:, :-1]).flatten(0, 1)
            loss, _ = linear_loss.cross_entropy_sum(
                hidden, model.head_weight, tokens[:, 1:].flatten(), torch.ones(hidden.shape[0])
            )
        loss.backward()
        found.append((loss.detach(), {name: each.grad for name, each in model.named_parameters()}))
    (loss, grads), (other, others) = found
    assert distance(loss, other) < 1e-3
    for name, grad in grads.items():
        assert distance(grad, others[name]) < 0.03, name
