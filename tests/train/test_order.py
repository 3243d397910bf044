"""Orders, rows and schedules as pure functions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shikomi.errors import DataError
from shikomi.recipe.train import OptimPage
from shikomi.train.batches import CrawlRows, DialogueRows, MixedRows, RowBatches
from shikomi.train.order import permute
from shikomi.train.schedule import rate_factor


class Shards:
    """Stands for TokenShards: a stream of documents of 7 tokens, each ended by 0."""

    def __init__(self, documents: int) -> None:
        rows = [[*range(1 + 6 * d, 7 + 6 * d), 0] for d in range(documents)]
        self.tokens = np.array(rows, dtype=np.uint16).ravel()


@given(size=st.integers(1, 400), key=st.integers(0, 2**64 - 1))
def test_permute_is_a_bijection(size, key):
    assert sorted(permute(i, size, key) for i in range(size)) == list(range(size))


def test_permute_depends_on_the_key():
    assert [permute(i, 50, 1) for i in range(50)] != [permute(i, 50, 2) for i in range(50)]


def test_crawl_rows_cover_every_token_about_once_a_pass_and_shift_between_passes():
    rows = CrawlRows(Shards(60), 16, eos_id=0, seed=3)
    first = [rows.row(i).tokens_T for i in range(rows.per_pass)]
    second = [rows.row(i).tokens_T for i in range(rows.per_pass, 2 * rows.per_pass)]
    flat = np.concatenate(first)
    values, counts = np.unique(flat[flat != 0], return_counts=True)
    assert counts.max() == 1
    assert len(values) >= 0.85 * 360
    assert {tuple(row) for row in first} != {tuple(row) for row in second}


def test_crawl_rows_do_not_learn_or_look_across_documents():
    row = CrawlRows(Shards(30), 16, eos_id=0, seed=0).row(2)
    ends = np.flatnonzero(row.tokens_T == 0)
    assert len(ends) >= 1
    assert (row.weights_T[ends] == 0).all()
    assert row.weights_T.sum() == 16 - len(ends)
    for end in ends[ends < 15]:
        assert row.documents_T[end + 1] == row.documents_T[end] + 1


def test_too_little_text_is_an_error():
    with pytest.raises(DataError, match="fewer than two windows"):
        CrawlRows(Shards(2), 16, eos_id=0, seed=0)


def test_dialogue_rows_hold_whole_dialogues_and_each_once_a_pass():
    dialogues = [([10 * n + k for k in range(4 + n % 5)], [0, 0] + [1] * (2 + n % 5)) for n in range(1, 30)]
    rows = DialogueRows(dialogues, 16, pad_id=0, seed=5, answers_only=True)
    rows.row(0)
    count = len(rows._passes[0])
    seen = []
    for index in range(count):
        row = rows.row(index)
        for document in sorted({int(d) for d, w in zip(row.documents_T, row.weights_T, strict=True) if w}):
            inside = row.documents_T == document
            ids = [*row.tokens_T[inside].tolist(), int(row.targets_T[inside][-1])]
            match = next(n for n, (known, _) in enumerate(dialogues) if known == ids)
            assert row.weights_T[inside].tolist() == [float(m) for m in dialogues[match][1][1:]]
            seen.append(match)
    assert sorted(seen) == list(range(len(dialogues)))
    assert rows.row(count + 1).tokens_T.tolist() != rows.row(1).tokens_T.tolist()


def test_dialogues_that_do_not_fit_are_counted_and_none_at_all_is_an_error():
    rows = DialogueRows([([1, 2, 3], [0, 1, 1]), (list(range(40)), [1] * 40)], 8, 0, 1, answers_only=False)
    assert rows.too_long == 1
    assert rows.row(0).weights_T.sum() == 2
    with pytest.raises(DataError, match="none of 1 dialogues fits"):
        DialogueRows([(list(range(40)), [1] * 40)], 8, 0, 1, answers_only=False)


class Named:
    """A source whose rows are (name, index)."""

    def __init__(self, name: str) -> None:
        self.name = name

    def row(self, index: int):
        return (self.name, index)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.73])
def test_a_mixture_takes_each_source_in_its_own_order_at_its_share(share):
    mixed = [MixedRows(Named("a"), Named("b"), share).row(i) for i in range(1000)]
    for name in "ab":
        own = [index for source, index in mixed if source == name]
        assert own == list(range(len(own)))
    assert abs(sum(source == "b" for source, _ in mixed) - 1000 * share) <= 1


def test_batches_do_not_depend_on_how_a_step_is_cut():
    rows = CrawlRows(Shards(100), 16, eos_id=0, seed=1)
    whole = RowBatches(rows, 6, 6).step(4)
    cut = RowBatches(rows, 6, 4).step(4)
    assert [len(b.tokens_BT) for b in cut] == [4, 2]
    assert np.concatenate([b.tokens_BT for b in cut]).tolist() == whole[0].tokens_BT.tolist()
    assert sum(b.weight for b in cut) == whole[0].weight


def test_schedule_warms_up_holds_and_decays_to_its_floor():
    page = OptimPage(warmup_share=0.1, decay_share=0.5, final_rate=0.05)
    factors = [rate_factor(step, 100, page) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:49] == [1.0] * 39
    assert all(a >= b for a, b in itertools.pairwise(factors[50:]))
    assert 0.05 <= factors[-1] <= 0.08
