"""The evaluation page."""

from __future__ import annotations

from pydantic import Field

from shikomi.recipe.page import Count, Page


class EvaluatePage(Page):
    """What is asked, and how its uncertainty is drawn."""

    questions: Count = Field(default=0, ge=0)
    """Ask at most this many questions a task and split; 0: all."""
    bits_tokens: Count = Field(default=40_000, ge=256)
    """Held-out tokens scored for bits per byte."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples (by company) of each interval."""
    max_answer_tokens: int = Field(default=96, ge=4)
    seed: int = 5
