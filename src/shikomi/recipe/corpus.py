"""The corpus page: where pages come from, which rules keep them, how copies are found."""

from __future__ import annotations

from pydantic import Field

from shikomi.recipe.page import Page


class CorpusPage(Page):
    """From WARC files to kept Japanese documents."""

    warc: list[str] = []
    """Paths and globs of WARC files; empty: the sample's crawl. Relative paths start at the recipe's folder."""
    licence: str = ""
    """Licence of every page, where the licence table does not say otherwise."""
    licence_table: str = ""
    """A TSV file with columns ``url`` and ``licence``."""
    preset: str = Field(default="swallow-v1")
