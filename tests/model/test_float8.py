"""Products in float8: near the exact ones, gradients too; refused where the hardware has none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shikomi.errors import MachineError
from shikomi.model.float8 import check_float8, linear8, use_float8


def near(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.detach().float() - exact).norm() / exact.norm())


@pytest.mark.parametrize("positions", [32, 21])
def test_products_and_gradients_are_those_of_float32_to_three_bits(positions):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, positions, 64, generator=generator).requires_grad_()
    weight = (torch.randn(48, 64, generator=generator) * 0.02).requires_grad_()
    upstream = torch.randn(2, positions, 48, generator=generator)
    out = linear8(x, weight)
    assert out.shape == (2, positions, 48)
    out.backward(upstream.to(out.dtype))
    found = x.grad, weight.grad
    x.grad = weight.grad = None
    exact = x @ weight.T
    exact.backward(upstream)
    # e4m3 keeps 3 bits after the leading one, e5m2 two: errors of 2^-4 and 2^-3 at most, averaged over sums.
    assert near(out, exact.detach()) < 0.05
    assert near(found[0], x.grad) < 0.1
    assert near(found[1], weight.grad) < 0.1


def test_linear_maps_whose_sides_are_no_multiples_stay_as_they_are():
    module = nn.Sequential(nn.Linear(32, 48), nn.Linear(48, 20))
    x = torch.randn(16, 32, generator=torch.Generator().manual_seed(1))
    exact = module[0](x).detach()
    assert use_float8(module) == 1
    assert 0 < near(module[0](x).detach(), exact) < 0.05
    assert torch.equal(module[1](exact), exact @ module[1].weight.T + module[1].bias)


def test_a_cpu_is_refused_in_three_lines():
    with pytest.raises(MachineError, match=r'precision = "float8" needs a GPU of compute capability 8.9') as caught:
        check_float8(torch.device("cpu"))
    assert caught.value.where == "site: training.precision"
    assert "bfloat16" in caught.value.hint
