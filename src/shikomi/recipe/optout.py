"""The opt-out page: whose documents stay out, and which signs of a page keep it out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import WHERE_ONLY, Page

Sign = Literal["noai", "noimageai", "noml", "tdm", "ai-noindex", "noindex", "noarchive", "nocache", "nosnippet"]
"""What a page can say of its use, in its head or its HTTP headers."""


class OptOutPage(Page):
    """Documents whose owners do not want them in a corpus; what ``shikomi forget`` was told counts besides."""

    lists: list[str] = Field(default=[], json_schema_extra=WHERE_ONLY)
    """Paths and globs of opt-out lists: one entry a line, ``id``, ``url``, ``prefix`` or ``host`` and its value, apart
    by a space; a line with one word is taken for what it looks like. A host stands for all hosts under it. ``#`` starts
    a comment. Relative paths start at the recipe's folder."""
    signs: list[Sign] = ["noai", "noml", "tdm", "ai-noindex"]
    """Signs that drop a page; all are recorded. ``noai``, ``noml``: no use for learning; ``tdm``: text and data mining
    reserved (TDM Reservation Protocol, W3C community group, 2024); ``ai-noindex``: ``noindex`` told to a crawler that
    gathers text for models; ``noimageai``: images only; ``noindex``, ``noarchive``, ``nocache``, ``nosnippet``: told
    to search engines, which is another matter."""
