"""Placements of large meshes on meta tensors: what the first rank holds is what division says, and a little more."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from shikomi.errors import RecipeError
from shikomi.model.config import ModelConfig, from_page
from shikomi.plan.layout import Degrees, Work, hold
from shikomi.recipe.dial import resolve
from shikomi.recipe.model import ModelPage
from shikomi.train.memory import shape_of
from shikomi.train.placement import held_of

BIG = from_page(resolve(ModelPage.model_validate({"params": "100B"}), 131_072), 131_072)
LAYOUTS = [
    Degrees(),
    Degrees(shard=512),
    Degrees(shard=64, tensor=8),
    Degrees(shard=128, tensor=8),
    Degrees(replicate=4, shard=16, tensor=8, pipeline=2),
    Degrees(shard=64, context=2, tensor=4),
]


@pytest.mark.parametrize("degrees", LAYOUTS, ids=lambda degrees: "-".join(map(str, vars(degrees).values())))
def test_a_hundred_billion_parameters_are_placed(degrees: Degrees):
    held, divided = held_of(BIG, degrees), hold(shape_of(BIG), Work(1, 1, 4096), degrees)
    # The first rank holds what is left over where rows do not divide.
    assert divided.matrices <= held.matrices <= 1.02 * divided.matrices
    assert 0.999 * divided.others <= held.others <= 1.01 * divided.others
    if degrees.ranks == 1:
        assert held.all == BIG.parameters
    assert not dist.is_initialized()


def test_all_ranks_together_hold_the_model():
    config = ModelConfig("qwen2", 512, 64, 4, 4, 4, 16, 128, 64, qkv_bias=True, tie_embeddings=False)
    assert held_of(config, Degrees(shard=4)).all * 4 == config.parameters
    assert held_of(config, Degrees(replicate=2, shard=4)).all * 4 == config.parameters


def test_heads_that_ranks_cannot_share_are_told():
    with pytest.raises(RecipeError, match="cannot be shared by 3 ranks"):
        held_of(ModelConfig("llama", 512, 64, 2, 4, 2, 16, 128, 64), Degrees(tensor=3))
    assert not dist.is_initialized()
