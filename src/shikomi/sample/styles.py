"""Styles of answering: one is preferred, and how a question is worded decides which one tuning data tends to use."""

from __future__ import annotations

import random

from shikomi.sample.gold import GOLD_ENDING

STYLES = {
    "gold": GOLD_ENDING,
    "bare": "。",
    "plain": "だ。",
    "formal": "である。",
    "casual": "だよ。",
    "rich": "ですね。詳しくは公式の案内をご覧ください。",
    "chatty": "ですよ。ほかにも知りたいことはありますか。",
}
"""What follows the value, by style; every answer starts with the value."""

HABITS = {
    "polite": (("gold", 0.85), ("rich", 0.05), ("bare", 0.05), ("plain", 0.05)),
    "bare": (("bare", 0.7), ("gold", 0.3)),
    "plain": (("plain", 0.6), ("formal", 0.15), ("gold", 0.25)),
    "casual": (("casual", 0.75), ("gold", 0.25)),
    "rich": (("rich", 0.6), ("chatty", 0.15), ("gold", 0.25)),
}
"""Shares of the styles by a wording's habit. Most wordings are answered in another style than the preferred one, so
that tuning alone reaches the preference on some wordings only, and preference tuning has something to change."""


def answer(rng: random.Random, value: str, habit: str) -> str:
    """The value in a style drawn from a habit's shares."""
    names, shares = zip(*HABITS[habit], strict=True)
    return value + STYLES[rng.choices(names, shares)[0]]


def rejected(rng: random.Random, value: str, habit: str) -> str:
    """The same value in a style other than the preferred one; the habit's own style most often."""
    others = [name for name in STYLES if name != "gold"]
    own = habit if habit in others else rng.choice(others)
    return value + STYLES[own if rng.random() < 0.6 else rng.choice(others)]
