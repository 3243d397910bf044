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
SHARES = {"fsdp-2": 2, "fsdp-4": 4, "hsdp-2x2": 2, "replicate-2": 1, "tensor-2": 2, "fsdp-2-tensor-2": 4}
"""Parts that the layout cuts the model into."""


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
    assert plain["rows"][-1]["loss"] < 0.9 * plain["rows"][0]["loss"], "it learns"
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


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_curve_of_one_process(layout, kind, double, crews):
    ranks, mesh = LAYOUTS[layout]
    steps, limits = (20, {20: 1e-11}) if double else (50, {20: 1e-6, 50: 1e-5})
    runs = crews(ranks).run("tests.laws.layouts:train", mesh=mesh, kind=kind, steps=steps, double=double)
    plain = alone(kind=kind, steps=steps, double=double)
    compare(plain, runs[0], limits)
    assert max(run["held"] for run in runs) < 1.1 * plain["held"] / SHARES[layout]
