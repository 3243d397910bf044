"""How alike two texts are, and how much one repeats itself: by character 5-grams."""

from __future__ import annotations

from collections import Counter

GRAM_CHARS = 5


def shingles(text: str) -> set[str]:
    """Character 5-grams of a text, white space left out (as copies are compared)."""
    text = "".join(text.split())
    return {text[start : start + GRAM_CHARS] for start in range(len(text) - GRAM_CHARS + 1)}


def jaccard(first: str, second: str) -> float:
    """Jaccard similarity of two texts' 5-grams, from 0 (nothing shared) to 1."""
    left, right = shingles(first), shingles(second)
    union = len(left | right)
    return len(left & right) / union if union else 1.0


def repeated_share(text: str) -> float:
    """Share of the 5-gram types of a text that occur more than once (Swallow's rule allows 0.15)."""
    counts = Counter(text[start : start + GRAM_CHARS] for start in range(len(text) - GRAM_CHARS + 1))
    return sum(count > 1 for count in counts.values()) / len(counts) if counts else 0.0
