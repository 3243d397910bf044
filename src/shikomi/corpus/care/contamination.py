"""The index of evaluation sets: every field's n-grams of characters by their hashes, asked once for each document.

Texts are compared after NFKC, in lower case, without space, punctuation and symbols. An n-gram is known by a 64-bit
hash of its characters. A document is hashed once, in time linear in its length; a table of bits answers for nearly all
n-grams of nearly all documents that no evaluation set has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from shikomi.corpus.text.folding import nfkc

_BASE = 0x9E3779B97F4A7C15
"""Multiplier of the hash, odd: it has an inverse modulo 2⁶⁴ (2⁶⁴ divided by the golden ratio)."""
_INVERSE = pow(_BASE, -1, 1 << 64)
_BITS_A_KEY = 16
"""Size of the table of bits: one n-gram in sixteen that is in no set is looked for in vain."""

_DROP, _KEEP, _BORDER, _SOFT = range(4)
_BORDERS = "\n\r\t。!?;、「」『』()[]【】|"
"""Where parts of a text end, after NFKC; commas, points and colons too, unless a letter or digit follows."""
_SOFT_BORDERS = ",:."


class Compared:
    """A text as it is compared: NFKC, lower case, letters and digits only.

    Attributes:
        plain: the characters that count.
        codes: their code points; uint32 [characters].
    """

    def __init__(self, text: str) -> None:
        folded = nfkc(text).lower()
        codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        self._kinds = _kinds()[np.minimum(codes, _LAST)]
        kept = self._kinds == _KEEP
        self._kept_before = np.cumsum(kept)
        self.codes = codes[kept]
        self.plain = self.codes.tobytes().decode("utf-32-le", "surrogatepass")

    def short_parts(self, characters: int) -> set[str]:
        """The parts with fewer characters than that, apart at line ends, sentence ends, commas, brackets, colons."""
        after = np.append(self._kinds[1:], np.uint8(_BORDER))
        ends = (self._kinds == _BORDER) | ((self._kinds == _SOFT) & (after != _KEEP))
        places = np.concatenate(([0], self._kept_before[ends], [len(self.plain)]))
        sizes = np.diff(places)
        starts = places[:-1][(sizes > 0) & (sizes < characters)].tolist()
        sizes = sizes[(sizes > 0) & (sizes < characters)].tolist()
        return {self.plain[start : start + size] for start, size in zip(starts, sizes, strict=True)}


def comparable(text: str) -> str:
    """A text as it is compared: NFKC, lower case, letters and digits only."""
    return Compared(text).plain


_LAST = 0x10000
"""All characters from here on count as letters: rare kanji; the emoji among them do no harm."""


@cache
def _kinds() -> np.ndarray:
    """What a character is to the comparison, by code point; uint8 [_LAST + 1]."""
    kinds = np.fromiter((_KEEP if chr(code).isalnum() else _DROP for code in range(_LAST + 1)), np.uint8, _LAST + 1)
    kinds[[ord(mark) for mark in _BORDERS]] = _BORDER
    kinds[[ord(mark) for mark in _SOFT_BORDERS]] = _SOFT
    kinds[_LAST] = _KEEP
    return kinds


class Hashed:
    """The code points of a comparable text, whose n-grams can be hashed for any n: one sum serves all.

    Attributes:
        sums: uint64 [characters + 1], Σ (character + 1) · base^place.
    """

    def __init__(self, codes: np.ndarray) -> None:
        codes = codes.astype(np.uint64)
        self.sums = np.zeros(len(codes) + 1, dtype=np.uint64)
        np.cumsum((codes + np.uint64(1)) * _powers(_size(len(codes)), _BASE)[: len(codes)], out=self.sums[1:])

    def ngrams(self, n: int) -> np.ndarray:
        """Hashes of the n-grams in order; uint64 [characters - n + 1], empty if the text is shorter."""
        if len(self.sums) <= n:
            return np.zeros(0, dtype=np.uint64)
        found = self.sums[n:] - self.sums[:-n]
        found *= _powers(_size(len(self.sums)), _INVERSE)[: len(found)]
        found ^= found >> np.uint64(32)
        found *= np.uint64(_BASE)
        return found


def code_points(plain: str) -> np.ndarray:
    """The code points of a text; uint32 [characters]."""
    return np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _size(length: int) -> int:
    return 1 << max(12, length.bit_length())


@cache
def _powers(length: int, base: int) -> np.ndarray:
    """base⁰, base¹ … modulo 2⁶⁴; uint64 [length]."""
    values = np.full(length, base, dtype=np.uint64)
    values[0] = 1
    return np.multiply.accumulate(values)


@dataclass(frozen=True)
class Index:
    """n-grams of many fields for one n.

    Attributes:
        n: characters of an n-gram.
        keys: the hashes, sorted, each once; uint64 [keys].
        starts: where a key's places start in ``fields`` and ``offsets``; int64 [keys + 1].
        fields: number of the field; int32 [places].
        offsets: place in the field, in characters; int32 [places].
        bits: whether a hash with those first bits may be there; bool [2^bits].
        shift: how far a hash is shifted to give its place in ``bits``.
    """

    n: int
    keys: np.ndarray
    starts: np.ndarray
    fields: np.ndarray
    offsets: np.ndarray
    bits: np.ndarray
    shift: int

    def shared(self, hashed: Hashed) -> tuple[np.ndarray, np.ndarray]:
        """Places in fields that a document shares: (field, offset), both int32 [places]."""
        hashes = hashed.ngrams(self.n)
        hashes = hashes[self.bits[hashes >> np.uint64(self.shift)]] if len(self.keys) else hashes[:0]
        if not len(hashes):
            return self.fields[:0], self.offsets[:0]
        hashes = np.unique(hashes)
        places = np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)
        places = places[self.keys[places] == hashes]
        counts = self.starts[places + 1] - self.starts[places]
        first = np.repeat(self.starts[places] - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
        chosen = first + np.arange(int(counts.sum()))
        return self.fields[chosen], self.offsets[chosen]


ARRAYS = ("keys", "starts", "fields", "offsets", "bits")
"""The arrays of an index."""


def make_index(n: int, fields: dict[int, str]) -> Index:
    """The index of fields given by their numbers; every text has at least n characters."""
    hashes = [Hashed(code_points(plain)).ngrams(n) for plain in fields.values()]
    flat = np.concatenate([np.zeros(0, dtype=np.uint64), *hashes])
    numbers = np.repeat(np.array([*fields], dtype=np.int32), [len(found) for found in hashes])
    offsets = np.concatenate(
        [np.zeros(0, dtype=np.int32), *(np.arange(len(found), dtype=np.int32) for found in hashes)]
    )
    order = np.argsort(flat, kind="stable")
    keys, starts = np.unique(flat[order], return_index=True)
    size = min(26, max(10, (len(keys) * _BITS_A_KEY).bit_length()))
    bits = np.zeros(1 << size, dtype=bool)
    bits[keys >> np.uint64(64 - size)] = True
    ends = np.append(starts, len(flat)).astype(np.int64)
    return Index(n, keys, ends, numbers[order], offsets[order], bits, 64 - size)


def covered(offsets: np.ndarray, n: int, length: int) -> np.ndarray:
    """Which characters of a field stand under a shared n-gram; bool [length]."""
    edges = np.zeros(length + 1, dtype=np.int32)
    np.add.at(edges, offsets, 1)
    np.add.at(edges, offsets + n, -1)
    return np.cumsum(edges[:-1]) > 0


def longest_shared(field: str, document: str, known: int) -> tuple[int, int]:
    """The longest stretch of a field that a document holds: (start in the field, characters).

    A stretch of ``known`` characters has to be there.
    """
    best, start, place = known - 1, 0, 0
    while place + best < len(field):
        if field[place : place + best + 1] in document:
            best, start = best + 1, place
        else:
            place += 1
    return start, best
