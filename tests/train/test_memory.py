"""Memory before the first step: what is kept is what is counted, and too much is refused in three lines."""

from __future__ import annotations

import pytest
import torch

from shikomi.errors import MachineError, RecipeError
from shikomi.model.config import ModelConfig, from_page
from shikomi.model.linear_loss import CHUNK_ELEMENTS, CHUNK_POSITIONS
from shikomi.model.lora import adapt
from shikomi.model.transformer import Transformer, initialise
from shikomi.plan import layout
from shikomi.plan.layout import Degrees, Work, hold, memory
from shikomi.recipe.lora import LoraPage
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.model import ModelPage
from shikomi.recipe.train import OptimPage
from shikomi.train.memory import check_memory, degrees_of, rank_memory, shape_of

SHAPES = [
    ModelConfig("qwen3", 512, 64, 3, 4, 2, 32, 192, 64),
    ModelConfig("llama", 512, 96, 3, 3, 3, 32, 256, 64, tie_embeddings=False),
    ModelConfig("qwen2", 512, 64, 3, 8, 2, 16, 128, 64, qkv_bias=True),
]


def kept_bytes(config: ModelConfig, layers: int, half: bool) -> int:
    """Bytes of distinct storages that a model of so many layers keeps for its backward pass, weights left out."""
    from dataclasses import replace

    model = Transformer(replace(config, layers=layers))
    initialise(model, 1)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    seen: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        model(torch.arange(4 * 64).remainder(512).view(4, 64))
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("half", [False, True])
def test_what_a_layer_keeps_is_what_is_counted(config: ModelConfig, half: bool):
    work = Work(rows=4, step_rows=4, sequence_tokens=64, half=half, device="cpu")
    need = memory(shape_of(config), work)
    counted = (need.part("activations") + need.part("gathered")) / config.layers
    measured = kept_bytes(config, 3, half) - kept_bytes(config, 2, half)
    assert counted == pytest.approx(measured, rel=0.03 if not half else 0.25)


def test_numbers_that_two_rooms_know_are_the_same():
    assert layout.CHUNK_POSITIONS == CHUNK_POSITIONS
    assert layout.CHUNK_ELEMENTS == CHUNK_ELEMENTS


@pytest.mark.parametrize("config", SHAPES)
def test_elements_held_are_those_of_the_model(config: ModelConfig):
    model, page = Transformer(config), LoraPage(rank=4, targets=["q_proj", "down_proj"])
    work = Work(1, 1, 64, lora_rank=4, lora_targets=page.targets)
    held = hold(shape_of(config), work, Degrees())
    assert held.matrices + held.others == sum(p.numel() for p in model.parameters())
    adapt(model, page, 1)
    assert held.adapters == sum(p.numel() for p in model.parameters() if p.requires_grad)


def check(limit: int, *, recompute: bool = False) -> None:
    site = TrainingSite(precision="float32", recompute=recompute)
    config = from_page(ModelPage(hidden_size=256, heads=4, kv_heads=2, head_dim=64, intermediate_size=768), 4096)
    check_memory(
        config, "pretrain", OptimPage(), site, rows=16, step_rows=64, sequence_tokens=256, scratch=True, limit=limit,
    )  # fmt: skip


def test_a_stage_larger_than_memory_is_refused_with_what_would_fit():
    with pytest.raises(MachineError) as told:
        check(limit=330_000_000)
    assert "larger than this machine's memory" in told.value.what
    assert all(name in told.value.what for name in ("parameters", "gradients", "optimiser", "activations"))
    assert "16 rows of 256 tokens" in told.value.where
    for way in ("pretrain.micro_batch_sequences = ", "training.recompute", "model.params", "training.mesh.shard = "):
        assert way in told.value.hint
    with pytest.raises(MachineError) as told:
        check(limit=1_000_000)
    assert "no single change fits" in told.value.hint


def test_what_is_advised_is_taken():
    check(limit=1_000_000_000)
    with pytest.raises(MachineError):
        check(limit=330_000_000)
    check(limit=330_000_000, recompute=True)


def test_adapters_are_not_shared_by_tensor_ranks():
    site = TrainingSite(mesh=MeshPage(tensor=2))
    config = from_page(ModelPage(), 4096)
    with pytest.raises(RecipeError, match=r"sft\.lora cannot be trained where 2 tensor ranks"):
        check_memory(config, "sft", OptimPage(), site, rows=1, step_rows=2, sequence_tokens=64, lora=LoraPage())


def test_a_tiny_model_is_never_refused_here():
    config = from_page(ModelPage(), 4096)
    check_memory(config, "pretrain", OptimPage(), TrainingSite(), rows=16, step_rows=16, sequence_tokens=256)
    assert rank_memory(torch.device("cpu")) > 100_000_000


def test_ranks_of_a_mesh():
    assert degrees_of(MeshPage(tensor=2), 8) == Degrees(shard=4, tensor=2)
    assert degrees_of(MeshPage(replicate=2, shard=2, pipeline=2), 8).ranks == 8
