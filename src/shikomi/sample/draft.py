"""A page before it is HTML: its true text and the gold decision about it."""

from __future__ import annotations

from dataclasses import dataclass

JAPANESE = "ja"


@dataclass(frozen=True)
class Draft:
    """One page of the crawl to be.

    Attributes:
        url: its address, unique in the crawl.
        title: its heading.
        paragraphs: its true main text; empty if it has none.
        date: day of publication, ISO 8601.
        reason: what kind of page it is. Kept: ``article``, ``personal_data``, ``similar``, and ``truncated`` if enough
            is left. Dropped: ``exact_copy``, ``near_copy``, ``spam``, ``thin``, ``not_japanese``, other ``truncated``.
        keep: the right decision.
        company: its main company, or empty.
        language: language of the text (ISO 639-1).
        cluster: id shared by a page and its copies, or empty.
        copy: empty, ``exact`` or ``near``; the original, which stands earlier in the crawl, has it empty.
        jaccard: similarity of a copy's true text to its original's (character 5-grams), 0 if it is no copy.
        cut: whether the HTML ends in the middle of a tag, right after the text.
    """

    url: str
    title: str
    paragraphs: tuple[str, ...]
    date: str
    reason: str
    keep: bool
    company: str = ""
    language: str = JAPANESE
    cluster: str = ""
    copy: str = ""
    jaccard: float = 0.0
    cut: bool = False

    @property
    def text(self) -> str:
        """The true main text, one paragraph a line."""
        return "\n".join(self.paragraphs)

    @property
    def host(self) -> str:
        """Host part of the address."""
        return self.url.split("/")[2]

    def label(self) -> dict:
        """The row of ``labels.jsonl``."""
        names = ("url", "keep", "reason", "text", "cluster", "copy", "jaccard", "language", "company")
        return {name: getattr(self, name) for name in names}
