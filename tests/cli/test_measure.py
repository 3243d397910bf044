"""Measuring a machine, on inputs that take no time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from shikomi.cli import measure
from shikomi.plan.rates import MEASURED_BASIS, read_rates, save_rates
from shikomi.recipe.model import ModelPage
from shikomi.recipe.sample import SamplePage

TINY = ModelPage(hidden_size=16, layers=1, heads=1, kv_heads=1, head_dim=16, intermediate_size=16)
SMALL = SamplePage(companies=8, eval_companies=2, articles_per_company=2)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which everything is over at once."""
    monkeypatch.setattr(measure, "SHAPES", ((TINY, 256, 1), (TINY.model_copy(update={"hidden_size": 32}), 128, 1)))
    monkeypatch.setattr(measure, "VOCAB_SIZE", 640)
    monkeypatch.setattr(measure, "PAGE", SMALL)
    monkeypatch.setattr(measure, "PROMPTS", 2)
    monkeypatch.setattr(measure, "NEW_TOKENS", 2)


def test_every_speed_is_measured_and_read_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(measure, "measure_matrices", lambda: 12.34)
    measure.main()
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert [line for line in told.err.splitlines() if line.startswith("measuring ")] == [
        "measuring matrix products …", "measuring training …", "measuring answering …", "measuring data stages …",
    ]  # fmt: skip
    assert found["gemm_gflops"] == 12.3
    assert found["train_tokens_per_second"] > 0
    assert [width for width, _ in found["rates"]["train"]] == [16, 32]
    save_rates(found)
    rates = read_rates()
    assert rates.basis == MEASURED_BASIS
    for name in ("generate", "crawl", "corpus", "tokenizer", "encode"):
        assert getattr(rates, name) > 0
    assert rates.start >= 0


def test_matrix_products_are_counted(monkeypatch: pytest.MonkeyPatch):
    import torch

    clock, product, count = iter(range(100)), torch.mm, []
    monkeypatch.setattr(measure.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(torch, "mm", lambda left, right: count.append(1) or product(left, right))
    speed = measure.measure_matrices(side=8, least_seconds=3)
    timed = len(count) - 1
    assert timed >= 2
    assert speed == pytest.approx(2 * 8**3 * timed / (timed + 2) / 1e9)


def test_rows_of_random_tokens_are_the_same_each_time():
    rows = measure._RandomRows()
    one, again, other = rows.row(3), rows.row(3), rows.row(4)
    assert one.tokens_T.tolist() == again.tokens_T.tolist() != other.tokens_T.tolist()
    assert one.tokens_T[1:].tolist() == one.targets_T[:-1].tolist()
    assert max(one.tokens_T) < measure.VOCAB_SIZE


def test_something_timed_takes_more_than_nothing():
    seconds, found = measure.timed(lambda: "値")
    assert seconds > 0
    assert found == "値"
    assert "torch" in sys.modules or measure.measure_start() > 0
