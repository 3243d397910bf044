"""A decoder's parameters and FLOPs, counted without loading any library."""

from __future__ import annotations

from typing import Any

import pytest

from shikomi.errors import DataError
from shikomi.plan.shape import of_config, of_page
from shikomi.recipe.model import ModelPage

PAGES = (
    ModelPage(),
    ModelPage(tie_embeddings=False),
    ModelPage(layout="llama", hidden_size=96, layers=3, heads=4, kv_heads=4, head_dim=16, intermediate_size=200),
    ModelPage(hidden_size=64, layers=1, heads=8, kv_heads=1, head_dim=24, intermediate_size=80),
)
CONFIG: dict[str, Any] = {
    "model_type": "qwen3", "vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "max_position_embeddings": 256,
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("vocab_size", [300, 4096])
def test_counts_are_those_of_the_model(page: ModelPage, vocab_size: int):
    from shikomi.model.config import from_page

    shape, config = of_page(page, vocab_size), from_page(page, vocab_size)
    assert shape.parameters == config.parameters
    assert shape.matmul_parameters == config.matmul_parameters
    for length in (16, 128, 4096):
        assert shape.training_flops(length) == config.flops_per_token(length)
        assert shape.forward_flops(length) == pytest.approx(config.flops_per_token(length) / 3)


@pytest.mark.parametrize("page", PAGES[:3])
def test_parameters_are_those_that_a_built_model_has(page: ModelPage):
    from shikomi.model.config import from_page
    from shikomi.model.transformer import Transformer

    built = Transformer(from_page(page, 300))
    assert sum(value.numel() for value in built.parameters()) == of_page(page, 300).parameters


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"model_type": "llama"},
        {"tie_word_embeddings": True},
        {"num_key_value_heads": None},
        {"model_type": "llama", "head_dim": None, "hidden_size": 64},
    ],
)
def test_a_base_is_counted_as_the_model_reads_it(changed: dict[str, Any]):
    from shikomi.model.config_json import from_hugging_face

    raw = CONFIG | changed
    shape, config = of_config(raw, "config.json"), from_hugging_face(raw, "config.json")
    assert shape.parameters == config.parameters
    assert shape.training_flops(64) == config.flops_per_token(64)


@pytest.mark.parametrize("changed", [{"vocab_size": None}, {"hidden_size": "wide"}, {"num_attention_heads": 0}])
def test_a_base_whose_config_makes_no_sense(changed: dict[str, Any]):
    raw = {name: value for name, value in (CONFIG | {"head_dim": None} | changed).items() if value is not None}
    with pytest.raises(DataError) as caught:
        of_config(raw, "base/config.json")
    assert caught.value.where == "base/config.json"


@pytest.mark.parametrize("page", PAGES[2:])
def test_an_update_by_muon_takes_the_flops_that_are_counted(page: ModelPage):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from shikomi.model.config import from_page
    from shikomi.model.transformer import Transformer
    from shikomi.recipe.train import OptimPage
    from shikomi.train.optim import Optimiser

    model = Transformer(from_page(page, 300))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimiser = Optimiser(model, OptimPage(kind="muon"))
    with FlopCounterMode(display=False) as counter:
        optimiser.step(1.0)
    assert counter.get_total_flops() == of_page(page, 300).muon_flops
