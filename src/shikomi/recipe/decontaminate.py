"""The decontamination page: which evaluation sets the corpus must not hold, and what is done where it does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import WHERE_ONLY, Page


class EvaluationSet(Page):
    """One evaluation set, by file: JSON lines, JSON, TSV or CSV."""

    name: str = Field(min_length=1)
    """What the report calls it."""
    path: str = Field(min_length=1, json_schema_extra=WHERE_ONLY)
    """Path or glob of its files (``.jsonl``, ``.json``, ``.tsv``, ``.csv``); their contents count, in sorted order.
    Relative paths start at the recipe's folder."""
    items: str = ""
    """In a ``.json`` file that is no list: where its items are, keys joined by points (``data.paragraphs.qas``)."""
    fields: list[str] = Field(min_length=1)
    """Fields of an item that are looked for, each by itself: question, choices, answer, source, target. A name, keys
    joined by points, or the number of a column from 1 where the table has no header; names joined by ``+`` are one
    field (``choice0+choice1+choice2``). A list's members are texts of one field."""
    passages: list[str] = []
    """Fields that alone are no leak, such as a passage of Wikipedia: only together with another field of the item."""
    header: bool = True
    """Whether the first row of a TSV or CSV file names its columns."""


class DecontaminatePage(Page):
    """Documents that hold items of evaluation sets. Texts are compared after NFKC in lower case, without space and
    punctuation; a field is covered by the n-grams of characters it shares with one document, never with several."""

    sets: list[EvaluationSet] = []
    """The evaluation sets; none: only the known prompts are looked for."""
    known_prompts: bool = True
    """Look for the prompts of the open-ended evaluation sets that Shikomi knows by their digests; a whole line of the
    document has to be the prompt."""
    leak_coverage: float = Field(default=0.9, ge=0.7, le=1.0)
    """Share of a field's characters, covered in one document, from which on it is a leak. From 0.7 on it is told."""
    leak_run: float = Field(default=0.4, ge=0.0, le=1.0)
    """Share of a field's characters that the longest stretch in the document must have for a leak: choices that are
    numbers are covered by scraps of any table. The longest stretch tells more than the sum (arXiv:2411.03923)."""
    short_characters: int = Field(default=20, ge=8, le=40)
    """Fields with fewer characters count only where they equal a line, a sentence or a part between commas, and are a
    leak only together with another field of the item."""
    long_characters: int = Field(default=40, ge=20, le=400)
    """Fields from this length on are cut into long n-grams, shorter ones into short ones."""
    short_ngram: int = Field(default=8, ge=4, le=13)
    """Characters of a short n-gram. Measured on 500 short Japanese fields: 13 finds 12, 8 finds 70."""
    long_ngram: int = Field(default=13, ge=8, le=40)
    """Characters of a long n-gram (GPT-3 and Llama 2 take 13 and 10 tokens)."""
    action: Literal["drop", "cut"] = "drop"
    """What is done with a document that holds a leak: it is dropped, or the lines that hold it are cut out; where
    that leaves the leak in the text, it is dropped all the same."""
