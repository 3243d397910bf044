"""Mixtures deal rows out at their weights, at every prefix, and any row is found without the ones before it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shikomi.train.mixture import Counter, Mixture

WEIGHTS = st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any)


@given(weights=WEIGHTS)
def test_at_every_prefix_each_source_is_within_one_row_of_its_weight(weights):
    counter = Counter(weights)
    total, seen = sum(weights), [0] * len(weights)
    for index in range(2 * total):
        source, before = counter.locate(index)
        assert before == seen[source]
        seen[source] += 1
        assert counter.counts(index + 1) == seen
        for given_, weight in zip(seen, weights, strict=True):
            assert abs(given_ - Fraction(weight, total) * (index + 1)) < 1


def test_far_places_cost_no_more_than_near_ones_and_are_exact():
    counter = Counter([0.7, 0.2, 0.1])
    far = 10**12
    assert counter.period == 10
    assert counter.counts(far) == [7 * 10**11, 2 * 10**11, 10**11]
    source, before = counter.locate(far)
    assert before == counter.counts(far)[source]


def test_weights_need_not_sum_to_one_and_fine_ones_are_rounded_to_one_period():
    assert Counter([3, 1]).weights == Counter([0.75, 0.25]).weights == [3, 1]
    counter = Counter([123_456_789, 987_654_321, 1])
    assert sum(counter.weights) == counter.period == 1 << 16
    assert counter.weights[2] == 1
    assert abs(counter.weights[0] / counter.period - 123_456_789 / 1_111_111_111) < 2e-5


class Named:
    """A source whose rows are (name, index)."""

    def __init__(self, name):
        self.name = name

    def row(self, index):
        return (self.name, index)


@given(
    weights=st.lists(WEIGHTS.map(lambda w: (w * 3)[:3]).filter(any), min_size=2, max_size=3), first=st.integers(1, 30)
)
def test_a_schedule_changes_weights_and_no_source_loses_or_repeats_a_row(weights, first):
    phases = [(first * number, part) for number, part in enumerate(weights)]
    mixed = Mixture({name: Named(name) for name in "abc"}, phases)
    rows = [mixed.row(index) for index in range(first * len(weights) + 20)]
    for number, name in enumerate("abc"):
        own = [index for source, index in rows if source == name]
        assert own == list(range(len(own)))
        assert mixed.counts(len(rows))[name] == len(own)
        inside = [index for index in range(first) if rows[index][0] == name]
        assert abs(len(inside) - first * weights[0][number] / sum(weights[0])) < 1


def test_a_source_may_come_in_late_and_leave():
    mixed = Mixture({"a": Named("a"), "b": Named("b")}, [(0, [1, 0]), (10, [1, 1]), (20, [0, 1])])
    names = [mixed.row(index)[0] for index in range(30)]
    assert names[:10] == ["a"] * 10
    assert names[10:20].count("b") == 5
    assert names[20:] == ["b"] * 10
    assert mixed.counts(30) == {"a": 15, "b": 15}


def test_a_mixture_without_a_beginning_is_a_fault_of_ours():
    with pytest.raises(AssertionError):
        Mixture({"a": Named("a")}, [(5, [1])])
