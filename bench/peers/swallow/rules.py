"""The quality rules of Swallow corpus v1 as described, in pure Python: every measure of a text, then the decision."""

from __future__ import annotations

import re
from collections import Counter

KANJI = re.compile("[々〇〻\u3400-\u9fff\uf900-\ufaff]")
SENTENCE = re.compile("[^。．！？!?]+[。．！？!?]?")
TOP = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
MAX_NG_SHARE = 0.05


def letters(text: str) -> dict[str, int]:
    """Letters by kind, one character at a time."""
    counts = dict.fromkeys(("hiragana", "katakana", "kuten", "toten"), 0)
    for character in text:
        point = ord(character)
        if 0x3041 <= point <= 0x3096:
            counts["hiragana"] += 1
        elif 0x30A1 <= point <= 0x30FA:
            counts["katakana"] += 1
        elif character in ("、", "，"):
            counts["toten"] += 1
        elif character in ("。", "．", "！", "？"):
            counts["kuten"] += 1
    counts["kanji"] = len(KANJI.findall(text))
    return counts


def duplicates(parts: list[str]) -> tuple[float, float]:
    """Shares of repeated parts and of their characters."""
    counts = Counter(parts)
    again = sum(count - 1 for count in counts.values())
    characters = sum(len(part) * (count - 1) for part, count in counts.items())
    return again / max(1, len(parts)), characters / max(1, sum(map(len, parts)))


def measures(text: str) -> dict[str, float]:
    """All measures of a text, whatever the first of them says."""
    lines = [SENTENCE.findall(line) for line in text.split("\n")]
    sentences = [sentence for line in lines for sentence in line]
    found: dict[str, float] = {}
    found["lines"], found["line_characters"] = duplicates(["".join(line) for line in lines])
    found["sentences"], found["sentence_characters"] = duplicates(sentences)
    for n in range(2, 11):
        counts = Counter([text[i : i + n] for i in range(len(text) - n + 1)])
        if n <= 4:
            found[f"top{n}"] = max(counts.values(), default=0) / max(1, sum(counts.values()))
        else:
            found[f"duplicated{n}"] = sum(1 for count in counts.values() if count > 1) / max(1, len(counts))
    kinds = letters(text)
    japanese = sum(kinds.values())
    lengths = [len(sentence) for sentence in sentences] or [0]
    ellipses = sum(1 for sentence in sentences if sentence.strip().endswith(("・", "…")))
    return found | {
        "letters": len(text),
        "japanese": japanese,
        "hiragana": kinds["hiragana"] / max(1, japanese),
        "katakana": kinds["katakana"] / max(1, japanese),
        "japanese_share": japanese / max(1, len(text)),
        "mean_sentence": sum(lengths) / len(lengths),
        "longest_sentence": max(lengths),
        "ellipses": ellipses / max(1, len(sentences)),
    }


def keep(found: dict[str, float], ng_share: float) -> bool:
    """The decision over a text's measures."""
    return (
        found["letters"] >= 400
        and found["lines"] <= 0.30
        and found["sentences"] <= 0.30
        and found["line_characters"] <= 0.20
        and found["sentence_characters"] <= 0.20
        and all(found[f"top{n}"] <= limit for n, limit in TOP.items())
        and all(found[f"duplicated{n}"] <= limit for n, limit in DUPLICATED.items())
        and found["hiragana"] >= 0.2
        and found["katakana"] <= 0.5
        and found["japanese_share"] >= 0.5
        and found["japanese"] >= 400
        and 20 <= found["mean_sentence"] <= 90
        and found["longest_sentence"] <= 200
        and found["ellipses"] <= 0.2
        and ng_share < MAX_NG_SHARE
    )


class Words:
    """The scan for listed words: at every place the rest of the text is encoded and its longest listed prefix taken.

    The published scan encodes the rest of the text anew at every place, which makes it quadratic, and asks a
    double-array trie in C++; here a look-up by the first character stands for the trie.
    """

    def __init__(self, words: list[str]) -> None:
        self.by_first: dict[str, list[bytes]] = {}
        for word in sorted(words, key=len, reverse=True):
            self.by_first.setdefault(word[0], []).append(word.encode())

    def covered(self, text: str) -> int:
        """How many characters listed words cover."""
        place = covered = 0
        while place < len(text):
            rest = text[place:].encode("utf-8", "replace")
            longest = next((word for word in self.by_first.get(text[place], ()) if rest.startswith(word)), b"")
            covered += len(longest.decode())
            place += len(longest.decode()) or 1
        return covered
