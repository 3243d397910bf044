"""The training benches: shapes, rounds' intervals, the pace's rules, our peers in the tiny shape, quality's memory."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    """Imports a module of bench/ by name; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(BENCH))
    known = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_intervals_cover_the_median(bench):
    interval = bench("train").interval
    assert interval([3.0, 1.0, 2.0]) == {"median": 2.0, "low": 1.0, "high": 3.0, "coverage": 0.75}
    five = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (five["low"], five["high"], five["coverage"]) == (1.0, 5.0, 0.938)
    nine = interval([float(value) for value in range(9)])
    assert (nine["low"], nine["high"]) == (1.0, 7.0)
    assert nine["coverage"] >= 0.9


def test_shapes_give_every_peer_the_same_tokens(bench):
    pace = bench("pace")
    windows = pace.FULL.windows(3)
    assert windows.shape == (4, 513)
    assert np.array_equal(windows, pace.FULL.windows(3))
    assert not np.array_equal(windows, pace.FULL.windows(4))
    prompt, chosen, rejected = pace.FULL.pair(1)
    assert (len(prompt), len(chosen), len(rejected)) == (128, 127, 127)
    assert windows.min() >= 4


@pytest.mark.parametrize("kind", ["pretrain", "sft", "dpo"])
def test_our_peer_keeps_the_pace(kind):
    command = [sys.executable, str(BENCH / "peers" / "shikomi" / "train.py"), "--threads", "1", kind, "--tiny"]
    done = subprocess.run(command, input="2\n3\nstop\n", capture_output=True, text=True, timeout=300, check=True)
    ready, first, second, last = (json.loads(line) for line in done.stdout.splitlines())
    assert ready["seconds"] == []
    assert [len(row["seconds"]) for row in (first, second)] == [2, 3]
    assert min(second["seconds"] + second["cpu_seconds"]) > 0
    assert last["flops_per_token"] > 0


def test_a_pace_without_orders_ends():
    code = f"import sys; sys.path.insert(0, {str(BENCH)!r}); from pace import Pace, Stop\n"
    code += "pace = Pace()\ntry:\n    pace.boundary()\nexcept Stop:\n    print('talk'); pace.say({'ended': True})\n"
    done = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == {"ended": True}
    assert "talk" in done.stderr


def test_chunked_loss_takes_less_memory_and_is_the_same(bench):
    found = bench("train").loss_memory({"positions": 1024, "vocab": 16_384, "hidden": 64})
    assert found["share"] < 0.6
    assert found["chunked"]["grad_norm"] == pytest.approx(found["materialised"]["grad_norm"], rel=1e-2)


def test_finished_quality_runs_are_kept(bench, tmp_path):
    quality = bench("quality")
    runs = quality.Runs(tmp_path)
    runs.add("a", {"bits_per_byte": 2.0})
    assert quality.Runs(tmp_path).found == {"a": {"bits_per_byte": 2.0}}
    three = quality.interval([2.0, 2.1, 2.2])
    assert three["mean"] == pytest.approx(2.1)
    assert three["high"] - three["mean"] == pytest.approx(4.303 * 0.1 / 3**0.5, abs=1e-4)
