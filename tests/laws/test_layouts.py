"""One recipe, one curve: however many ranks share a model and in which way, training computes the same."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.dist.crew import RankFailed
from tests.laws import layouts, shares

WORK = "tests.laws.layouts:train"
LAYOUTS = {
    "fsdp-2": (2, {"shard": 2}),
    "fsdp-4": (4, {"shard": 4}),
    "hsdp-2x2": (4, {"replicate": 2, "shard": 2}),
    "replicate-2": (2, {"replicate": 2, "shard": 1}),
    "tensor-2": (2, {"tensor": 2}),
    "fsdp-2-tensor-2": (4, {"shard": 2, "tensor": 2}),
}
SHARES = {"fsdp-2": 2, "fsdp-4": 4, "hsdp-2x2": 2, "replicate-2": 1, "tensor-2": 2, "fsdp-2-tensor-2": 4}
"""Parts that the layout cuts the model into."""


ALWAYS = ("fsdp-2", "fsdp-4", "tensor-2", "fsdp-2-tensor-2", "pipeline-2", "context-2")
"""Layouts of which all is always run; of further ones AdamW's proof in float64 is, the rest is slow."""


def curves(layouts: Iterable[str]) -> Any:
    """A test for every layout, optimiser and type of number."""
    cases = []
    for layout, kind, double in product(layouts, ("adamw", "muon"), (False, True)):
        marks = () if layout in ALWAYS or (double and kind == "adamw") else pytest.mark.slow
        name = f"{layout}-{kind}-{'float64' if double else 'float32'}"
        cases.append(pytest.param(layout, kind, double, marks=marks, id=name))
    return pytest.mark.parametrize(("layout", "kind", "double"), cases)


@cache
def alone(**arguments: Any) -> dict[str, Any]:
    """The run that all layouts are compared with: this process alone."""
    return layouts.train(**{name: dict(v) if isinstance(v, tuple) else v for name, v in arguments.items()})


def differ(one: dict[str, Any], other: dict[str, Any], name: str = "loss", steps: int | None = None) -> float:
    """The largest relative difference between two runs' first rows."""
    a, b = (np.array([row[name] for row in run["rows"][:steps]]) for run in (one, other))
    assert len(a) == len(b) > 0
    return float(np.max(np.abs(a - b) / np.abs(a)))


def compare(plain: dict[str, Any], run: dict[str, Any], limits: dict[int, float]) -> None:
    """Two runs have one curve: after so many steps the loss differs by at most that much of itself."""
    losses = [row["loss"] for row in plain["rows"]]
    assert np.mean(losses[-5:]) < 0.95 * losses[0], "it learns"
    assert [row["tokens"] for row in run["rows"]] == [row["tokens"] for row in plain["rows"]]
    for steps, limit in limits.items():
        apart = {name: differ(plain, run, name, steps) for name in ("loss", "grad_norm", "update_norm")}
        assert apart["loss"] <= limit, f"{apart} after {steps} steps"
        assert max(apart.values()) <= 100 * limit, f"{apart} after {steps} steps"
    last = max(limits.values())
    assert run["weights"].keys() == plain["weights"].keys()
    for name, weight in plain["weights"].items():
        apart = np.linalg.norm(weight - run["weights"][name]) / np.linalg.norm(weight)
        assert apart <= 1000 * last, f"{name} is {apart:.1e} apart"


def length(double: bool) -> tuple[dict[str, Any], dict[int, float]]:
    """How long a run for a curve is, and how far apart curves may be after how many steps. A step of a proof has
    several micro-batches on ranks that share every row."""
    if double:
        return {"double": True, "steps": 20, "micro_rows": 4}, {20: 1e-11}
    return {"steps": 50, "micro_rows": 8}, {20: 1e-6, 50: 1e-5}


@curves(LAYOUTS)
def test_every_layout_gives_the_curve_of_one_process(layout, kind, double, crews):
    ranks, mesh = LAYOUTS[layout]
    arguments, limits = length(double)
    runs = crews(ranks).run(WORK, mesh=mesh, kind=kind, **arguments)
    plain = alone(kind=kind, **arguments)
    compare(plain, runs[0], limits)
    assert max(run["held"] for run in runs) < 1.1 * plain["held"] / SHARES[layout]


@pytest.mark.parametrize("layout", ["fsdp-2", "fsdp-4", "tensor-2", "fsdp-2-tensor-2"])
def test_a_vocabulary_that_does_not_divide_trains_right(layout, crews):
    ranks, mesh = LAYOUTS[layout]
    odd = {"vocab_size": 67, "tie_embeddings": layout != "tensor-2"}
    run = crews(ranks).run(WORK, mesh=mesh, kind="muon", config=odd, micro_rows=8)[0]
    compare(alone(kind="muon", config=tuple(odd.items()), micro_rows=8), run, {20: 1e-6})
    assert run["weights"]["model.embed_tokens.weight"].shape[0] == 67


def test_eight_micro_batches_of_one_row_are_one_of_eight(crews):
    whole = alone(micro_rows=8)
    compare(whole, alone(micro_rows=1), {20: 1e-6})
    for micro_rows in (4, 1):
        run = crews(2).run(WORK, mesh={"shard": 2}, micro_rows=micro_rows)[0]
        compare(whole, run, {20: 1e-6})


@pytest.mark.parametrize("layout", ["fsdp-2", "hsdp-2x2"])
def test_sums_of_parts_made_at_every_micro_batch_are_the_same(layout, crews):
    ranks, mesh = LAYOUTS[layout]
    run = crews(ranks).run(WORK, mesh=mesh, micro_rows=1, holds=False)[0]
    compare(alone(micro_rows=8), run, {20: 1e-6})


@pytest.mark.parametrize("rows_per_step", [5, 1])
def test_rows_that_do_not_split_evenly_count_as_they_are(rows_per_step, crews):
    uneven = {"rows_per_step": rows_per_step, "micro_rows": 1, "steps": 20 if rows_per_step > 1 else 50}
    run = crews(2).run(WORK, mesh={"shard": 2}, **uneven)[0]
    compare(alone(**uneven), run, {20: 1e-6})


@pytest.mark.parametrize(("layout", "vocab_size"), [("fsdp-2", 64), ("fsdp-2-tensor-2", 67), ("hsdp-2x2", 67)])
def test_each_rank_takes_its_pieces_of_the_first_weights(layout, vocab_size, crews):
    ranks, mesh = LAYOUTS[layout]
    config = {"vocab_size": vocab_size, "tie_embeddings": False}
    run = crews(ranks).run(WORK, mesh=mesh, config=config, meta=True, micro_rows=8)[0]
    compare(alone(config=tuple(config.items()), micro_rows=8), run, {20: 1e-6})


@pytest.mark.parametrize("layout", ["alone", "fsdp-2-tensor-2"])
def test_what_is_computed_again_is_the_same(layout, crews):
    ranks, mesh = LAYOUTS.get(layout, (1, {}))
    again = {"site": {"recompute": True}, "micro_rows": 8}
    if ranks == 1:
        run = alone(site=(("recompute", True),), micro_rows=8)
    else:
        run = crews(ranks).run(WORK, mesh=mesh, **again)[0]
    compare(alone(micro_rows=8), run, {20: 1e-6})


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["alone", "fsdp-2"])
def test_compiled_layers_give_the_same_curve(layout, crews):
    ranks, mesh = LAYOUTS.get(layout, (1, {}))
    compiled = {"compile": True}
    run = alone(site=tuple(compiled.items())) if ranks == 1 else crews(ranks).run(WORK, mesh=mesh, site=compiled)[0]
    compare(alone(), run, {20: 1e-4})


@pytest.mark.parametrize(("tokens", "packed"), [(13, False), (16, True)])
def test_ranks_that_share_products_score_rows_of_any_length(tokens, packed, crews):
    plain = layouts.score({}, tokens, packed)
    for found in crews(2).run("tests.laws.layouts:score", mesh={"tensor": 2}, tokens=tokens, packed=packed):
        for one, other in zip(plain, found, strict=True):
            assert np.allclose(one, other, atol=2e-5)


def test_packed_rows_that_ranks_cannot_share_are_refused(crews):
    with pytest.raises(RankFailed, match=r"rows of 13 tokens cannot be shared by 2 ranks\n +at: site: training.mesh"):
        crews(2).run("tests.laws.layouts:score", mesh={"tensor": 2}, tokens=13, packed=True)


def test_heads_that_ranks_cannot_share_are_refused(crews):
    with pytest.raises(RankFailed, match=r"1 key-value heads cannot be shared by 2 ranks"):
        crews(2).run(WORK, mesh={"tensor": 2}, config={"kv_heads": 1}, steps=1)


@pytest.mark.parametrize(("layout", "pairs"), [("fsdp-2", 3), ("tensor-2", 4)])
def test_preferences_give_one_curve_too(layout, pairs, crews):
    ranks, mesh = LAYOUTS[layout]
    run = {"rows": crews(ranks).run("tests.laws.shares:prefer", mesh=mesh, pairs=pairs)[0]}
    plain = {"rows": shares.prefer(pairs=pairs)}
    assert differ(plain, run) <= 1e-6
    assert np.allclose([row["margin"] for row in plain["rows"]], [row["margin"] for row in run["rows"]], atol=1e-3)
