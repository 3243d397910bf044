"""Rules: the thresholds that measures are held against, and the sets of them that others have published."""

from __future__ import annotations

from shikomi.recipe.page import Page

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
    # FineWeb2 for Japanese (Penedo et al., 2025): its published configuration jpn_Jpan, and where that names no
    # threshold those of the filters it runs (Gopher and FineWeb). Its language score (GlotLID 0.886) has no equivalent:
    # Shikomi's own test of Japanese stands in its place. Words are those of a light splitter
    # (corpus/quality/fineweb.py).
    "fineweb2-jpn": {
        "max_duplicate_line_fraction": 0.328,
        "max_top_2word_fraction": 0.239,
        "max_top_3word_fraction": 0.196,
        "max_top_4word_fraction": 0.172,
        "max_duplicate_5word_fraction": 0.243,
        "max_duplicate_6word_fraction": 0.225,
        "max_duplicate_7word_fraction": 0.207,
        "max_duplicate_8word_fraction": 0.190,
        "max_duplicate_9word_fraction": 0.175,
        "max_duplicate_10word_fraction": 0.159,
        "min_closed_line_fraction": 0.096,
        "max_duplicate_line_characters_fraction": 0.1,
        "max_line_feeds_per_word": 0.13,
        "min_words": 50,
        "max_words": 100_000,
        "min_mean_word_length": 1,
        "max_mean_word_length": 6,
        "max_hashes_per_word": 0.1,
        "max_ellipses_per_word": 0.1,
        "max_bullet_line_fraction": 0.9,
        "max_ellipsis_line_fraction": 0.3,
        "min_alphabetic_word_fraction": 0.759,
        "min_stop_words": 2,
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
    max_duplicate_line_fraction: float | None = None
    """Share of lines that repeat an earlier one, blank lines left out."""
    max_top_2word_fraction: float | None = None
    """Share of the text's characters in the commonest run of 2 words."""
    max_top_3word_fraction: float | None = None
    """Share of the text's characters in the commonest run of 3 words."""
    max_top_4word_fraction: float | None = None
    """Share of the text's characters in the commonest run of 4 words."""
    max_duplicate_5word_fraction: float | None = None
    """Share of the text's characters in runs of 5 words that occurred before."""
    max_duplicate_6word_fraction: float | None = None
    """Share of the text's characters in runs of 6 words that occurred before."""
    max_duplicate_7word_fraction: float | None = None
    """Share of the text's characters in runs of 7 words that occurred before."""
    max_duplicate_8word_fraction: float | None = None
    """Share of the text's characters in runs of 8 words that occurred before."""
    max_duplicate_9word_fraction: float | None = None
    """Share of the text's characters in runs of 9 words that occurred before."""
    max_duplicate_10word_fraction: float | None = None
    """Share of the text's characters in runs of 10 words that occurred before."""
    min_closed_line_fraction: float | None = None
    """Share of lines that end in a mark such as 。？！…."""
    max_duplicate_line_characters_fraction: float | None = None
    """Share of characters in lines that repeat an earlier one."""
    max_line_feeds_per_word: float | None = None
    """Line feeds to a word."""
    min_words: float | None = None
    """Words that are not only a symbol."""
    max_words: float | None = None
    """Words that are not only a symbol."""
    min_mean_word_length: float | None = None
    """Mean length of a word."""
    max_mean_word_length: float | None = None
    """Mean length of a word."""
    max_hashes_per_word: float | None = None
    """Marks # to a word."""
    max_ellipses_per_word: float | None = None
    """Marks … and ... to a word."""
    max_bullet_line_fraction: float | None = None
    """Share of lines that start with • or -."""
    max_ellipsis_line_fraction: float | None = None
    """Share of lines that end in … or ...."""
    min_alphabetic_word_fraction: float | None = None
    """Share of words with a letter in them (kana and kanji are letters)."""
    min_stop_words: float | None = None
    """How many of the 15 words の に を は た て が と で 年 し ・ 月 れ さ occur."""
