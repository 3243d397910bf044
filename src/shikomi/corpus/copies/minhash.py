"""Signatures of texts: two signatures agree in as large a share of slots as the texts share of character 5-grams.

The signature is a fast similarity sketch (Dahlgaard, Knudsen and Thorup, 2017, arXiv:1704.04370): every 5-gram falls
into one slot and a slot keeps its smallest value; slots left empty are filled in further rounds with other hashes. Like
MinHash it estimates the Jaccard similarity without bias, at one pass over the text instead of one a slot.

5-grams are hashed to 32 bits: two of a text's 10,000 meet by accident in one text of a hundred, which changes an
estimate by a ten-thousandth. The place of a 5-gram in a round is taken from the upper bits of its hash.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import unicodedata

import numpy as np

from shikomi.corpus.quality.measures import code_points

VERSION = 4
"""Of the signature; signatures of different versions cannot be compared."""
SHINGLE = 5
"""Characters of a shingle (Swallow corpus v1)."""
_HALF_WIDTH = re.compile("[\uff66-\uff9f]+")
"""Kana of half width; their voicing marks are characters of their own, joined to them by NFKC."""
_VALUE_BITS = 26
_ROUNDS = 63
"""Rounds of filling; then each slot still empty takes its value from a hash of its own (only texts of few shingles)."""

_SPREAD_1, _SPREAD_2 = np.uint32(0x9E3779B1), np.uint32(0xC2B2AE3D)
"""Odd factors of the hash of a shingle, for neighbours and for neighbours of neighbours."""
_MIX_1, _MIX_2 = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
"""Factors of a 32-bit finaliser without bias to speak of (Wellons, 2018, found by search)."""
_WIDE_1, _WIDE_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP = 0x9E3779B97F4A7C15
_EMPTY = np.uint32(0xFFFFFFFF)
_VALUE = np.uint32((1 << _VALUE_BITS) - 1)


def comparable_points(text: str) -> np.ndarray:
    """Code points of a text as copies are compared, uint32 [characters].

    Marks are joined to their letters (NFC); full and half width and other forms of one character are folded (NFKC of
    it); white space and letter case are taken away. What would be folded to several characters (``…``, ``㎡``) stays:
    NFKC of whole texts took half the time of all signatures on real pages, as nearly every one has such a character.
    """
    if "\uff9e" in text or "\uff9f" in text:
        text = _HALF_WIDTH.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    points = code_points(unicodedata.normalize("NFC", text))
    folded = _folding().take(points, mode="clip")
    if len(points) and points.max() > 0xFFFF:
        folded = np.where(points > 0xFFFF, points, folded)
    stays = folded != 0
    return folded if stays.all() else folded[stays]


@functools.cache
def _folding() -> np.ndarray:
    """Each code point in its plain form, 0 for white space; uint32 [65536]."""
    table = np.arange(0x10000, dtype=np.uint32)
    for start in range(0, 0x10000, 0x100):
        whole = "\0".join(map(chr, range(start, start + 0x100)))
        if unicodedata.normalize("NFKC", whole) == whole.casefold() == whole and len(whole.split()) == 1:
            continue  # most blocks stay as they are, and need no look at each character
        for point in range(start, start + 0x100):
            letter = unicodedata.normalize("NFKC", chr(point))
            if len(letter) == 1:
                folded = letter.casefold()
                table[point] = 0 if letter.isspace() else ord(folded if len(folded) == 1 else letter)
    return table


def exact_key(text: str | np.ndarray) -> bytes:
    """16 bytes that are equal for equal texts, or code points (of SHA-256, for which processors have instructions)."""
    points = code_points(text) if isinstance(text, str) else text
    return hashlib.sha256(points.astype("<u4").tobytes()).digest()[:16]


def shingles(text: str | np.ndarray) -> np.ndarray:
    """Hashes of the character 5-grams of a text (or its code points), uint32 [shingles], repeats included.

    A text of fewer characters is one shingle.
    """
    points = code_points(text) if isinstance(text, str) else text
    if len(points) < SHINGLE:
        points = np.concatenate([points + np.uint32(1), np.zeros(SHINGLE - len(points), dtype=np.uint32)])
    pairs = points[:-1] * _SPREAD_1
    pairs += points[1:]
    fours = pairs[:-2] * _SPREAD_2
    fours += pairs[2:]
    keys = fours[:-1]
    keys *= _SPREAD_1
    keys += points[4:]
    return keys


def signature(text: str | np.ndarray, slots: int) -> np.ndarray:
    """The signature of a text (or its code points), uint32 [slots], slots from 1 to 65,536.

    A slot's value is the smallest hash of the first round that reaches it, the round in its upper bits; as many rounds
    are made at once as are expected to fill every slot, which changes nothing but the time.
    """
    keys = shingles(text)
    values = np.full(slots, _EMPTY)
    expected = math.ceil(slots * math.log(slots * 20) / len(keys))
    made = 0
    while made < _ROUNDS:
        rounds = range(made, min(_ROUNDS, made + expected))
        _fill(keys, rounds, values)
        made = rounds.stop
        expected = max(1, expected // 4)
        if values.max() < _EMPTY:
            break
    last = np.uint32(_ROUNDS << _VALUE_BITS)
    for slot in np.flatnonzero(values == _EMPTY):
        values[slot] = (_finish(keys ^ _salt(_ROUNDS + int(slot))) & _VALUE).min() | last
    return values


def _fill(keys: np.ndarray, rounds: range, values: np.ndarray) -> None:
    """Make some rounds; a slot that an earlier round reached keeps its value, as that one is smaller."""
    salts = np.array([_salt(number) for number in rounds], dtype=np.uint32)
    hashed = _finish(keys ^ salts[:, None])
    places = hashed >> np.uint32(16)
    places *= np.uint32(len(values))
    places >>= np.uint32(16)
    hashed &= _VALUE
    if len(rounds) > 1 or rounds.start:
        hashed |= np.arange(rounds.start, rounds.stop, dtype=np.uint32)[:, None] << np.uint32(_VALUE_BITS)
    np.minimum.at(values, places.ravel().astype(np.intp), hashed.ravel())


@functools.cache
def _salt(number: int) -> np.uint32:
    """What makes the hashes of a round others than those of another."""
    return np.uint32(_widely(np.array([number * _STEP & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))[0] >> np.uint64(32))


def band_keys(values: np.ndarray, bands: int) -> np.ndarray:
    """One 64-bit key a band of one or more signatures; texts that share a key are candidates for copies.

    Args:
        values: uint32 [slots] or [texts, slots].
        bands: how many bands; they share the slots out.

    Returns:
        uint64 [bands] or [texts, bands].
    """
    rows = values.astype(np.uint64).reshape(*values.shape[:-1], bands, values.shape[-1] // bands)
    return _widely(rows @ _factors(rows.shape[-1]))


@functools.cache
def _factors(rows: int) -> np.ndarray:
    """Odd factors of multilinear hashing, uint64 [rows]."""
    numbers = (np.arange(rows, dtype=np.uint64) + np.uint64(1)) * np.uint64(_STEP)
    return _widely(numbers) | np.uint64(1)


def _finish(mixed: np.ndarray) -> np.ndarray:
    """Hashes of 32-bit values, one to one; changes its argument."""
    mixed ^= mixed >> np.uint32(16)
    mixed *= _MIX_1
    mixed ^= mixed >> np.uint32(15)
    mixed *= _MIX_2
    mixed ^= mixed >> np.uint32(16)
    return mixed


def _widely(mixed: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014); changes its argument."""
    mixed ^= mixed >> np.uint64(30)
    mixed *= _WIDE_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _WIDE_2
    mixed ^= mixed >> np.uint64(31)
    return mixed
