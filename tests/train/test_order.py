"""Orders, rows and schedules as pure functions."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shikomi.errors import DataError
from shikomi.train.ahead import Ahead
from shikomi.train.batches import CrawlRows, DialogueRows, MixedRows, RowBatches
from shikomi.train.order import Skips, permute


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
    count = rows_of_a_pass(rows)
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


def rows_of_a_pass(rows: DialogueRows) -> int:
    """Rows until the first dialogue comes again."""
    rows.row(0)
    return rows._starts[1]


def test_dialogue_rows_are_the_same_whatever_was_asked_before():
    dialogues = [([10 * n + k for k in range(4 + n % 5)], [0, 0] + [1] * (2 + n % 5)) for n in range(1, 30)]
    fresh = [DialogueRows(dialogues, 16, pad_id=0, seed=5, answers_only=True) for _ in range(2)]
    forward = [fresh[0].row(index).tokens_T.tolist() for index in range(60)]
    backward = [fresh[1].row(index).tokens_T.tolist() for index in reversed(range(60))]
    assert forward == backward[::-1]
    assert len(fresh[0]._packed) <= 2


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


@pytest.mark.parametrize(("rows_per_step", "parts"), [(6, 1), (6, 2), (6, 4), (5, 4), (3, 4), (1, 3)])
def test_the_parts_of_a_step_hold_each_row_once_and_have_the_same_shapes(rows_per_step, parts):
    source = RowBatches(CrawlRows(Shards(100), 16, eos_id=0, seed=1), rows_per_step, 2)
    (whole,) = RowBatches(source.rows, rows_per_step, 64).step(3)
    split = [source.step(3, (number, parts)) for number in range(parts)]
    assert len({tuple(tuple(micro.tokens_BT.shape) for micro in part) for part in split}) == 1
    counted = [
        (tokens.tolist(), weights.tolist())
        for part in split for micro in part
        for tokens, weights in zip(micro.tokens_BT, micro.weights_BT, strict=True) if weights.any()
    ]  # fmt: skip
    assert counted == list(zip(whole.tokens_BT.tolist(), whole.weights_BT.tolist(), strict=True))
    assert sum(micro.weight for part in split for micro in part) == whole.weight
    assert sum(micro.num_tokens for part in split for micro in part) == rows_per_step * 16


@given(
    ranges=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=5),
    wanted=st.integers(1, 80),
)
def test_skips_leave_out_exactly_their_ranges_and_keep_the_order(ranges, wanted):
    passed = {place for start, end in ranges for place in range(start, end)}
    kept = [place for place in range(300) if place not in passed][:wanted]
    skips = Skips(ranges)
    assert [skips.place(index) for index in range(wanted)] == kept


def test_skipped_steps_are_never_seen_and_the_rest_moves_up():
    rows = CrawlRows(Shards(100), 16, eos_id=0, seed=1)
    plain, skipped = RowBatches(rows, 4, 4), RowBatches(rows, 4, 4, Skips([(8, 16)]))
    tokens = [skipped.step(step)[0].tokens_BT.tolist() for step in range(4)]
    assert tokens == [plain.step(step)[0].tokens_BT.tolist() for step in (0, 1, 4, 5)]


class Slow:
    """Batches that remember which thread made them, and fail at step 2."""

    def __init__(self):
        self.made = []

    def step(self, step, part=(0, 1)):
        self.made.append((step, part, threading.current_thread().name))
        if step == 2:
            raise DataError("step 2 cannot be read")
        return [step]


def test_batches_are_made_ahead_in_another_thread_and_errors_come_with_their_step():
    slow = Slow()
    ahead = Ahead(slow, steps=5)
    assert ahead.step(0, (1, 2)) == [0]
    assert ahead.step(1, (1, 2)) == [1]
    with pytest.raises(DataError, match="step 2"):
        ahead.step(2, (1, 2))
    ahead.step(4, (1, 2))
    ahead.close()
    assert [made[:2] for made in slow.made] == [(step, (1, 2)) for step in (0, 1, 2, 3, 4)]
    assert threading.current_thread().name not in {name for *_, name in slow.made}
