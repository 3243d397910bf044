"""Mixtures: which source row i comes from, as a pure function of the weights and i.

At every prefix of n rows each source has given within one row of its weight times n (the chairman assignment of
Tijdeman 1980, Discrete Mathematics 32, 323). One period of the assignment is kept; any row is found by division.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np

from shikomi.errors import RecipeError
from shikomi.train.batches import Row, Sources

FINEST = 1 << 16
"""Weights are exact fractions with a common denominator of at most this, the length of one period; finer ones are
rounded to it (an error of at most 8 in a million)."""


class Counter:
    """Deals places out to sources at fixed weights.

    Attributes:
        weights: shares of the sources, whole numbers that sum to ``period``.
        period: after so many places everything repeats.
    """

    def __init__(self, weights: Sequence[Fraction | float]) -> None:
        """Work out one period.

        Args:
            weights: of each source, not negative, at least one positive; they need not sum to 1.
        """
        exact = [Fraction(str(weight)) if isinstance(weight, float) else Fraction(weight) for weight in weights]
        self.weights, self.period = _whole(exact)
        self._source, self._before = _one_period(self.weights, self.period)

    def locate(self, index: int) -> tuple[int, int]:
        """(source, how many places it was given before) of place ``index``."""
        rounds, place = divmod(index, self.period)
        source = int(self._source[place])
        return source, rounds * self.weights[source] + int(self._before[place])

    def counts(self, places: int) -> list[int]:
        """How many of the first ``places`` places each source is given."""
        rounds, rest = divmod(places, self.period)
        within = np.bincount(self._source[:rest], minlength=len(self.weights))
        return [rounds * weight + int(more) for weight, more in zip(self.weights, within, strict=True)]


def _whole(weights: Sequence[Fraction]) -> tuple[list[int], int]:
    """Weights as whole numbers and their sum, at most ``FINEST``; a source with a weight keeps at least one."""
    total = sum(weights)
    shares = [weight / total for weight in weights]
    period = math.lcm(*(share.denominator for share in shares))
    if period <= FINEST:
        return [int(share * period) for share in shares], period
    whole = [max(int(share > 0), int(share * FINEST)) for share in shares]
    largest = sorted(range(len(shares)), key=lambda n: whole[n] - shares[n] * FINEST)
    while sum(whole) < FINEST:
        whole[largest[0]] += 1
        largest.append(largest.pop(0))
    whole[max(range(len(whole)), key=whole.__getitem__)] -= sum(whole) - FINEST
    return whole, FINEST


def _one_period(weights: Sequence[int], period: int) -> tuple[np.ndarray, np.ndarray]:
    """Tijdeman's rule in whole numbers: among sources that are due, the one whose deadline comes first.

    With k sources and d = 1 / (2k - 2), a source is due where weight · n - given >= d, and its deadline is when
    that would reach 1 - d; all numbers below are multiplied by period · (2k - 2).
    """
    sources, before = np.zeros(period, dtype=np.uint16), np.zeros(period, dtype=np.int64)
    alive = [number for number, weight in enumerate(weights) if weight]
    scale = max(2 * len(alive) - 2, 1)
    given = dict.fromkeys(alive, 0)
    for n in range(1, period + 1):
        lag = {s: (weights[s] * n - given[s] * period) * scale for s in alive}
        due = [s for s in alive if lag[s] >= period] or alive
        chosen = min(due, key=lambda s: (Fraction(period * (scale - 1) - lag[s], weights[s]), s))
        sources[n - 1], before[n - 1] = chosen, given[chosen]
        given[chosen] += 1
    return sources, before


class Mixture:
    """Rows of several sources, each in its own order, at weights that may change at shares of the run.

    Args:
        sources: by name; every one yields rows without end.
        phases: (first row, weights of all sources), rising, the first at row 0.
    """

    def __init__(
        self, sources: Mapping[str, Sources], phases: Sequence[tuple[int, Sequence[Fraction | float]]]
    ) -> None:
        assert phases[0][0] == 0, "the first phase starts the run"
        self.names, self.sources = list(sources), list(sources.values())
        self._starts = [start for start, _ in phases]
        self._counters = [Counter(weights) for _, weights in phases]
        self._given = [[0] * len(self.sources)]
        for number, start in enumerate(self._starts[1:]):
            more = self._counters[number].counts(start - self._starts[number])
            self._given.append([a + b for a, b in zip(self._given[-1], more, strict=True)])

    def locate(self, index: int) -> tuple[int, int]:
        """(number of the source, index in its own order) of row ``index``."""
        phase = bisect_right(self._starts, index) - 1
        source, before = self._counters[phase].locate(index - self._starts[phase])
        return source, self._given[phase][source] + before

    def row(self, index: int) -> Row:
        """Row ``index`` of the mixture."""
        source, own = self.locate(index)
        return self.sources[source].row(own)

    def counts(self, rows: int) -> dict[str, int]:
        """How many of the first ``rows`` rows come from each source."""
        phase = max(bisect_right(self._starts, rows) - 1, 0)
        within = self._counters[phase].counts(rows - self._starts[phase])
        return {name: a + b for name, a, b in zip(self.names, self._given[phase], within, strict=True)}

    @property
    def passes(self) -> dict[str, int]:
        """Rows of one pass over each source."""
        return {name: source.passes[name] for name, source in zip(self.names, self.sources, strict=True)}


def check_epochs(
    mixture: Mixture, caps: Mapping[str, float], rows: int, steps: int, batch_tokens: int, where: str
) -> None:
    """Refuse a run that would read a source more often than it may.

    Args:
        mixture: the sources at their weights.
        caps: most passes over each source; 0: any number.
        rows: rows that the run takes from the mixture.
        steps, batch_tokens: of the run, for the hint.
        where: key of the mixture in the recipe.

    Raises:
        RecipeError: says how many tokens would fit, and what would let the run go on.
    """

    def exceeded(count: int) -> list[str]:
        found = mixture.counts(count)
        return [name for name, cap in caps.items() if cap and found[name] > cap * mixture.passes[name]]

    over = exceeded(rows)
    if not over:
        return
    fits = bisect_left(range(rows), True, key=lambda count: bool(exceeded(count + 1)))
    name = over[0]
    needed = mixture.counts(rows)[name] / mixture.passes[name]
    raise RecipeError(
        f'source "{name}" would be read {needed:.2f} times, more than its max_epochs = {caps[name]:g}',
        where=where,
        hint=f"tokens = {fits * steps // rows * batch_tokens} fits at these weights; or lower its weight, "
        f"end it earlier with a schedule, or allow max_epochs = {math.ceil(needed * 100) / 100:g}",
    )


class Line:
    """Token ids of several folders, one after the other, read as if they were one file."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    @property
    def tokens(self) -> Line:
        """The ids."""
        return self

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, wanted: slice) -> np.ndarray:
        start, stop, _ = wanted.indices(len(self))
        found = []
        while start < stop:
            part = bisect_right(self._ends, start)
            first = self._ends[part] - len(self.parts[part])
            end = min(stop, self._ends[part])
            found.append(np.asarray(self.parts[part][start - first : end - first]))
            start = end
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)
