"""Sequences shared by ranks: the curve is that of one process, documents packed across pieces included."""

from __future__ import annotations

import pytest

from tests.laws import shares
from tests.laws.test_layouts import alone, compare, curves, differ, length

LAYOUTS = {"context-2": (2, {"context": 2}), "context-2-fsdp-2": (4, {"context": 2, "shard": 2})}


@curves(LAYOUTS)
def test_shared_sequences_give_the_curve_of_one_process(layout, kind, double, crews):
    ranks, mesh = LAYOUTS[layout]
    arguments, limits = length(double)
    run = crews(ranks).run("tests.laws.layouts:train", mesh=mesh, kind=kind, **arguments)[0]
    compare(alone(kind=kind, **arguments), run, limits)


def test_recomputation_gathers_again_in_step(crews):
    run = crews(2).run("tests.laws.layouts:train", mesh={"context": 2}, steps=10, site={"recompute": True})[0]
    assert differ(alone(steps=10), run) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [{"context": 2}, {"pipeline": 2}])
def test_compiled_layers_go_with_either_degree(mesh, crews, tmp_path):
    run = crews(2).run("tests.laws.layouts:train", mesh=mesh, steps=3, site={"compile": True}, folder=str(tmp_path))[0]
    assert differ(alone(steps=3), run) <= 1e-4


@pytest.mark.parametrize(("ranks", "mesh"), [(2, {"context": 2}), (4, {"context": 2, "tensor": 2})])
def test_preferences_are_tuned_alike_with_each_sequence_whole(ranks, mesh, crews):
    steps = 20 // ranks
    plain = {"rows": shares.prefer(steps=steps)}
    run = {"rows": crews(ranks).run("tests.laws.shares:prefer", mesh=mesh, steps=steps)[0]}
    for name in ("loss", "margin", "chosen_logp", "grad_norm"):
        assert differ(plain, run, name) <= 1e-5
    assert [row["tokens"] for row in run["rows"]] == [row["tokens"] for row in plain["rows"]]


def test_sequences_that_do_not_cut_are_refused_before_the_first_step(crews):
    said = crews(2).run("tests.laws.shares:refusal", mesh={"context": 2}, sequence_tokens=30)
    assert "sequences of 30 tokens do not cut into 4 equal pieces" in said[0]
    assert "hint: " in said[0]
    assert said[0] == said[1]
