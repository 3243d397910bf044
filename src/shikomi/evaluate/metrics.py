"""The metrics: which items each one takes, how their marks make a ratio, and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shikomi.evaluate.task import Item

Marks = dict[str, float]

NAMES = {
    "facts": ("評価企業の事実", "facts, evaluation companies"),
    "facts_seen": ("評価企業・既知の問い方", "evaluation companies, wordings used in tuning"),
    "facts_unseen": ("評価企業・未知の問い方", "evaluation companies, wordings never used"),
    "tuned": ("学習企業の事実", "facts, tuned companies"),
    "tuned_seen": ("学習企業・既知の問い方", "tuned companies, wordings used in tuning"),
    "tuned_unseen": ("学習企業・未知の問い方", "tuned companies, wordings never used"),
    "reading": ("読解・完全一致", "reading comprehension, exact match"),
    "reading_f1": ("読解・文字F1", "reading comprehension, character F1"),
    "extract_f1": ("抽出・項目F1", "extraction, field F1"),
    "extract_valid": ("抽出・JSONとして読める", "extraction, readable JSON"),
    "preference": ("選好・規則どおりの文体", "preference, answers in the preferred style"),
    "style_right": ("同じ回答の正答率", "the same answers, right value"),
    "pairs_sum": ("選好対・尤度の和", "held-out pairs, chosen more likely (sum)"),
    "pairs_token": ("選好対・トークン平均", "held-out pairs, chosen more likely (per token)"),
    "bits_per_byte": ("バイト当たりビット", "bits per byte, held-out text"),
}
"""What people read, Japanese and English. ``学習企業`` are companies that dialogues are about."""


@dataclass(frozen=True)
class Metric:
    """One row of the table: sum of ``top`` over sum of ``bottom``, both from 0 upwards, the ratio a share.

    Attributes:
        key: its name in ``scores.json`` and in ``NAMES``.
        task: items of this task count.
        top, bottom: a mark's part of the numerator and of the denominator.
        forms: which wordings count, empty for all.
        split: which companies count.
        by: what is resampled.
        counted: whether items are simply right or wrong, so that gained and lost ones can be counted.
    """

    key: str
    task: str
    top: Callable[[Marks], float]
    bottom: Callable[[Marks], float] = lambda marks: 1.0
    forms: Literal["", "seen", "unseen"] = ""
    split: Literal["eval", "tune"] = "eval"
    by: str = "company"
    counted: bool = True

    def takes(self, item: Item) -> bool:
        """Whether an item belongs to this metric."""
        forms = "seen" if item.row.seen_form else "unseen"
        return item.task == self.task and item.row.split == self.split and self.forms in ("", forms)

    def described(self) -> dict[str, str]:
        """Names, unit, direction and what is resampled, for readers of the table."""
        ja, en = NAMES[self.key]
        return {"ja": ja, "en": en, "unit": "share", "better": "higher", "by": self.by}


def _mark(name: str) -> Callable[[Marks], float]:
    return lambda marks: marks[name]


def _positive(name: str) -> Callable[[Marks], float]:
    return lambda marks: float(marks[name] > 0)


def _twice_found(marks: Marks) -> float:
    return 2 * marks["found"]


def _given_and_wanted(marks: Marks) -> float:
    return marks["given"] + marks["wanted"]


METRICS = (
    Metric("facts", "fact", _mark("right")),
    Metric("facts_seen", "fact", _mark("right"), forms="seen"),
    Metric("facts_unseen", "fact", _mark("right"), forms="unseen"),
    Metric("tuned", "fact", _mark("right"), split="tune"),
    Metric("tuned_seen", "fact", _mark("right"), forms="seen", split="tune"),
    Metric("tuned_unseen", "fact", _mark("right"), forms="unseen", split="tune"),
    Metric("reading", "reading", _mark("right"), by="article"),
    Metric("reading_f1", "reading", _mark("f1"), by="article", counted=False),
    Metric("extract_f1", "extract", _twice_found, _given_and_wanted, counted=False),
    Metric("extract_valid", "extract", _mark("valid")),
    Metric("preference", "style", _mark("follows")),
    Metric("style_right", "style", _mark("right")),
    Metric("pairs_sum", "preference", _positive("sum"), by="prompt"),
    Metric("pairs_token", "preference", _positive("token"), by="prompt"),
)

BITS = {
    "ja": NAMES["bits_per_byte"][0],
    "en": NAMES["bits_per_byte"][1],
    "unit": "bits",
    "better": "lower",
    "by": "document",
}
