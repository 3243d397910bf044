"""Every measure of a document's text, over code points with numpy: those of Swallow corpus v1 and their counts.

Definitions (Swallow corpus v1, as its published code computes them; checked against a slow reference in the tests):

- a *line* is what stands between line feeds; a *sentence* is a run of characters other than ``。．！？!?`` inside a
  line, with at most one of those after it; a *paragraph* is a line's sentences put together;
- *duplicates* of lines and sentences are occurrences after the first; their characters are counted likewise;
- the share of the top n-gram is over occurrences, the share of duplicate n-grams over **types** (n-grams are over
  characters, line feeds included);
- kanji are 々〇〻, U+3400 to U+9FFF and U+F900 to U+FAFF; katakana end at U+30FA (no ー), hiragana at U+3096.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from shikomi.data.document import MEASURES

_EXTRA_STOPS = re.compile("(?:(?<=[。．！？!?\n])|\\A)[。．！？!?]+")

HIRAGANA, KATAKANA, KANJI, KUTEN, TOTEN, LONG_VOWEL, SPACE, OTHER = 1, 2, 3, 4, 5, 6, 7, 0
"""Classes of characters; the first five are the Japanese letters of the rules."""
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_BASE = np.uint64(0xD6E8FEB86659FD93)
"""Odd constants of the rolling 64-bit hash; two different n-grams of a text meet with probability about n²/2⁶⁵."""
_TABLE_BITS = 16
_TABLE_SHIFT = np.uint64(64 - _TABLE_BITS)


def _classes() -> np.ndarray:
    table = np.zeros(0x10000, dtype=np.uint8)
    table[0x3041:0x3097] = HIRAGANA
    table[0x30A1:0x30FB] = KATAKANA
    table[0x3400:0xA000] = KANJI
    table[0xF900:0xFB00] = KANJI
    table[[ord(c) for c in "々〇〻"]] = KANJI
    table[[ord(c) for c in "。．！？"]] = KUTEN
    table[[ord(c) for c in "、，"]] = TOTEN
    table[ord("ー")] = LONG_VOWEL
    table[[ord(c) for c in " \t\n\r\u00a0\u3000"]] = SPACE
    return table


_STOP, _LINE_FEED = 1, 2


def _breaks() -> np.ndarray:
    table = np.zeros(0x10000, dtype=np.uint8)
    table[[ord(c) for c in "。．！？!?"]] = _STOP
    table[ord("\n")] = _LINE_FEED
    return table


_CLASS = _classes()
_BREAK = _breaks()


def code_points(text: str) -> np.ndarray:
    """Code points of a text, uint32 [characters]."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def class_counts(points: np.ndarray) -> np.ndarray:
    """How many characters of each class there are, int64 [8]."""
    return np.bincount(_CLASS[np.minimum(points, 0xFFFF)], minlength=8)


def measure(text: str) -> dict[str, float]:
    """All measures of ``text``, by the names in ``data.document.MEASURES``; every share of nothing is 0."""
    points = code_points(text)
    values = _letters(points) | _sentences(text, points) | _ngrams(points)
    return {name: values[name] for name in MEASURES}


def sentence_bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where sentences start and end: ``(starts, stops, closed)``, int64 and bool [sentences].

    A sentence is ``points[start:stop]``; ``closed`` says whether its last character is a stop.
    """
    marks = np.concatenate(([_LINE_FEED], _BREAK[np.minimum(points, 0xFFFF)], [_LINE_FEED]))
    inside = marks == 0
    edges = np.flatnonzero(inside[1:] != inside[:-1])  # index i: between points[i-1] and points[i]
    starts, ends = edges[::2], edges[1::2]
    closed = marks[ends + 1] == _STOP
    return starts, ends + closed, closed


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _letters(points: np.ndarray) -> dict[str, float]:
    counts = class_counts(points)
    japanese = int(counts[HIRAGANA : TOTEN + 1].sum())
    hiragana, katakana = int(counts[HIRAGANA]), int(counts[KATAKANA])
    return {
        "letters": len(points),
        "hiragana_letters": hiragana,
        "katakana_letters": katakana,
        "kanji_letters": int(counts[KANJI]),
        "kuten": int(counts[KUTEN]),
        "toten": int(counts[TOTEN]),
        "japanese_letters": japanese,
        "hiragana_fraction": _share(hiragana, japanese),
        "katakana_fraction": _share(katakana, japanese),
        "japanese_fraction": _share(japanese, len(points)),
    }


def _sentences(text: str, points: np.ndarray) -> dict[str, float]:
    starts, stops, closed = sentence_bounds(points)
    sentences = [text[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    lengths = stops - starts
    characters = int(lengths.sum())
    # With no stop after another stop or at a line's start, a line is its sentences.
    paragraphs = (text if characters + text.count("\n") == len(text) else _EXTRA_STOPS.sub("", text)).split("\n")
    ellipses = sum(sentences[index].rstrip().endswith(("・", "…")) for index in np.flatnonzero(~closed).tolist())
    same_lines, same_line_characters = _duplicates(paragraphs)
    same_sentences, same_sentence_characters = _duplicates(sentences)
    return {
        "sentences": len(sentences),
        "max_sentence_length": int(lengths.max(initial=0)),
        "mean_sentence_length": _share(characters, len(sentences)),
        "ellipsis_fraction": _share(ellipses, len(sentences)),
        "duplicate_paragraph_fraction": _share(same_lines, len(paragraphs)),
        "duplicate_paragraph_characters_fraction": _share(same_line_characters, characters),
        "duplicate_sentence_fraction": _share(same_sentences, len(sentences)),
        "duplicate_sentence_characters_fraction": _share(same_sentence_characters, characters),
    }


def _duplicates(parts: list[str]) -> tuple[int, int]:
    """How many parts repeat an earlier one, and their characters."""
    distinct = dict.fromkeys(parts)
    if len(distinct) == len(parts):
        return 0, 0
    counts = Counter(parts)
    return len(parts) - len(counts), sum(len(part) * (count - 1) for part, count in counts.items() if count > 1)


def _ngrams(points: np.ndarray) -> dict[str, float]:
    """Top shares of 2- to 4-grams and duplicate shares of 5- to 10-grams.

    An n-gram occurs twice only where its first n-1 characters do, so from 5-grams on only the places whose shorter
    n-gram may repeat are looked at again (a table of hash bits says which; a false yes costs time, not exactness).
    """
    mixed = (points.astype(np.uint64) + np.uint64(1)) * _SPREAD
    mixed ^= mixed >> np.uint64(29)
    values: dict[str, float] = {}
    keys, places = mixed, None
    for n in range(2, 11):
        keys = keys[:-1] * _BASE + mixed[n - 1 :]
        total = len(keys)
        if places is not None:
            places = places[: np.searchsorted(places, total)]
        seen = keys if places is None else keys[places]
        ordered = np.sort(seen)
        same = ordered[1:] == ordered[:-1]
        if n <= 4:
            values[f"top_{n}gram_fraction"] = _share(_longest_run(same) if total else 0, total)
        else:
            repeated = int(np.count_nonzero(same[1:] > same[:-1])) + int(same[:1].sum())
            values[f"duplicate_{n}gram_fraction"] = _share(repeated, total - int(np.count_nonzero(same)))
        if n >= 4:
            table = np.zeros(1 << _TABLE_BITS, dtype=bool)
            table[ordered[1:][same] >> _TABLE_SHIFT] = True
            chosen = np.flatnonzero(table[seen >> _TABLE_SHIFT])
            places = chosen if places is None else places[chosen]
    return values


def _longest_run(same: np.ndarray) -> int:
    """Size of the largest group in a sorted row, from whether each entry equals the one before; bool [entries - 1]."""
    edges = np.flatnonzero(np.concatenate(([True], ~same, [True])))
    return int(np.diff(edges).max())
