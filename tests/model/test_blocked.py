"""Blocked attention is causal attention, in its value and its gradients, at any length."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shikomi.model import blocked
from shikomi.model.attention import attend


def inputs(tokens: int, dtype: torch.dtype):
    generator = torch.Generator().manual_seed(tokens)
    return [torch.randn(2, tokens, 3, 8, generator=generator, dtype=torch.float64).to(dtype) for _ in range(4)]


def with_gradients(attention, dtype, tokens):
    *parts, weight = inputs(tokens, dtype)
    leaves = [part.transpose(1, 2).requires_grad_() for part in parts]
    out = attention(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, weight.transpose(1, 2))]


def plain(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


@pytest.mark.parametrize("kept", [0, 1024])
@pytest.mark.parametrize("tokens", [1, 5, 16, 37])
def test_exact_where_arithmetic_is(monkeypatch, tokens, kept):
    monkeypatch.setattr(blocked, "BLOCK", 8)
    monkeypatch.setattr(blocked, "TILE_ELEMENTS", 4 * 8 * tokens)
    monkeypatch.setattr(blocked, "KEPT_TOKENS", kept)
    ours = with_gradients(blocked.causal_attention, torch.float64, tokens)
    for mine, theirs in zip(ours, with_gradients(plain, torch.float64, tokens), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)  # sums of keys and values are made in float32


def test_bfloat16_is_as_near_as_the_library(monkeypatch):
    exact = with_gradients(plain, torch.float64, 160)
    ours = with_gradients(attend_all, torch.bfloat16, 160)
    for mine, wanted in zip(ours, exact, strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.double() - wanted).norm() < 0.015 * wanted.norm()


def attend_all(query, key, value):
    return attend(query, key, value, None)


def test_no_position_sees_what_follows():
    *parts, _ = inputs(140, torch.bfloat16)
    query, key, value = (part.transpose(1, 2) for part in parts)
    before = blocked.causal_attention(query, key, value)
    key, value = key.clone(), value.clone()
    key[:, :, 130:], value[:, :, 130:] = 9.0, 9.0
    after = blocked.causal_attention(query, key, value)
    assert torch.equal(before[:, :, :130], after[:, :, :130])
    assert not torch.equal(before[:, :, 130:], after[:, :, 130:])
