"""What a run tells of itself: speed over the last steps, share of the peak by its formula, memory, one line."""

from __future__ import annotations

import json

import pytest
import torch

from shikomi.plan.hardware import peak_flops
from shikomi.train import metrics
from shikomi.train.metrics import Gauge, device_peak, note

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = {"seconds": 100.0}
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: now["seconds"])
    monkeypatch.setattr(metrics, "device_peak", lambda *_: (1e9, "given"))
    return now


def test_speed_is_that_of_the_last_steps_and_mfu_follows_its_formula(clock):
    gauge = Gauge(flops_per_token=1e6, devices=2, device=CPU, bfloat16=False)
    gauge.start(1000)
    clock["seconds"] += 10
    row = gauge.read(1500)
    assert row["tokens_per_second"] == 50.0
    assert row["mfu"] == pytest.approx(1e6 * 50 / (1e9 * 2), abs=1e-4)
    assert row["memory_mb"] > 10
    for _ in range(metrics.WINDOW_STEPS):
        clock["seconds"] += 1
        row = gauge.read(int(row["tokens_per_second"] * 0) + 1500)
    assert row["tokens_per_second"] == 0.0


def test_without_flops_there_is_no_mfu_and_nothing_is_measured(clock):
    gauge = Gauge(0.0, 1, CPU, False)
    gauge.start(0)
    clock["seconds"] += 1
    assert gauge.read(10).keys() == {"tokens_per_second", "memory_mb"}
    assert gauge.facts(10.0) == {}


def test_facts_say_against_which_peak(clock):
    found = Gauge(2e6, 4, CPU, False).facts(1000.0)
    assert found == {"mfu": 0.5, "peak_flops": 1e9, "peak_basis": "given"}


def test_a_cpu_is_measured_once_and_says_so():
    flops, basis = device_peak("cpu", "", False)
    assert flops > 1e8
    assert basis.startswith("measured: best of")
    assert device_peak("cpu", "", False) == (flops, basis)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H200", 989.4), ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4", 312),
        ("NVIDIA L40S", 362), ("NVIDIA L4", 121), ("NVIDIA GB200", 2500), ("NVIDIA B200", 2250), ("Something", 0),
    ],
)  # fmt: skip
def test_data_sheets_are_found_by_name(name, tflops):
    assert peak_flops(name) == tflops * 1e12


def test_the_line_says_the_most_wanted_first():
    row = {"step": 3, "tokens": 1_234_567, "loss": 3.2104, "grad_norm": 0.8123, "rate": 0.5, "memory_mb": 512.3}
    row |= {"tokens_per_second": 5812.0, "mfu": 0.412}
    assert note(row) == "loss 3.210  5.81k tok/s  MFU 41%  norm 0.81  rate 50%  1.23M tokens  512 MB"
    assert note({"loss": 1.0, "grad_norm": 0.0}) == "loss 1.000  norm 0"
    json.dumps(row)
