"""The corpus page: where pages come from, which rules keep them, how copies are found."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shikomi.recipe.copies import CopiesPage
from shikomi.recipe.page import WHERE_ONLY, Count, Page

PRESETS: dict[str, dict[str, float]] = {
    # Swallow corpus v1 (Okazaki et al., 2024, arXiv:2404.17733, section 3.2 and table 2), as published with its code.
    "swallow-v1": {
        "min_letters": 400,
        "min_japanese_letters": 400,
        "min_hiragana_fraction": 0.2,
        "max_katakana_fraction": 0.5,
        "min_japanese_fraction": 0.5,
        "min_mean_sentence_length": 20,
        "max_mean_sentence_length": 90,
        "max_max_sentence_length": 200,
        "max_ellipsis_fraction": 0.2,
        "max_duplicate_paragraph_fraction": 0.30,
        "max_duplicate_paragraph_characters_fraction": 0.20,
        "max_duplicate_sentence_fraction": 0.30,
        "max_duplicate_sentence_characters_fraction": 0.20,
        "max_top_2gram_fraction": 0.20,
        "max_top_3gram_fraction": 0.18,
        "max_top_4gram_fraction": 0.16,
        "max_duplicate_5gram_fraction": 0.15,
        "max_duplicate_6gram_fraction": 0.14,
        "max_duplicate_7gram_fraction": 0.13,
        "max_duplicate_8gram_fraction": 0.12,
        "max_duplicate_9gram_fraction": 0.11,
        "max_duplicate_10gram_fraction": 0.10,
    },
    # Ours: only what is no text at all is dropped; for small collections of known origin.
    "lenient": {
        "min_letters": 100,
        "min_japanese_letters": 80,
        "min_hiragana_fraction": 0.1,
        "min_japanese_fraction": 0.3,
        "max_ellipsis_fraction": 0.5,
        "max_duplicate_paragraph_fraction": 0.5,
        "max_duplicate_sentence_fraction": 0.5,
        "max_top_2gram_fraction": 0.3,
    },
}
"""Thresholds by preset. ``min_X``: dropped if measure X is below; ``max_X``: dropped if it is above."""


class RulesPage(Page):
    """Thresholds that replace the preset's, one by one; the measures are those of ``data/document.py``.

    Lengths and letters are characters, fractions run from 0 to 1. ``-1`` takes a rule of the preset away.
    """

    min_letters: float | None = None
    """Characters of the text."""
    min_japanese_letters: float | None = None
    """Japanese letters of the text: hiragana, katakana, kanji, and the marks 。．！？、，."""
    min_hiragana_fraction: float | None = None
    """Share of hiragana among the Japanese letters."""
    max_katakana_fraction: float | None = None
    """Share of katakana among the Japanese letters."""
    min_japanese_fraction: float | None = None
    """Share of Japanese letters among all characters."""
    min_mean_sentence_length: float | None = None
    """Mean length of a sentence."""
    max_mean_sentence_length: float | None = None
    """Mean length of a sentence."""
    max_max_sentence_length: float | None = None
    """Length of the longest sentence."""
    max_ellipsis_fraction: float | None = None
    """Share of sentences that end in … or ・ instead of a stop."""
    max_duplicate_paragraph_fraction: float | None = None
    """Share of paragraphs that repeat an earlier one."""
    max_duplicate_paragraph_characters_fraction: float | None = None
    """Share of characters in paragraphs that repeat an earlier one."""
    max_duplicate_sentence_fraction: float | None = None
    """Share of sentences that repeat an earlier one."""
    max_duplicate_sentence_characters_fraction: float | None = None
    """Share of characters in sentences that repeat an earlier one."""
    max_top_2gram_fraction: float | None = None
    """Share of the commonest 2-gram of characters among all 2-grams of the text."""
    max_top_3gram_fraction: float | None = None
    """Share of the commonest 3-gram of characters among all 3-grams of the text."""
    max_top_4gram_fraction: float | None = None
    """Share of the commonest 4-gram of characters among all 4-grams of the text."""
    max_duplicate_5gram_fraction: float | None = None
    """Share of the distinct 5-grams of characters that occur more than once."""
    max_duplicate_6gram_fraction: float | None = None
    """Share of the distinct 6-grams of characters that occur more than once."""
    max_duplicate_7gram_fraction: float | None = None
    """Share of the distinct 7-grams of characters that occur more than once."""
    max_duplicate_8gram_fraction: float | None = None
    """Share of the distinct 8-grams of characters that occur more than once."""
    max_duplicate_9gram_fraction: float | None = None
    """Share of the distinct 9-grams of characters that occur more than once."""
    max_duplicate_10gram_fraction: float | None = None
    """Share of the distinct 10-grams of characters that occur more than once."""


READING = ("licence", "trim_lines", "normalise_punctuation", "cut_footer", "max_page_bytes", "max_damaged_share")
"""Fields of the corpus page that the stage ``pages`` reads; all others are decisions, taken by the stage ``corpus``."""


class CorpusPage(Page):
    """From WARC files to kept Japanese documents."""

    warc: list[str] = Field(default=[], json_schema_extra=WHERE_ONLY)
    """Paths and globs of WARC files; empty: the sample's crawl. Relative paths start at the recipe's folder."""
    licence: str = ""
    """Licence of every page, where the licence table does not say otherwise."""
    licence_table: str = Field(default="", json_schema_extra=WHERE_ONLY)
    """A TSV file with columns ``url`` and ``licence``."""
    preset: Literal["swallow-v1", "lenient"] = "swallow-v1"
    """Which thresholds the rules start from."""
    rules: RulesPage = RulesPage()
    """Single thresholds that replace the preset's."""
    trim_lines: bool = True
    """Take off lines that are not running text: cookie notices, menus, share buttons, copyright."""
    normalise_punctuation: bool = True
    """Write ``，．`` as ``、。`` where the text itself prefers them (majority rule of Swallow)."""
    cut_footer: bool = True
    """Cut the text at the first footer line among its last ten."""
    copies: CopiesPage = CopiesPage()
    max_page_bytes: Count = Field(default=2_000_000, ge=1_000)
    """Pages with more bytes than this (after decompression) are dropped."""
    max_damaged_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """The build stops if more than this share of the records (and more than ten of them) are damaged."""

    def reading(self) -> dict[str, Any]:
        """The fields that decide what a page's text and measures are; the others decide what is kept of them."""
        return {name: value for name, value in self.identity().items() if name in READING}

    def deciding(self) -> dict[str, Any]:
        """The fields that decide which documents are kept, once they are read."""
        return {name: value for name, value in self.identity().items() if name not in READING}

    def thresholds(self) -> dict[str, float]:
        """The thresholds in force: the preset's, with those of ``rules`` in their place; in the order of checking."""
        changed = {name: value for name, value in self.rules.model_dump().items() if value is not None}
        merged = {**PRESETS[self.preset], **changed}
        order = [name for name in RulesPage.model_fields if name in merged]
        return {name: merged[name] for name in order if merged[name] >= 0}
