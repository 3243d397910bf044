"""Adapters: nothing else is trained, merged is unmerged, and the files are those that PEFT reads."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from shikomi.errors import RecipeError
from shikomi.model import lora, weights
from shikomi.model.config import ModelConfig
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.lora import LoraPage
from shikomi.recipe.train import OptimPage
from shikomi.train.optim import Optimiser

CONFIG = ModelConfig("qwen2", 97, 32, 2, 4, 2, 8, 48, 64, qkv_bias=True)
PAGE = LoraPage(rank=4, alpha=8)


def base() -> Transformer:
    model = Transformer(CONFIG)
    initialise(model, 3)
    return model


def tuned(page: LoraPage = PAGE) -> Transformer:
    """A model whose adapters are away from zero."""
    model = base()
    lora.adapt(model, page, seed=5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in lora.adapters(model).values():
            module.lora_B.weight.copy_(0.1 * torch.randn(module.lora_B.weight.shape, generator=generator))
    return model


def logits(model: Transformer) -> torch.Tensor:
    tokens = torch.randint(0, 97, (2, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return model.head(model(tokens))


def test_fresh_adapters_change_nothing_and_are_the_same_for_a_seed():
    model = base()
    before = logits(model)
    lora.adapt(model, PAGE, seed=5)
    assert torch.equal(logits(model), before)
    again, other = base(), base()
    lora.adapt(again, PAGE, seed=5)
    lora.adapt(other, PAGE, seed=6)
    name = "model.layers.0.mlp.up_proj"
    drawn = [lora.adapters(m)[name].lora_A.weight for m in (model, again, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].abs().max() <= 32**-0.5
    assert len(lora.adapters(model)) == 14


def test_without_a_page_all_weights_are_trained():
    model = base()
    lora.adapt(model, None, seed=5)
    assert lora.adapters(model) == {}
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_an_optimiser_sees_adapters_alone(kind):
    model = tuned(LoraPage(rank=2, targets=["q_proj", "down_proj"]))
    optimiser = Optimiser(model, OptimPage(kind=kind))
    assert len(optimiser.parameters) == 2 * 2 * 2
    assert all(".lora_" in name for name in optimiser.parameters)
    state = sum(value.numel() for value in optimiser.state().values())
    assert state < sum(parameter.numel() for parameter in model.parameters()) / 4
    before = copy.deepcopy(model.state_dict())
    model.head(model(torch.arange(8)[None])).logsumexp(-1).sum().backward()
    optimiser.step(1.0)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(optimiser.parameters)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
def test_merged_is_unmerged(dtype, limit):
    model = tuned().to(dtype)
    unmerged, names = logits(model), set(dict(base().named_parameters()))
    assert (unmerged - logits(base().to(dtype))).abs().max() > 1e-3
    lora.merge(model)
    assert (logits(model) - unmerged).abs().max() <= limit * unmerged.abs().max()
    assert set(dict(model.named_parameters())) == names
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert type(model.model.layers[0].mlp.up_proj) is torch.nn.Linear


def test_the_adapter_is_in_the_form_of_peft_and_merges_by_its_formula(tmp_path: Path):
    page = LoraPage(rank=4, alpha=6, targets=["v_proj", "o_proj"])
    model = tuned(page)
    lora.save_adapter(model, tmp_path / "adapter", "a-base")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings == {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "a-base", "r": 4, "lora_alpha": 6,
        "lora_dropout": 0.0, "target_modules": ["o_proj", "v_proj"], "bias": "none", "use_rslora": False,
        "modules_to_save": None, "inference_mode": True,
    }  # fmt: skip
    tensors = weights.load_tensors(tmp_path / "adapter" / "adapter_model.safetensors")
    prefix = "base_model.model.model.layers"
    assert sorted(tensors) == sorted(
        f"{prefix}.{layer}.self_attn.{name}.lora_{part}.weight"
        for layer in range(2) for name in ("v_proj", "o_proj") for part in "AB"
    )  # fmt: skip
    plain = base().state_dict()
    lora.merge(model)
    for name, value in model.state_dict().items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{stem}.lora_A.weight" in tensors:
            product = tensors[f"{stem}.lora_B.weight"] @ tensors[f"{stem}.lora_A.weight"]
            assert torch.allclose(value, plain[name] + settings["lora_alpha"] / settings["r"] * product, atol=1e-7)
        else:
            assert torch.equal(value, plain[name])


def test_a_rank_that_is_not_low_is_refused():
    with pytest.raises(RecipeError, match=r"lora\.rank = 16 is not low") as told:
        lora.adapt(base(), LoraPage(rank=16), seed=1)
    assert told.value.hint.startswith("at most 15")
