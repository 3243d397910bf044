"""The corpus page: where pages come from, which rules keep them, how copies are found."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shikomi.recipe.common_crawl import CommonCrawlPage
from shikomi.recipe.copies import CopiesPage
from shikomi.recipe.decontaminate import DecontaminatePage
from shikomi.recipe.documents import DocumentsPage
from shikomi.recipe.domain import Scorers
from shikomi.recipe.optout import OptOutPage
from shikomi.recipe.page import WHERE_ONLY, Count, Page
from shikomi.recipe.presets import PRESETS, RulesPage
from shikomi.recipe.privacy import PrivacyPage
from shikomi.recipe.urls import UrlsPage
from shikomi.recipe.words import WordsPage

READING = (
    "licence", "documents", "extractor", "trim_lines", "normalise_punctuation", "cut_footer", "max_page_bytes",
    "max_damaged_share",
)  # fmt: skip
"""Fields of the corpus page that the stage ``pages`` reads."""
FETCHING = ("common_crawl",)
"""Fields that the stage ``crawl`` reads; all others are decisions, taken by the stages ``domain`` and ``corpus``."""


class CorpusPage(Page):
    """From WARC files to kept Japanese documents."""

    warc: list[str] = Field(default=[], json_schema_extra=WHERE_ONLY)
    """Paths and globs of WARC files; empty: the sample's crawl. Relative paths start at the recipe's folder."""
    common_crawl: CommonCrawlPage | None = None
    """A part of Common Crawl to fetch, instead of ``warc``."""
    documents: list[DocumentsPage] = []
    """What is no crawl: one table ``[[corpus.documents]]`` a source of files."""
    licence: str = ""
    """Licence of every page, where the licence table does not say otherwise."""
    licence_table: str = Field(default="", json_schema_extra=WHERE_ONLY)
    """A TSV file with columns ``url`` and ``licence``."""
    preset: Literal["swallow-v1", "fineweb2-jpn", "lenient"] = "swallow-v1"
    """Which thresholds the rules start from."""
    rules: RulesPage = RulesPage()
    """Single thresholds that replace the preset's."""
    extractor: Literal["resiliparse", "trafilatura"] = "resiliparse"
    """What finds a page's main content. ``trafilatura`` (extra ``trafilatura``) is a second opinion: cleaner on some
    sites, ten times slower, and it loses body text on others."""
    trim_lines: bool = True
    """Take off lines that are not running text: cookie notices, menus, share buttons, copyright."""
    normalise_punctuation: bool = True
    """Write ``，．`` as ``、。`` where the text itself prefers them (majority rule of Swallow)."""
    cut_footer: bool = True
    """Cut the text at the first footer line among its last ten."""
    opt_out: OptOutPage = OptOutPage()
    """Whose pages stay out."""
    urls: UrlsPage = UrlsPage()
    """Which kinds of sites stay out."""
    words: WordsPage = WordsPage()
    """How many NG words are too many."""
    domain: Scorers = []
    """Learned selection: one table ``[[corpus.domain]]`` a scorer."""
    copies: CopiesPage = CopiesPage()
    """How documents that repeat others are found."""
    decontaminate: DecontaminatePage = DecontaminatePage()
    """Which evaluation sets the corpus must not hold."""
    privacy: PrivacyPage = PrivacyPage()
    """Which personal data is masked in kept documents."""
    max_page_bytes: Count = Field(default=2_000_000, ge=1_000)
    """Pages with more bytes than this (after decompression) are dropped."""
    max_damaged_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """The build stops if more than this share of the records (and more than ten of them) are damaged."""

    def reading(self) -> dict[str, Any]:
        """The fields that decide what a page's text and measures are; the others decide what is kept of them."""
        return {name: value for name, value in self.identity().items() if name in READING}

    def deciding(self) -> dict[str, Any]:
        """The fields that decide which documents are kept, once they are read."""
        return {name: value for name, value in self.identity().items() if name not in (*READING, *FETCHING)}

    def thresholds(self) -> dict[str, float]:
        """The thresholds in force: the preset's, with those of ``rules`` in their place; in the order of checking."""
        changed = {name: value for name, value in self.rules.model_dump().items() if value is not None}
        merged = {**PRESETS[self.preset], **changed}
        order = [name for name in RulesPage.model_fields if name in merged]
        return {name: merged[name] for name in order if merged[name] >= 0}
