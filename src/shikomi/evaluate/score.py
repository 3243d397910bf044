"""Marks for single answers, and intervals for many: exact match, F1, Wilson, bootstrap by cluster.

Items about one company succeed and fail together, so intervals are drawn by resampling companies (clusters), never
items. Shape letters: I items, C clusters, R resamples.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""

RESAMPLES_AT_ONCE = 256
"""Resamples drawn together: bounds memory at 256 x C counts."""

_SENTENCE_END = re.compile(r"[。！？!?\n]")
_POLITE = "です"


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        value: the point estimate (a share from 0 to 1, or bits).
        low, high: ends of the interval; None where one cluster leaves nothing to resample.
        n: number of items.
        clusters: number of clusters resampled.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int

    def plain(self) -> dict[str, Any]:
        """As JSON values, rounded to six decimals."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def _rounded(value: float | int | None) -> float | int | None:
    return round(value, 6) if isinstance(value, float) else value


# ---- one answer -----------------------------------------------------------------------------------------------------


def plain_value(text: str) -> str:
    """The value an answer gives: first sentence, NFKC, without spaces at the ends and a final ``です``.

    The general rule, for questions of unknown origin; a recipe's own data may bring a finer one.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    first = _SENTENCE_END.split(text, maxsplit=1)[0].strip()
    return first.removesuffix(_POLITE).strip()


def polite_sentence(answer: str) -> bool:
    """Whether an answer is one sentence ending in ``です。`` or ``ます。`` and nothing else."""
    answer = answer.strip()
    body = answer[:-1]
    return answer.endswith(("です。", "ます。")) and not _SENTENCE_END.search(body)


def exact_match(answer: str, gold: Sequence[str], normalise: Callable[[str], str]) -> bool:
    """Whether an answer's value equals one of the gold answers' values; an empty value is never right."""
    value = normalise(answer)
    return bool(value) and any(value == normalise(one) for one in gold)


def character_f1(answer: str, gold: Sequence[str], normalise: Callable[[str], str]) -> float:
    """Best F1 over gold answers of the characters that two values share, counted with repetition (0 to 1)."""
    given = Counter(normalise(answer))
    best = 0.0
    for one in gold:
        wanted = Counter(normalise(one))
        total = given.total() + wanted.total()
        best = max(best, 2 * (given & wanted).total() / total if total else 0.0)
    return best


def read_object(text: str) -> dict[str, Any] | None:
    """The first JSON object in an answer; None if there is none."""
    start = text.find("{")
    while start >= 0:
        try:
            found, _ = json.JSONDecoder().raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return found if isinstance(found, dict) else None
    return None


def extracted_fields(answer: str, gold: str, normalise: Callable[[str], str]) -> dict[str, int]:
    """Counts for field F1: ``found`` right fields, ``given`` fields, ``wanted`` fields, ``valid`` 1 if JSON was read.

    A field is right if its name is wanted and its value, as text and normalised, is the gold one.
    """
    wanted = read_object(gold) or {}
    given = read_object(answer)
    fields = given or {}
    found = sum(1 for name, value in wanted.items() if name in fields and _same(fields[name], value, normalise))
    return {"found": found, "given": len(fields), "wanted": len(wanted), "valid": int(given is not None)}


def _same(one: Any, other: Any, normalise: Callable[[str], str]) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return normalise(one) == normalise(other)
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


# ---- many answers ---------------------------------------------------------------------------------------------------


def wilson(successes: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share of independent items (Wilson 1927); (0, 1) for n = 0."""
    if n <= 0:
        return 0.0, 1.0
    share = min(1.0, float(successes) / n)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the formula gives exactly 0 and 1; rounding does not.
    return max(0.0, centre - half) if share > 0 else 0.0, min(1.0, centre + half) if share < 1 else 1.0


class Resampler:
    """Draws clusters with replacement, always the same ones for one seed, so that differences are paired.

    Args:
        clusters: the cluster of each item, length I.
        resamples: R.
        seed: of the draws.
    """

    def __init__(self, clusters: Sequence[str], resamples: int, seed: int) -> None:
        names = sorted(set(clusters))
        place = {name: index for index, name in enumerate(names)}
        self.members_I = np.array([place[name] for name in clusters], dtype=np.int64)
        self.num_clusters, self.resamples, self.seed = len(names), resamples, seed

    def sums(self, values_I: Sequence[float] | np.ndarray) -> np.ndarray:
        """Sums of a quantity over each cluster, float64 [C]."""
        weights = np.asarray(values_I, dtype=np.float64)
        return np.bincount(self.members_I, weights=weights, minlength=self.num_clusters)

    def totals(self, *sums_C: np.ndarray) -> np.ndarray:
        """Totals of per-cluster sums in every resample, float64 [R, number of sums]."""
        random = np.random.default_rng(self.seed)
        stacked = np.stack(sums_C, axis=1)
        chance = np.full(self.num_clusters, 1 / self.num_clusters)
        parts = []
        for start in range(0, self.resamples, RESAMPLES_AT_ONCE):
            size = min(RESAMPLES_AT_ONCE, self.resamples - start)
            parts.append(random.multinomial(self.num_clusters, chance, size=size) @ stacked)
        return np.concatenate(parts)


def ratio(
    numerators_I: Sequence[float], denominators_I: Sequence[float], draws: Resampler, *, share: bool = True
) -> Interval:
    """sum(numerators) / sum(denominators) with the percentile bootstrap interval by cluster.

    A mean has denominators of 1; a micro F1 has 2·found over given + wanted; bits per byte has bits over bytes.

    Args:
        share: the ratio lies in [0, 1]. Where every resample then gives the same value (all right, all wrong, one
            cluster), Wilson's interval with the number of clusters as n stands in: the bootstrap would claim certainty.
    """
    top_C, bottom_C = draws.sums(numerators_I), draws.sums(denominators_I)
    value = _divide(top_C.sum(), bottom_C.sum())
    low, high = _percentiles(_divide_all(draws.totals(top_C, bottom_C)))
    if high - low < 1e-12:
        low, high = wilson(value * draws.num_clusters, draws.num_clusters) if share else (None, None)
    return Interval(float(value), low, high, len(draws.members_I), draws.num_clusters)


def difference(
    before: tuple[Sequence[float], Sequence[float]],
    after: tuple[Sequence[float], Sequence[float]],
    draws: Resampler,
    *,
    share: bool = True,
) -> Interval:
    """Ratio after less ratio before on the same items, both taken from the same resampled clusters.

    Args:
        before, after: (numerators, denominators) of each item.
        share: both ratios lie in [0, 1]. Where no resample differs, the interval reaches as far as Wilson's upper end
            of 0 successes among the clusters, either way.
    """
    sums = [draws.sums(values) for values in (*before, *after)]
    value = _divide(sums[2].sum(), sums[3].sum()) - _divide(sums[0].sum(), sums[1].sum())
    totals = draws.totals(*sums)
    low, high = _percentiles(_divide_all(totals[:, 2:]) - _divide_all(totals[:, :2]))
    if high - low < 1e-12:
        reach = wilson(0, draws.num_clusters)[1]
        low, high = (max(-1.0, value - reach), min(1.0, value + reach)) if share else (None, None)
    return Interval(float(value), low, high, len(draws.members_I), draws.num_clusters)


def _divide(top: float, bottom: float) -> float:
    return top / bottom if bottom else 0.0


def _divide_all(totals_R2: np.ndarray) -> np.ndarray:
    bottom = totals_R2[:, 1]
    return np.divide(totals_R2[:, 0], bottom, out=np.zeros_like(bottom), where=bottom != 0)


def _percentiles(values_R: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values_R, (2.5, 97.5))
    return float(low), float(high)
