"""The chunked losses are the plain formulas, whatever the chunks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shikomi.model import linear_loss
from shikomi.model.linear_loss import cross_entropy_sum, log_probs

N, D, V = 70, 16, 50


@pytest.fixture(params=["one chunk", "many chunks"])
def chunks(request, monkeypatch):
    if request.param == "many chunks":
        monkeypatch.setattr(linear_loss, "CHUNK_POSITIONS", 7)
        monkeypatch.setattr(linear_loss, "CHUNK_ELEMENTS", {"cpu": 1})
        monkeypatch.setattr(linear_loss, "ROW_ELEMENTS", 3 * V)
        monkeypatch.setattr(linear_loss, "KEPT_BYTES", {"cpu": 3 * 7 * V * 8})
        monkeypatch.setattr(linear_loss, "_HEAD_ROWS", 20)
        monkeypatch.setattr(linear_loss, "COPIED_HEAD", {"cpu": 1})


def inputs(dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    hidden = (scale * torch.randn(N, D, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
    head = torch.randn(V, D, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    targets = torch.randint(0, V, (N,), generator=generator)
    weights = torch.rand(N, generator=generator)
    weights[::5] = 0
    return hidden, head, targets, weights


def plain_sum(hidden, head, targets, weights, z_loss):
    logits = hidden @ head.T
    normaliser = torch.logsumexp(logits, dim=-1)
    lost = F.cross_entropy(logits, targets, reduction="none") + z_loss * normaliser.square()
    return (lost * weights).sum()


def gradients(value, *leaves):
    return torch.autograd.grad(3 * value, leaves)


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_cross_entropy_and_its_gradients(chunks, z_loss):
    hidden, head, targets, weights = inputs()
    ours, without = cross_entropy_sum(hidden, head, targets, weights, z_loss)
    expected = plain_sum(hidden, head, targets, weights, z_loss)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)
    assert without.item() == pytest.approx(plain_sum(hidden, head, targets, weights, 0.0).item(), rel=1e-12)
    for mine, theirs in zip(gradients(ours, hidden, head), gradients(expected, hidden, head), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-12)


def test_log_probs_and_their_gradients(chunks):
    hidden, head, targets, weights = inputs()
    ours = log_probs(hidden, head, targets)
    expected = -F.cross_entropy(hidden @ head.T, targets, reduction="none")
    assert torch.allclose(ours, expected, atol=1e-12)
    mine, theirs = gradients((ours * weights).sum(), hidden, head), gradients((expected * weights).sum(), hidden, head)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(mine, theirs, strict=True))


def test_bfloat16_stays_near(chunks):
    hidden, head, targets, weights = inputs(torch.float32)
    expected = plain_sum(hidden, head, targets, weights, 0.01)
    theirs = gradients(expected, hidden, head)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, _ = cross_entropy_sum(hidden, head, targets, weights, 0.01)
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(expected.item(), rel=5e-3)
    for mine, wanted in zip(gradients(ours, hidden, head), theirs, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - wanted).norm() < 0.02 * wanted.norm()


def test_no_logit_is_too_large():
    hidden, head, targets, weights = inputs(torch.float32, scale=1000.0)
    ours, _ = cross_entropy_sum(hidden, head, targets, weights, 0.0)
    assert ours.item() == pytest.approx(plain_sum(hidden, head, targets, weights, 0.0).item(), rel=1e-5)
    assert torch.isfinite(log_probs(hidden, head, targets)).all()


def test_without_gradients_and_without_positions():
    hidden, head, targets, weights = inputs()
    with torch.no_grad():
        ours, _ = cross_entropy_sum(hidden, head, targets, weights, 0.0)
    assert ours.item() == pytest.approx(plain_sum(hidden, head, targets, weights, 0.0).item())
    assert log_probs(hidden[:0], head, targets[:0]).shape == (0,)
    nothing, _ = cross_entropy_sum(hidden[:0], head, targets[:0], weights[:0])
    assert nothing.item() == 0.0
    assert gradients(nothing, head)[0].abs().sum() == 0.0


def test_frozen_head_and_frozen_body():
    hidden, head, targets, weights = inputs()
    both = gradients(plain_sum(hidden, head, targets, weights, 0.0), hidden, head)
    only = cross_entropy_sum(hidden, head.detach(), targets, weights)[0]
    assert torch.allclose(gradients(only, hidden)[0], both[0])
    only = cross_entropy_sum(hidden.detach(), head, targets, weights)[0]
    assert torch.allclose(gradients(only, head)[0], both[1])
