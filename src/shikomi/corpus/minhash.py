"""Signatures of texts: two signatures agree in as large a share of slots as the texts share of character 5-grams.

The signature is a fast similarity sketch (Dahlgaard, Knudsen and Thorup, 2017, arXiv:1704.04370): every 5-gram falls
into one slot and a slot keeps its smallest value; slots left empty are filled in further rounds with other hashes. Like
MinHash it estimates the Jaccard similarity without bias, at one pass over the text instead of one a slot.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from shikomi.corpus.measures import code_points

SHINGLE = 5
"""Characters of a shingle (Swallow corpus v1)."""
_ROUNDS = 32
"""Rounds of filling; then each slot still empty takes its value from a hash of its own (only texts of few shingles)."""

_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = 0x9E3779B97F4A7C15
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ROUND_BITS = np.uint64(6)


def exact_key(text: str) -> bytes:
    """16 bytes that are equal for equal texts (BLAKE2b)."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def shingles(text: str) -> np.ndarray:
    """Hashes of a text's character 5-grams, uint64 [shingles], repeats included; a shorter text is one shingle."""
    mixed = _mix(code_points(text).astype(np.uint64), 1)
    length = min(SHINGLE, max(1, len(mixed)))
    if len(mixed) == 0:
        return np.zeros(1, dtype=np.uint64)
    keys = mixed[: len(mixed) - length + 1].copy()
    for offset in range(1, length):
        keys = keys * _MIX_1 + mixed[offset : offset + len(keys)]
    return keys


def signature(text: str, slots: int) -> np.ndarray:
    """The signature of a text, uint32 [slots].

    A slot's value is the smallest hash of the first round that reaches it; as many rounds are made at once as are
    expected to fill every slot, which changes nothing but the time.
    """
    keys = shingles(text)
    values = np.zeros(slots, dtype=np.uint32)
    filled = np.zeros(slots, dtype=bool)
    made = 0
    while made < _ROUNDS and not filled.all():
        expected = math.ceil(slots * math.log(slots * 20) / len(keys)) if made == 0 else 1
        rounds = np.arange(made, min(_ROUNDS, made + expected), dtype=np.uint64)
        made += len(rounds)
        hashed = _finish(keys + (rounds[:, None] + np.uint64(2)) * np.uint64(_STEP))
        places = ((hashed >> _HALF) * np.uint64(slots)) >> _HALF
        order = np.sort(((places << _ROUND_BITS | rounds[:, None]) << _HALF | (hashed & _LOW)).ravel())
        places = order >> (_HALF + _ROUND_BITS)
        first = np.ones(len(order), dtype=bool)
        np.not_equal(places[1:], places[:-1], out=first[1:])
        reached = places[first]
        new = ~filled[reached]
        values[reached[new]] = (order[first][new] & _LOW).astype(np.uint32)
        filled[reached] = True
    for slot in np.flatnonzero(~filled):
        values[slot] = np.uint32(_mix(keys, 1000 + int(slot)).min() >> _HALF)
    return values


def band_keys(values: np.ndarray, bands: int) -> np.ndarray:
    """One 64-bit key a band of a signature, uint64 [bands]; texts that share a key are candidates for copies."""
    rows = _mix(values.astype(np.uint64).reshape(bands, -1), 3)
    factors = _mix(np.arange(rows.shape[1], dtype=np.uint64), 5) | np.uint64(1)
    return _mix((rows * factors).sum(axis=1, dtype=np.uint64), 7)


def _mix(values: np.ndarray, seed: int) -> np.ndarray:
    """Hashes of 64-bit values, another hash function for each seed."""
    return _finish(values + np.uint64(seed * _STEP & 0xFFFFFFFFFFFFFFFF))


def _finish(mixed: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014); changes its argument."""
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return mixed
