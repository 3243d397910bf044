"""The tokenizer page, and how documents are split off for held-out scoring."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import Count, Page


class TokenizerPage(Page):
    """A byte-level BPE learned on kept documents."""

    vocab_size: Count = Field(default=4096, ge=320)
    """Size of the vocabulary, special tokens included: exactly this many, or an error says how many are possible."""
    split: Literal["qwen2", "llama-bpe", "gpt-2"] = "qwen2"
    """The pre-tokenizer, by the name llama.cpp knows it under."""
    heldout_share: float = Field(default=0.02, gt=0, lt=0.5)
    """Share of kept documents that no training sees, for bits per byte."""
    max_token_bytes: int = Field(default=24, ge=3)
    """Longest token in UTF-8 bytes (a kana or kanji takes 3). The splitting rules take a run of Japanese for one word,
    so without a bound a corpus with stock phrases fills the vocabulary with whole sentences."""
    min_frequency: int = Field(default=2, ge=1)
    """A pair seen fewer times is never merged."""
