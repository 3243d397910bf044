"""What a scorer shows of itself: how sure it may be, where its threshold cuts, and which n-grams it goes by."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from shikomi.corpus.quality.examples import Example
from shikomi.corpus.quality.logistic import Rows
from shikomi.corpus.quality.ngrams import fold, hashed, spelled
from shikomi.recipe.domain import ScorerPage

_BINS = 20
_AROUND = 20
_SHOWN_NGRAMS = 40
_EXCERPT_CHARACTERS = 120


def reliability(scores: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """How far scores are from what they say, in ten bins, both kinds weighing the same."""
    importance = np.where(wanted, 0.5 / wanted.sum(), 0.5 / (~wanted).sum())
    bins, error = [], 0.0
    places = np.minimum((scores * 10).astype(int), 9)
    for number in range(10):
        inside = places == number
        weight = float(importance[inside].sum())
        if weight:
            said = float((scores * importance)[inside].sum()) / weight
            true = float((wanted * importance)[inside].sum()) / weight
            error += weight * abs(said - true)
            bins.append({"documents": int(inside.sum()), "score": digits(said), "positive": digits(true)})
    return {"bins": bins, "error": digits(error)}


def histogram(scores: np.ndarray) -> list[int]:
    return np.histogram(scores, bins=_BINS, range=(0.0, 1.0))[0].tolist()


def margin(sample: list[Example], scores: np.ndarray, threshold: float) -> list[dict[str, Any]]:
    """Documents of the corpus around the threshold, highest score first."""
    order = sorted(range(len(sample)), key=lambda index: (-scores[index], sample[index].id))
    cut = sum(score >= threshold for score in scores.tolist())
    return [
        {
            "score": digits(float(scores[index])),
            "kept": bool(scores[index] >= threshold),
            **{name: getattr(sample[index], name) for name in ("id", "host", "url")},
            "excerpt": " ".join(sample[index].text[:_EXCERPT_CHARACTERS].split()),
        }
        for index in order[max(0, cut - _AROUND) : cut + _AROUND]
    ]


def strongest(
    examples: list[Example], wanted: np.ndarray, rows: Rows, weights: np.ndarray, page: ScorerPage
) -> dict[str, list[dict[str, Any]]]:
    """The n-grams that tell the kinds apart: for each, those that add most to the distance between the mean margins."""
    means = {}
    for kind in (True, False):
        of_kind = rows.take(np.flatnonzero(wanted == kind))
        sums = np.bincount(of_kind.features, weights=of_kind.values, minlength=rows.num_features)
        means[kind] = sums / len(of_kind)
    shares: dict[bool, dict[int, float]] = {}
    for kind in (True, False):
        added = (means[True] - means[False]) * weights * ((weights > 0) == kind)
        chosen = np.argsort(-added, kind="stable")[: 4 * _SHOWN_NGRAMS]
        shares[kind] = {int(number): float(added[number]) for number in chosen if added[number] > 0}
    spellings: dict[int, Counter[str]] = {number: Counter() for kind in shares.values() for number in kind}
    sought = np.zeros(rows.num_features, dtype=bool)
    sought[list(spellings)] = True
    for example in examples:
        units = fold(example.text, page.max_characters)
        for length, found in enumerate(hashed(units, page.longest_ngram, page.bits), start=1):
            for place in np.flatnonzero(sought[found]).tolist():
                spellings[int(found[place])][spelled(units[place : place + length])] += 1
    return {
        "positive": _readable(shares[True], weights, spellings),
        "negative": _readable(shares[False], weights, spellings),
    }


def _readable(
    shares: dict[int, float], weights: np.ndarray, spellings: dict[int, Counter[str]]
) -> list[dict[str, Any]]:
    """N-grams by what they add, each spelled as its feature mostly is.

    Single characters and parts of an n-gram shown before are left out; a longer one takes the place of its part if it
    adds at least half as much.
    """
    shown: list[dict[str, Any]] = []
    for number, added in sorted(shares.items(), key=lambda item: (-item[1], item[0])):
        plain = spellings[number].most_common(1)[0][0].strip() if spellings[number] else ""
        if len(plain) < 2 or any(plain in other["ngram"] for other in shown):
            continue
        row = {"ngram": plain, "adds": digits(added), "weight": digits(float(weights[number]))}
        part = next((place for place, other in enumerate(shown) if other["ngram"] in plain), None)
        if part is None:
            shown.append(row)
        elif added >= shown[part]["adds"] / 2:
            shown[part] = row
    return shown[:_SHOWN_NGRAMS]


def digits(value: float) -> float:
    """Four digits after the point: what a reader can use, and the same on every processor."""
    return round(float(value), 4)
