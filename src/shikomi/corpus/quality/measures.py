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

_SENTENCE = re.compile("[^。．！？!?\n]+[。．！？!?]?")
_STOPS = "。．！？!?"
_EXTRA_STOPS = re.compile(f"[{_STOPS}](?<=[{_STOPS}\n][{_STOPS}])[{_STOPS}]*")  # a class first is found fast
_ELLIPSIS_AT_LINE_END = re.compile(r"[・…][^\S\n]*(?=\n|\Z)")

HIRAGANA, KATAKANA, KANJI, KUTEN, TOTEN, LONG_VOWEL, SPACE, OTHER = 1, 2, 3, 4, 5, 6, 7, 0
"""Classes of characters; the first five are the Japanese letters of the rules."""
_LONGEST = 10
"""Longest n-grams that are counted."""


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


_CLASS = _classes()


def code_points(text: str) -> np.ndarray:
    """Code points of a text, uint32 [characters]."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def class_counts(points: np.ndarray) -> np.ndarray:
    """How many characters of each class there are, int64 [8]."""
    classes = _CLASS.take(points, mode="clip")  # the last entry, U+FFFF, is of no class
    return np.array([np.count_nonzero(classes == number) for number in range(8)])


def measure(text: str) -> dict[str, float]:
    """All measures of ``text``, by the names in ``data.document.MEASURES``; every share of nothing is 0."""
    points = code_points(text)
    distinct, counts = _distinct(points)
    values = _letters(distinct, counts, len(points)) | _sentences(text) | _ngrams(points, distinct)
    return {name: values[name] for name in MEASURES}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _distinct(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different characters of a text in order, uint32, and how often each occurs, int64."""
    if not len(points):
        return points, np.zeros(0, dtype=np.int64)
    if points.max() < len(_CLASS):
        seen = np.zeros(len(_CLASS), dtype=bool)
        seen[points] = True
        distinct = seen.nonzero()[0].astype(np.uint32)
        numbers = _numbered(points, distinct)
        return distinct, np.bincount(numbers, minlength=len(distinct) + 1)[1:]
    return np.unique(points, return_counts=True)


def _letters(distinct: np.ndarray, counts: np.ndarray, length: int) -> dict[str, float]:
    classes = _CLASS[np.minimum(distinct, 0xFFFF)]
    by_class = np.bincount(classes, weights=counts, minlength=8).astype(np.int64).tolist()
    japanese = sum(by_class[HIRAGANA : TOTEN + 1])
    hiragana, katakana = by_class[HIRAGANA], by_class[KATAKANA]
    return {
        "letters": length,
        "hiragana_letters": hiragana,
        "katakana_letters": katakana,
        "kanji_letters": by_class[KANJI],
        "kuten": by_class[KUTEN],
        "toten": by_class[TOTEN],
        "japanese_letters": japanese,
        "hiragana_fraction": _share(hiragana, japanese),
        "katakana_fraction": _share(katakana, japanese),
        "japanese_fraction": _share(japanese, length),
    }


def _sentences(text: str) -> dict[str, float]:
    sentences = _SENTENCE.findall(text)
    lengths = list(map(len, sentences))
    characters = sum(lengths)
    # With no stop after another stop or at a line's start, a line is its sentences.
    if characters + text.count("\n") == len(text):
        paragraphs = text.split("\n")
    else:
        paragraphs = _EXTRA_STOPS.sub("", text.lstrip(_STOPS)).split("\n")
    # A sentence without a stop ends where its line does.
    ellipses = len(_ELLIPSIS_AT_LINE_END.findall(text)) if "…" in text or "・" in text else 0
    same_lines, same_line_characters = _duplicates(paragraphs)
    same_sentences, same_sentence_characters = _duplicates(sentences)
    return {
        "sentences": len(sentences),
        "max_sentence_length": max(lengths, default=0),
        "mean_sentence_length": _share(characters, len(sentences)),
        "ellipsis_fraction": _share(ellipses, len(sentences)),
        "duplicate_paragraph_fraction": _share(same_lines, len(paragraphs)),
        "duplicate_paragraph_characters_fraction": _share(same_line_characters, characters),
        "duplicate_sentence_fraction": _share(same_sentences, len(sentences)),
        "duplicate_sentence_characters_fraction": _share(same_sentence_characters, characters),
    }


def _duplicates(parts: list[str]) -> tuple[int, int]:
    """How many parts repeat an earlier one, and their characters."""
    distinct = set(parts)
    if len(distinct) == len(parts):
        return 0, 0
    counts = Counter(parts)
    return len(parts) - len(counts), sum(len(part) * (count - 1) for part, count in counts.items() if count > 1)


def _ngrams(points: np.ndarray, distinct: np.ndarray) -> dict[str, float]:
    """Top shares of 2- to 4-grams and duplicate shares of 5- to 10-grams.

    The places of a text are sorted by the characters that follow, as many of them as fit into 64 bits (numbered by
    the text's own alphabet) beside the place itself; then neighbours that agree in their first n characters are one
    n-gram, for every n at once. An n-gram occurs twice only where its first characters do, so only places that agree
    with a neighbour throughout are sorted again, by the characters after those. Exact: nothing is hashed.
    """
    length = len(points)
    values = _unrepeated(length)
    if length < 2:
        return values
    bits, place_bits = len(distinct).bit_length(), (length - 1).bit_length()
    numbers = np.zeros(length + 2 * _LONGEST, dtype=np.uint64)  # 0 stands beyond the end, where no n-gram reaches
    numbers[:length] = _numbered(points, distinct)
    width = min(_LONGEST, (64 - place_bits) // bits)
    following = _windows(numbers, width, bits)  # [length + _LONGEST and more]
    keys = np.sort(following[:length] << np.uint64(place_bits) | np.arange(length, dtype=np.uint64))
    known, shift = width, place_bits
    same = _count_ngrams(values, keys, length, range(2, known + 1), known, bits, shift)
    while known < _LONGEST:
        places, groups = _repeated(keys, same, place_bits)
        if not len(places):
            break
        room = 64 - int(groups[-1]).bit_length()
        step = min(width, _LONGEST - known, room // bits)
        shift = 0
        if known + step < _LONGEST:  # not the last round: the places are needed again
            step, shift = min(step, (room - place_bits) // bits), place_bits
        further = following[places + np.uint64(known)] >> np.uint64(bits * (width - step))
        keys = groups << np.uint64(bits * step) | further
        keys = np.sort(keys << np.uint64(shift) | places if shift else keys)
        same = _count_ngrams(values, keys, length, range(known + 1, known + step + 1), known + step, bits, shift)
        known += step
    return values


def _numbered(points: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    """A text's characters by their number in its alphabet, from 1; uint32 [characters]."""
    number = np.empty(int(distinct[-1]) + 1, dtype=np.uint32)
    number[distinct] = np.arange(1, len(distinct) + 1, dtype=np.uint32)
    return number[points]


def _windows(numbers: np.ndarray, width: int, bits: int) -> np.ndarray:
    """Every ``width`` numbers in a row as one number of ``width * bits`` bits; uint64 [numbers - width + 1]."""
    spans = {1: numbers}
    size = 1
    while 2 * size <= width:
        whole = spans[size]
        spans[2 * size] = whole[:-size] << np.uint64(bits * size) | whole[size:]
        size *= 2
    made, count = spans[size], len(numbers) - width + 1
    while size < width:
        more = 1 << ((width - size).bit_length() - 1)
        made = made[:count] << np.uint64(bits * more) | spans[more][size : size + count]
        size += more
    return made


def _repeated(keys: np.ndarray, same: np.ndarray, place_bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Places whose sorted key agrees with a neighbour's, and the number of the group they form; uint64 [places]."""
    member = np.zeros(len(keys), dtype=bool)
    member[1:] = same
    member[:-1] |= same
    index = member.nonzero()[0]
    places = keys[index] & np.uint64((1 << place_bits) - 1)
    begins = ~same[index[1:] - 1]
    groups = np.zeros(len(index), dtype=np.uint64)
    np.cumsum(begins, out=groups[1:])
    return places, groups


def _count_ngrams(
    values: dict[str, float], keys: np.ndarray, length: int, sizes: range, known: int, bits: int, shift: int
) -> np.ndarray:
    """Fill in the shares of n-grams of ``sizes`` from sorted keys that hold ``known`` characters above ``shift`` bits.

    Returns:
        Whether a key's characters all agree with those of the one before, bool [keys - 1].
    """
    differing = keys[1:] ^ keys[:-1]
    limit = np.uint64(0)
    for n in sizes:
        limit = np.uint64(1 << (shift + bits * (known - n)))
        total = length - n + 1
        if total <= 0:
            continue
        if n <= 4:
            values[f"top_{n}gram_fraction"] = _longest_run(differing >= limit) / total
            continue
        same = differing < limit
        if repeats := int(np.count_nonzero(same)):
            groups = int(np.count_nonzero(same[1:] > same[:-1])) + bool(same[0])
            values[f"duplicate_{n}gram_fraction"] = groups / (total - repeats)
    return differing < limit


def _unrepeated(length: int) -> dict[str, float]:
    """The shares of a text in which no n-gram occurs twice."""
    values = {f"top_{n}gram_fraction": _share(1, max(0, length - n + 1)) for n in range(2, 5)}
    return values | {f"duplicate_{n}gram_fraction": 0.0 for n in range(5, _LONGEST + 1)}


def _longest_run(differs: np.ndarray) -> int:
    """Size of the largest group in a sorted row, from whether each entry is not the one before; bool [entries - 1]."""
    edges = differs.nonzero()[0]
    if not len(edges):
        return len(differs) + 1
    inner = int((edges[1:] - edges[:-1]).max(initial=0))
    return max(inner, int(edges[0]) + 1, len(differs) - int(edges[-1]))
