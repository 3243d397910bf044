"""Character n-grams of a text, hashed: the features of learned scores.

A text is folded first: width and case as in NFKC, digits to 0, runs of space to one. The value of a feature is the
square root of how often it occurs, and all values of a text have length 1; so what a text scores does not grow with it.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np

from shikomi.corpus.measures import code_points

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_BASE = np.uint64(0xD6E8FEB86659FD93)
"""Odd constants of the rolling 64-bit hash (as in ``measures``)."""
_SPACE = ord(" ")


def fold(text: str, max_characters: int) -> np.ndarray:
    """The folded code points of the first ``max_characters`` of a text, uint32 [characters or fewer]."""
    points = code_points(text[:max_characters])
    folded = np.where(points < 0x10000, _folding()[np.minimum(points, 0xFFFF)], points)
    space = folded == _SPACE
    return folded[~(space & np.concatenate(([True], space[:-1])))] if len(folded) else folded


@cache
def _folding() -> np.ndarray:
    """What each character of the basic plane becomes, uint32 [65536]."""
    table = np.arange(0x10000, dtype=np.uint32)
    for point in range(0x10000):
        character = chr(point)
        kind = unicodedata.category(character)
        if kind == "Nd":
            table[point] = ord("0")
        elif kind in ("Zs", "Zl", "Zp", "Cc"):
            table[point] = _SPACE
        else:
            plain = unicodedata.normalize("NFKC", character).lower()
            if len(plain) == 1:
                table[point] = ord("0") if unicodedata.category(plain) == "Nd" else ord(plain)
    return table


def hashed(points: np.ndarray, longest: int, bits: int) -> list[np.ndarray]:
    """The feature of every n-gram by where it starts, for n from 1 to ``longest``; uint32 [characters - n + 1] each."""
    mixed = (points.astype(np.uint64) + np.uint64(1)) * _SPREAD
    mixed ^= mixed >> np.uint64(29)
    shift = np.uint64(64 - bits)
    keys, found = mixed * _BASE, []
    for n in range(1, longest + 1):
        if n > 1:
            keys = keys[:-1] * _BASE + mixed[n - 1 :]
        found.append((keys >> shift).astype(np.uint32))
        if len(keys) < 2:
            break
    return found


def features(points: np.ndarray, longest: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct features of folded code points, ascending, and their values: uint32 and float32 [features]."""
    every = np.concatenate(hashed(points, longest, bits))
    every.sort()
    first = np.empty(len(every) + 1, dtype=bool)
    first[:1], first[-1] = True, True
    np.not_equal(every[1:], every[:-1], out=first[1:-1])
    edges = np.flatnonzero(first) if len(every) else np.zeros(1, dtype=np.intp)
    counts = (edges[1:] - edges[:-1]).astype(np.float32)
    # The squares of the values add up to 1, for the counts add up to the number of n-grams.
    return every[edges[:-1]], np.sqrt(counts / np.float32(max(1, len(every))))
