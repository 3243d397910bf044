"""The tokenizer page, and how tokens are split off for held-out scoring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import Count, Page


class TokenizerPage(Page):
    """A byte-level BPE learned on kept documents."""

    vocab_size: Count = Field(default=4096, ge=320)
    split: Literal["qwen2", "llama-bpe", "gpt-2"] = "qwen2"
    """The pre-tokenizer, by the name llama.cpp knows it under."""
    heldout_share: float = Field(default=0.02, gt=0, lt=0.5)
    """Share of kept documents that no training sees, for bits per byte."""
