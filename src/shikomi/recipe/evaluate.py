"""The evaluation page."""

from __future__ import annotations

from pydantic import Field

from shikomi.recipe.page import Count, Page


class EvaluatePage(Page):
    """What is asked, and how its uncertainty is drawn."""

    questions: Count = Field(default=0, ge=0)
    """Ask at most this many questions a task, split and kind of wording; 0: all."""
    bits_tokens: Count = Field(default=40_000, ge=256)
    """Held-out tokens scored for bits per byte (whole documents, until so many are reached)."""
    window_tokens: Count = Field(default=256, ge=16)
    """Longest context in which a held-out token is scored; at most the model's own."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples (by company) of each interval."""
    max_answer_tokens: int = Field(default=96, ge=4)
    """Answers are cut after this many tokens."""
    seed: int = 5
    """Seed of the resamples and of the questions drawn."""
