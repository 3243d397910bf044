"""Sequences shared by ranks: pieces come back in order, and attention over them is attention over the whole."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shikomi.errors import RecipeError
from shikomi.model.config import ModelConfig
from shikomi.model.context import Context, WholeSequences, check_sequences, share_sequences
from shikomi.model.transformer import Transformer, initialise

CONFIG = ModelConfig("qwen3", 64, 32, 2, 4, 2, 8, 48, 64)


def alone(rank: int, ranks: int, wholes: torch.Tensor | None = None) -> Context:
    """A context whose other ranks are played here: what they hold is cut from ``wholes`` along its dimension 3."""

    def gather(local: torch.Tensor) -> torch.Tensor:
        assert wholes is not None
        return torch.stack([alone(other, ranks).cut(wholes, 3) for other in range(ranks)])

    return Context(rank, ranks, gather)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_pieces_are_balanced_and_come_back_in_order(ranks):
    whole = torch.arange(2 * 12 * 3).view(2, 12, 3)
    parts = [alone(rank, ranks).cut(whole) for rank in range(ranks)]
    for rank, part in enumerate(parts):
        context = alone(rank, ranks)
        assert torch.equal(part, whole[:, context.positions(part.shape[1], whole.device)])
        assert sum(context.pieces) == 2 * ranks - 1
    joined = Context(0, ranks, lambda local: torch.stack(parts)).join(parts[0])
    assert torch.equal(joined, whole)


def documents(rows: int, tokens: int) -> torch.Tensor:
    ends = torch.rand(rows, tokens, generator=torch.Generator().manual_seed(5)) < 0.15
    return ends.cumsum(1).int()


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("window", [0, 5, 20])
def test_attention_of_all_ranks_is_attention_over_the_whole(ranks, packed, window):
    random = torch.Generator().manual_seed(3)
    shapes = ((2, 4, 32, 8), (2, 2, 32, 8), (2, 2, 32, 8))
    query, key, value = (
        torch.randn(shape, generator=random, dtype=torch.float64, requires_grad=True) for shape in shapes
    )
    mask = torch.ones(32, 32, dtype=torch.bool).tril().expand(2, 1, 32, 32)
    numbers = documents(2, 32) if packed else None
    if window:
        mask = mask & ~torch.ones(32, 32, dtype=torch.bool).tril(-window)
    if numbers is not None:
        mask = mask & (numbers[:, :, None] == numbers[:, None, :])[:, None]
    grouped = [part.repeat_interleave(2, dim=1) for part in (key, value)]
    expected = F.scaled_dot_product_attention(query, *grouped, attn_mask=mask)
    scale = torch.randn(expected.shape, generator=random, dtype=torch.float64)
    wanted = torch.autograd.grad((expected * scale).sum(), (query, key, value))
    total = torch.zeros((), dtype=torch.float64)
    for rank in range(ranks):
        context = alone(rank, ranks, torch.stack((key, value)))
        parts = [context.cut(part, 2) for part in (query, key, value)]
        out = context.attend(*parts, context.sight(numbers, 32) if packed else None, window)
        assert torch.allclose(out, context.cut(expected, 2), atol=1e-12)
        total = total + (out * context.cut(scale, 2)).sum()
    for got, want in zip(torch.autograd.grad(total, (query, key, value)), wanted, strict=True):
        assert torch.allclose(got, want, atol=1e-12)


def test_no_mask_is_made_where_documents_need_none():
    one = torch.zeros(2, 32, dtype=torch.int32)
    assert alone(1, 2).sight(one, 32).late.mask is None
    two = torch.cat((one[:, :24], one[:, 24:] + 1), dim=1)
    sight = alone(0, 2).sight(two, 32)
    assert (sight.early.start, sight.early.end, sight.early.mask) == (0, 8, None)
    # The last piece is the second document alone: earlier keys are not even looked at.
    assert (sight.late.start, sight.late.end, sight.late.mask) == (24, 32, None)
    crossing = torch.cat((one[:, :20], one[:, 20:] + 1), dim=1)
    late = alone(0, 2).sight(crossing, 32).late
    assert (late.start, late.end, late.mask) == (20, 32, None)
    middle = alone(1, 2).sight(crossing, 32).late
    assert middle.mask is not None
    assert middle.mask.shape == (2, 1, 8, 24)


def test_whole_sequences_are_padded_cut_and_joined():
    model = Transformer(CONFIG)
    initialise(model, 1)
    tokens = torch.randint(0, 64, (3, 13), generator=torch.Generator().manual_seed(0))
    expected = model(tokens)
    shared = Transformer(CONFIG)
    initialise(shared, 1)
    context = Context(0, 1, lambda local: local[None])
    share_sequences(shared, context)
    assert torch.allclose(WholeSequences(shared, context)(tokens), expected, atol=1e-6)


def test_sequences_that_do_not_cut_are_refused():
    check_sequences(32, 4)
    check_sequences(33, 1)
    with pytest.raises(RecipeError, match="12 tokens do not cut into 8 equal pieces") as caught:
        check_sequences(12, 4)
    assert caught.value.where == "site: training.mesh.context"
    assert "multiple of 8" in str(caught.value.hint)
