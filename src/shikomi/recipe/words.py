"""The NG words page: which words mark a document that nobody wants to learn from, and how many are too many."""

from __future__ import annotations

from pydantic import Field

from shikomi.recipe.page import WHERE_ONLY, Page


class WordsPage(Page):
    """Words whose share of a document's Japanese letters decides whether it stays."""

    lists: list[str] = Field(default=[], json_schema_extra=WHERE_ONLY)
    """Paths and globs of word lists: UTF-8, one word a line; blank lines and lines that start with # are passed over.
    Relative paths start at the recipe's folder."""
    own_list: bool = True
    """Use the short list that comes with Shikomi too: the vocabulary of adult, gambling, counterfeit and loan spam."""
    max_fraction: float = Field(default=0.05, gt=0.0, le=1.0)
    """A document is dropped when the characters of NG words reach this share of its Japanese letters (0 to 1; 0.05 is
    Swallow corpus v1's, which drops at the threshold itself, not only above it)."""
