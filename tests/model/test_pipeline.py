"""A model cut into stages: balanced, under its own names, and one after another the same model."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from shikomi.errors import RecipeError
from shikomi.model.attention import documents
from shikomi.model.config import ModelConfig
from shikomi.model.context import Context
from shikomi.model.pipeline import Answer, Asked, Question, cut, fill, plan_stages
from shikomi.model.transformer import Transformer, initialise

CONFIG = ModelConfig("qwen3", 61, 32, 5, 4, 2, 8, 48, 64)


def sizes(config: ModelConfig, stages: int) -> list[int]:
    plan = plan_stages(config, stages)
    assert [index for part in plan for index in part] == list(range(config.layers))
    return [len(part) for part in plan]


def test_stages_are_balanced_and_the_head_counts():
    small_head = dataclasses.replace(CONFIG, layers=8)
    assert sizes(small_head, 1) == [8]
    assert sizes(small_head, 2) == [4, 4]
    assert sizes(small_head, 8) == [1] * 8
    # Llama 3 8B: its head costs as much as 2.4 layers.
    llama = ModelConfig("llama", 128_256, 4096, 32, 32, 8, 128, 14_336, 8192)
    assert sizes(llama, 4) == [8, 9, 9, 6]
    for stages in range(2, 33):
        made = sizes(llama, stages)
        assert min(made) >= 1
        assert max(made[:-1]) - min(made[:-1]) <= 1
        assert made[-1] <= max(made[:-1])


def test_fewer_layers_than_stages_are_refused():
    with pytest.raises(RecipeError, match="5 layers cannot be cut into 6 pipeline stages") as caught:
        plan_stages(CONFIG, 6)
    assert caught.value.where == "site: training.mesh.pipeline"
    assert "at most 5 stages" in str(caught.value.hint)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_stages_one_after_another_are_the_model_under_its_own_names(tied, packed):
    config = dataclasses.replace(CONFIG, tie_embeddings=tied)
    whole = Transformer(config)
    initialise(whole, 1)
    random = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 61, (3, 16), generator=random)
    numbers = torch.randint(0, 2, (3, 16), generator=random).cumsum(1).int()
    inputs = (tokens, documents(numbers) if packed else None)
    expected = whole(*inputs)
    parts, names, hidden = plan_stages(config, 3), set(), torch.empty(1)
    for number in range(3):
        own = Transformer(config)
        initialise(own, 1)
        (stage,) = cut(own, parts, [number])
        stage.load([inputs])
        hidden = stage(hidden)
        held = dict(own.named_parameters())
        assert {id(p) for p in held.values()} == {id(p) for p in stage.parameters()}
        for name, parameter in held.items():
            assert torch.equal(parameter, dict(whole.named_parameters())[name])
        assert held.keys() == own.state_dict().keys()
        assert tied or not names & held.keys()
        names |= held.keys()
    assert names == dict(whole.named_parameters()).keys()
    assert torch.equal(hidden, expected)
    assert torch.equal(stage.head_weight, whole.head_weight)
    assert torch.equal(Answer(stage, hidden).head(hidden), whole.head(expected))


def test_a_question_is_caught_and_its_answer_is_cut_to_it():
    tokens = torch.zeros(2, 7, dtype=torch.int64)
    with pytest.raises(Asked) as caught:
        Question(CONFIG)(tokens)
    assert caught.value.inputs == (tokens, None)
    model = Transformer(CONFIG)
    stage = cut(model, [range(5)], [0])[0]
    assert Answer(stage, torch.zeros(4, 8, 32))(tokens).shape == (2, 7, 32)


def test_padding_leaves_what_was_asked_as_it_is():
    model = Transformer(CONFIG)
    initialise(model, 1)
    tokens = torch.randint(0, 61, (2, 8), generator=torch.Generator().manual_seed(0))
    numbers = torch.tensor([[0] * 5 + [1] * 3, [0] * 8]).int()
    longer = fill((tokens, None), 3, 12)
    assert longer[0].shape == (3, 12)
    assert torch.allclose(model(*longer)[:2, :8], model(tokens), atol=1e-6)
    more = fill((tokens, documents(numbers)), 4, 8)
    assert torch.allclose(model(*more)[:2], model(tokens, documents(numbers)), atol=1e-6)
    sight = fill((tokens, Context(0, 1, lambda local: local[None]).sight(numbers, 8)), 4, 8)[1]
    assert sight.late.mask.shape[0] == 4
