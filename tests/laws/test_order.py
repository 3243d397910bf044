"""The data's law: what step k reads follows from the recipe and k, whoever asks, in which order, in how many parts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.model.config import ModelConfig
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train.ahead import Ahead
from shikomi.train.batches import CrawlRows, DialogueRows, MixedRows, RowBatches
from shikomi.train.loop import FitSpec, fit
from shikomi.train.mixture import Mixture
from shikomi.train.objective import NextToken
from shikomi.train.order import Skips

EXACT = TrainingSite(precision="float32")


class Tokens:
    """A line of ids with a document end every eleven tokens; ``first`` tells lines apart."""

    def __init__(self, first: int, count: int) -> None:
        ids = first + np.arange(count) % 9
        ids[10::11] = 0
        self.tokens = ids.astype("<u2")


def sources() -> MixedRows:
    """A mixture with a schedule, and dialogues at their share: everything an order can depend on."""
    texts = {
        "a": CrawlRows(Tokens(10, 900), 16, 0, seed=1, name="a"),
        "b": CrawlRows(Tokens(30, 500), 16, 0, seed=2, name="b"),
        "c": CrawlRows(Tokens(45, 400), 16, 0, seed=3, name="c"),
    }
    mixture = Mixture(texts, [(0, [0.6, 0.3, 0.1]), (40, [0.2, 0.3, 0.5])])
    talk = DialogueRows([(list(range(2, 6 + n % 7)), [0, 0] + [1] * (2 + n % 7)) for n in range(20)], 16, 1, 4,
                        answers_only=True)  # fmt: skip
    return MixedRows(mixture, talk, 0.25)


def seen(batches, step: int, parts: int = 1) -> list:
    """Every counted row of a step, in order: tokens, targets, weights and documents."""
    found = []
    for number in range(parts):
        for micro in batches.step(step, (number, parts)):
            rows = zip(micro.tokens_BT, micro.targets_BT, micro.weights_BT, micro.documents_BT, strict=True)
            found += [[part.tolist() for part in row] for row in rows if row[2].any()]
    return found


@settings(deadline=None, max_examples=25)
@given(
    asked=st.lists(st.integers(0, 15), min_size=1, max_size=6),
    parts=st.integers(1, 7),
    micro=st.integers(1, 8),
    skips=st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80)), max_size=3),
)
def test_any_parts_in_any_order_read_the_same_rows(asked, parts, micro, skips):
    straight = RowBatches(sources(), 6, 64, Skips(skips))
    expected = [seen(straight, step) for step in range(16)]
    fresh = RowBatches(sources(), 6, micro, Skips(skips))
    for step in asked:
        assert seen(fresh, step, parts) == expected[step]


def test_what_comes_behind_a_skip_is_what_came_behind_it_before():
    plain, skipped = RowBatches(sources(), 4, 4), RowBatches(sources(), 4, 4, Skips([(12, 24)]))
    assert [seen(skipped, step) for step in range(8)] == [seen(plain, step) for step in (0, 1, 2, 6, 7, 8, 9, 10)]


def test_far_steps_cost_what_near_ones_do():
    """A trillion tokens in: no list of rows, no walk along them."""
    texts = {
        name: CrawlRows(Tokens(first, 900), 16, 0, seed=first, name=name) for name, first in (("a", 10), ("b", 30))
    }
    batches = RowBatches(Mixture(texts, [(0, [0.7, 0.3]), (10**11, [0.1, 0.9])]), 8, 8)
    far = 10**12 // 16 // 8
    assert len(seen(batches, far)) == 8
    assert batches.seen(far)["a"]["rows"] == pytest.approx(0.7 * far * 8, abs=1)


@pytest.mark.parametrize("stop", [5, 9])
def test_replayed_steps_of_a_resumed_run_read_what_they_read_before(stop, tmp_path):
    """Stopped between two checkpoints, batches made ahead and thrown away: the curve is that of the straight run."""

    class Stop(Exception):
        """Stands for kill -9."""

    def run(out, progress):
        model = Transformer(ModelConfig("qwen3", 64, 32, 1, 2, 1, 16, 48, 64))
        initialise(model, 1)
        ahead = Ahead(RowBatches(sources(), 4, 2, Skips([(8, 12)])), 12)
        try:
            fit(model, NextToken(), ahead, FitSpec(12, OptimPage(), 4), out, site=EXACT, progress=progress)
        finally:
            ahead.close()

    def dies(done, total, unit, note=""):
        if done == stop:
            raise Stop

    def losses(out):
        return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]

    run(tmp_path / "straight", lambda *told: None)
    with pytest.raises(Stop):
        run(tmp_path / "cut", dies)
    run(tmp_path / "cut", lambda *told: None)
    assert losses(tmp_path / "cut") == losses(tmp_path / "straight")
