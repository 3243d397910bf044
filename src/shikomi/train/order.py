"""Which row comes at position i: a keyed permutation, so that order is a pure function of seed and i.

No state is kept: any world size, resume, replay or skipped range sees the same rows (cf. levanter, marin #826:
Feistel permutations replaced a linear congruential shuffle whose order was too regular).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

_MASK = (1 << 64) - 1
_ROUNDS = 6


def mix(value: int) -> int:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014): 64 bits in, 64 well-mixed bits out."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def permute(index: int, size: int, key: int) -> int:
    """Position ``index`` of a permutation of ``range(size)`` chosen by ``key``; a bijection for every key.

    A balanced Feistel network over the next even power of two, walked until it falls inside ``size``.
    """
    if size <= 1:
        return 0
    half = ((size - 1).bit_length() + 1) // 2
    low = (1 << half) - 1
    while True:
        left, right = index >> half, index & low
        for number in range(_ROUNDS):
            left, right = right, left ^ (mix(right ^ mix(key ^ (number << 32))) & low)
        index = (left << half) | right
        if index < size:
            return index


class Skips:
    """Ranges of positions that are passed over: what comes next takes their place.

    Args:
        ranges: half-open (start, end) pairs from 0, in any order; they may overlap.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[tuple[int, int]] = []
        for start, end in sorted(pair for pair in ranges if pair[0] < pair[1]):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self.ranges: Sequence[tuple[int, int]] = merged
        self._passed, self._kept_before = [0], []
        for start, end in merged:
            self._kept_before.append(start - self._passed[-1])
            self._passed.append(self._passed[-1] + end - start)

    def place(self, index: int) -> int:
        """The position of the ``index``-th one that is not passed over (both from 0)."""
        return index + self._passed[bisect_right(self._kept_before, index)]
