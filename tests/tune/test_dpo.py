"""DPO: the formula, its reference, and what it does to a model."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from shikomi.model.config import ModelConfig
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.recipe.tune import DpoPage
from shikomi.train.loop import FitSpec, fit
from shikomi.tune.dpo import DpoObjective, PairBatches, Side, answer_log_probs, pad_sides, reference_log_probs

CONFIG = ModelConfig("qwen3", 64, 32, 2, 4, 2, 8, 48, 64)


def model() -> Transformer:
    made = Transformer(CONFIG)
    initialise(made, 4)
    return made


def pairs(count: int = 12) -> list[tuple[Side, Side]]:
    made = []
    for n in range(count):
        prompt = [2 + (n * 7 + k) % 50 for k in range(3 + n % 4)]
        made.append(
            (
                Side([*prompt, 55, 56, 1], [0] * len(prompt) + [1, 1, 1]),
                Side([*prompt, 57, 1], [0] * len(prompt) + [1, 1]),
            )
        )
    return made


def test_answer_log_probs_are_the_sums_of_single_rows():
    made = model()
    sides = [side for pair in pairs(4) for side in pair]
    together = answer_log_probs(made, *pad_sides(sides, 0))
    for side, value in zip(sides, together, strict=True):
        scores = F.log_softmax(made.head(made(torch.tensor([side.ids[:-1]]))), -1)[0]
        expected = sum(scores[k - 1, side.ids[k]] for k in range(1, len(side.ids)) if side.mask[k])
        assert value.item() == pytest.approx(expected.item(), rel=1e-4)


def test_first_loss_is_ln_2_and_gradients_follow_the_formula():
    made = model()
    page = DpoPage(pairs=12, batch_pairs=12, micro_batch_pairs=12)
    reference = reference_log_probs(copy.deepcopy(made), pairs(), 0, 5)
    batch = PairBatches(pairs(), reference, page, 0).step(0)[0]
    made.train()
    loss, logged = DpoObjective(0.1).loss(made, batch)
    assert loss.item() / 12 == pytest.approx(math.log(2), abs=1e-4)
    assert abs(logged["margin"]) < 1e-2
    loss.backward()
    got = made.model.norm.weight.grad.clone()
    made.zero_grad()
    sums = answer_log_probs(made, batch.tokens, batch.targets, batch.answers)
    # At the reference, d(-log σ(βD)) = -β/2 · dD.
    (-0.05 * (sums[:12].sum() - sums[12:].sum())).backward()
    assert torch.allclose(got, made.model.norm.weight.grad, atol=1e-5)


def test_micro_batches_of_pairs_agree_and_the_preference_is_learned(tmp_path):
    curves, exact = [], TrainingSite(precision="float32")
    for micro in (8, 3):
        made = model()
        page = DpoPage(pairs=64, batch_pairs=8, micro_batch_pairs=micro, optim=OptimPage(kind="adamw", rate=0.002))
        reference = reference_log_probs(copy.deepcopy(made), pairs(), 0, 8)
        batches = PairBatches(pairs(), reference, page, 0)
        fit(made, DpoObjective(page.beta), batches, FitSpec(8, page.optim, 100), tmp_path / str(micro), site=exact)
        batch = batches.step(0)[0]
        _, logged = DpoObjective(page.beta).loss(made, batch)
        assert logged["accuracy"] == len(batch.tokens) / 2
        curves.append((tmp_path / str(micro) / "metrics.jsonl").read_text())
    first, second = ([float(line.split('"loss": ')[1].split(",")[0]) for line in c.splitlines()] for c in curves)
    assert first == pytest.approx(second, rel=1e-4)
    assert first[-1] < first[0]


def test_every_pair_comes_once_a_pass():
    page = DpoPage(pairs=24, batch_pairs=5)
    batches = PairBatches(pairs(), torch.zeros(2, 12), page, 0)
    assert sorted(batches.index(place) for place in range(12)) == list(range(12))
    assert [batches.index(p) for p in range(12)] != [batches.index(p) for p in range(12, 24)]
    assert [int(batches.step(s)[0].weight) for s in range(5)] == [5, 5, 5, 5, 4]


def test_chosen_nll_pulls_the_chosen_answer_up():
    made = model()
    page = DpoPage(pairs=12, batch_pairs=12)
    reference = reference_log_probs(copy.deepcopy(made), pairs(), 0, 8)
    batch = PairBatches(pairs(), reference, page, 0).step(0)[0]
    plain, logged = DpoObjective(0.1).loss(made, batch)
    with_nll, _ = DpoObjective(0.1, chosen_nll=0.5).loss(made, batch)
    assert with_nll.item() - plain.item() == pytest.approx(-0.5 * logged["chosen_logp"] / 3, rel=1e-4)


def test_the_reference_is_computed_as_the_policy_is_in_bfloat16_too():
    made = model()
    reference = reference_log_probs(made, pairs(), 0, 12, "bfloat16")
    sides = [pair[0] for pair in pairs()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        policy = answer_log_probs(made, *pad_sides(sides, 0))
    assert policy.requires_grad
    assert torch.allclose(policy.detach(), reference[0], atol=1e-4)
