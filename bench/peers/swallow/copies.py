"""Near copies as doubri finds them: 40 buckets of 20 MinHash values over character 5-grams, the first document wins.

doubri is a C++ program; here numpy computes the same 800 values a document (32-bit, one mixing of the 5-gram's hash a
seed instead of a whole MurmurHash3 of its bytes, which is less work).
"""

from __future__ import annotations

import zlib

import numpy as np

BUCKETS, ROWS, SHINGLE = 40, 20, 5
_BLOCK = 1 << 16


def _seeds() -> np.ndarray:
    return np.random.default_rng(20_40).integers(1, 1 << 32, (BUCKETS * ROWS, 1), dtype=np.uint32)


_SEEDS = _seeds()


def buckets(text: str) -> list[bytes]:
    """The 40 bucket values of a text."""
    grams = {text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1))}
    hashed = np.fromiter((zlib.crc32(gram.encode("utf-8", "replace")) for gram in grams), np.uint32, len(grams))
    smallest = np.full(len(_SEEDS), 0xFFFFFFFF, dtype=np.uint32)
    step = max(1, _BLOCK // len(_SEEDS))
    for start in range(0, len(hashed), step):
        mixed = hashed[start : start + step] ^ _SEEDS
        mixed ^= mixed >> np.uint32(16)
        mixed *= np.uint32(0x85EBCA6B)
        mixed ^= mixed >> np.uint32(13)
        mixed *= np.uint32(0xC2B2AE35)
        mixed ^= mixed >> np.uint32(16)
        np.minimum(smallest, mixed.min(axis=1), out=smallest)
    return [row.tobytes() for row in smallest.reshape(BUCKETS, ROWS)]


class Seen:
    """Buckets of all documents so far."""

    def __init__(self) -> None:
        self.buckets: list[set[bytes]] = [set() for _ in range(BUCKETS)]

    def is_copy(self, text: str) -> bool:
        """Whether a text shares a bucket with an earlier one; a copy leaves no trace."""
        values = buckets(text)
        if any(value in seen for value, seen in zip(values, self.buckets, strict=True)):
            return True
        for value, seen in zip(values, self.buckets, strict=True):
            seen.add(value)
        return False
