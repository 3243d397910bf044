"""Memory by its formulas: what degrees divide, what settings save, and what is advised where it is too much."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shikomi.plan.layout import Degrees, Work, hold, memory, what_fits
from shikomi.plan.shape import Shape, of_page
from shikomi.recipe.dial import resolve
from shikomi.recipe.model import ModelPage

WORK = Work(rows=4, step_rows=1024, sequence_tokens=4096)


def shape(params: str = "1.3B", vocab_size: int = 65_536) -> Shape:
    return of_page(resolve(ModelPage.model_validate({"params": params}), vocab_size), vocab_size)


def test_one_rank_holds_all_and_each_weight_takes_sixteen_bytes_with_adamw():
    small = shape("100M")
    need = memory(small, replace(WORK, half=False))
    assert hold(small, WORK, Degrees()).all == small.parameters
    assert need.part("parameters") == need.part("gradients") == 4 * small.parameters
    assert need.part("optimiser") == 8 * small.parameters
    muon = memory(small, replace(WORK, optimiser="muon"))
    assert 4 * small.parameters < muon.part("optimiser") < 8 * small.parameters
    assert all(part.bytes > 0 and part.formula for part in need.parts)


@pytest.mark.parametrize("axis", ["shard", "tensor", "pipeline"])
def test_degrees_divide_what_they_share(axis: str):
    big = shape("13B")
    alone, shared = memory(big, WORK), memory(big, WORK, Degrees(**{axis: 4}))
    for name in ("parameters", "gradients", "optimiser"):
        assert shared.part(name) == pytest.approx(alone.part(name) / 4, rel=0.08)
    if axis == "tensor":
        assert shared.part("activations") == pytest.approx(alone.part("activations") / 4, rel=0.01)
        assert shared.part("head") == pytest.approx(alone.part("head") / 4, rel=0.01)
    if axis == "shard":
        assert shared.part("activations") == alone.part("activations")
    if axis == "pipeline":
        # Four stages hold a fourth of the layers each, with four micro-batches under way.
        assert shared.part("activations") == alone.part("activations")


def test_copies_save_nothing_and_sharing_sequences_saves_activations():
    big = shape("13B")
    assert memory(big, WORK, Degrees(replicate=8, shard=4)).parts == memory(big, WORK, Degrees(shard=4)).parts
    assert memory(big, WORK, Degrees(context=4)).part("activations") < memory(big, WORK).part("activations") / 2


def test_recomputation_and_adapters_save_what_they_say():
    model = shape()
    full, again = memory(model, WORK), memory(model, replace(WORK, recompute=True))
    assert again.part("activations") < full.part("activations") / 5
    thin = memory(model, replace(WORK, lora_rank=16, lora_targets=("q_proj", "down_proj")))
    assert thin.part("optimiser") == 2 * thin.part("gradients") < full.part("optimiser") / 50
    assert thin.part("parameters") > full.part("parameters")


def test_a_hundred_billion_parameters_on_512_and_1024_ranks():
    big = shape("100B", 131_072)
    for degrees in (Degrees(shard=64, tensor=8), Degrees(shard=128, tensor=8)):
        need = memory(big, replace(WORK, rows=1), degrees)
        states = need.part("parameters") + need.part("gradients") + need.part("optimiser")
        assert states == pytest.approx(16 * big.parameters / degrees.ranks, rel=0.001)
        assert need.peak < 80e9


def test_what_fits_is_the_mildest_change_of_each_kind_and_does_fit():
    model = shape()
    need = memory(model, WORK).peak
    limit = int(need * 0.8)
    found = {fit.key: fit for fit in what_fits(model, WORK, Degrees(), limit, "pretrain", scratch=True)}
    assert found["pretrain.micro_batch_sequences"].value in (1, 2)
    assert found["training.recompute"].value is True
    assert found["training.mesh.shard"].value >= 2
    assert found["model.params"].value.endswith(("M", "B"))
    assert all(fit.bytes <= limit for fit in found.values())
    assert what_fits(shape("100B"), WORK, Degrees(), 1_000_000, "sft") == []
    assert {fit.key for fit in what_fits(model, WORK, Degrees(), limit, "dpo")} >= {"dpo.micro_batch_pairs"}
