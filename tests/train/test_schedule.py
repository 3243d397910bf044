"""Schedules are pure functions of tokens seen, and those that others have too are theirs, number for number."""

from __future__ import annotations

import itertools

import pytest
import torch

from shikomi.recipe.train import OptimPage
from shikomi.train.schedule import rate_factor


def factors(steps: int = 100, **fields) -> list[float]:
    page = OptimPage(**fields)
    return [rate_factor(step, steps, page) for step in range(steps)]


def test_wsd_warms_up_holds_and_decays_to_its_floor():
    found = factors(warmup_share=0.1, decay_share=0.5, final_rate=0.05)
    assert found[0] == pytest.approx(0.1)
    assert found[10:49] == [1.0] * 39
    assert all(a >= b for a, b in itertools.pairwise(found[50:]))
    assert 0.05 <= found[-1] <= 0.08


def test_the_square_root_decay_falls_fast_at_first_and_ends_at_the_same_floor():
    linear = factors(warmup_share=0.0, decay_share=0.4, final_rate=0.0)
    root = factors(warmup_share=0.0, decay_share=0.4, final_rate=0.0, decay="sqrt")
    assert root[:60] == linear[:60] == [1.0] * 60
    for step in range(61, 100):
        assert root[step] == pytest.approx(1 - ((step - 60) / 40) ** 0.5)
        assert root[step] < linear[step]


def test_constant_stays_after_its_warm_up():
    found = factors(schedule="constant", warmup_share=0.2)
    assert found[9] == pytest.approx(0.5)
    assert found[19:] == [1.0] * 81


def test_cosine_is_that_of_torch():
    ours = factors(schedule="cosine", warmup_share=0.0, final_rate=0.1)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=100, eta_min=0.1)
    for factor in ours:
        assert factor == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-9)
        optimiser.step()
        theirs.step()


def test_cosine_after_its_warm_up_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    ours = factors(schedule="cosine", warmup_share=0.1, final_rate=0.0)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = transformers.get_cosine_schedule_with_warmup(optimiser, num_warmup_steps=10, num_training_steps=100)
    for step, factor in enumerate(ours):
        # Theirs spends its first step on a rate of 0; in the warm-up ours is one step ahead.
        if step >= 10:
            assert factor == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        theirs.step()


@pytest.mark.parametrize("schedule", ["wsd", "cosine", "constant"])
def test_tokens_and_steps_tell_the_same_and_another_batch_only_samples_the_curve_elsewhere(schedule):
    page = OptimPage(schedule=schedule, warmup_share=0.1)
    for step in range(50):
        by_step = rate_factor(step, 50, page)
        assert rate_factor(step * 4096, 50 * 4096, page, 4096) == pytest.approx(by_step, abs=1e-12)
    fine = [rate_factor(step, 1000, page) for step in range(1000)]
    assert fine[600] == pytest.approx(rate_factor(60, 100, page), abs=0.02)


def test_a_run_of_no_or_one_step_has_a_rate():
    assert 0 < rate_factor(0, 1, OptimPage()) <= 1
    assert 0 <= rate_factor(0, 0, OptimPage(schedule="cosine")) <= 1
