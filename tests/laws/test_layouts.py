"""One recipe, one curve: however many ranks share a model and in which way, training computes the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.laws import layouts

LAYOUTS = {
    "fsdp-2": (2, {"shard": 2}),
    "fsdp-4": (4, {"shard": 4}),
    "hsdp-2x2": (4, {"replicate": 2, "shard": 2}),
    "replicate-2": (2, {"replicate": 2, "shard": 1}),
    "tensor-2": (2, {"tensor": 2}),
    "fsdp-2-tensor-2": (4, {"shard": 2, "tensor": 2}),
}
# Steps, model in float64, largest relative difference of a step's loss. Rounding grows with every step.
DEPTHS = {"20 steps": (20, False, 1e-6), "50 steps": (50, False, 1e-5), "float64": (20, True, 1e-11)}


@cache
def alone(**arguments: Any) -> dict[str, Any]:
    """The run that all layouts are compared with: this process alone."""
    return layouts.train(**{name: dict(v) if isinstance(v, tuple) else v for name, v in arguments.items()})


def differ(one: dict[str, Any], other: dict[str, Any], name: str = "loss") -> float:
    """The largest relative difference between two runs' rows."""
    a, b = (np.array([row[name] for row in run["rows"]]) for run in (one, other))
    assert len(a) == len(b) > 0
    return float(np.max(np.abs(a - b) / np.abs(a)))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_curve_of_one_process(layout, kind, depth, crews):
    ranks, mesh = LAYOUTS[layout]
    steps, double, limit = DEPTHS[depth]
    run = crews(ranks).run("tests.laws.layouts:train", mesh=mesh, kind=kind, steps=steps, double=double)[0]
    plain = alone(kind=kind, steps=steps, double=double)
    assert plain["rows"][-1]["loss"] < 0.9 * plain["rows"][0]["loss"], "it learns"
    assert differ(plain, run) <= limit
    assert differ(plain, run, "grad_norm") <= 100 * limit
    assert differ(plain, run, "update_norm") <= 100 * limit
    assert run["weights"].keys() == plain["weights"].keys()
    assert {row["tokens"] for row in run["rows"]} == {row["tokens"] for row in plain["rows"]}
