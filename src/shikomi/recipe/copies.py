"""The page of copies: how documents that repeat others are found, and what counts as a repetition."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from shikomi.recipe.page import WHERE_ONLY, Count, Page

SIGNATURES: dict[str, dict[str, Any]] = {
    # Swallow corpus v1 (Okazaki et al., 2024, arXiv:2404.17733, section 3.3): 20 values a band, 40 bands. A pair of
    # Jaccard 0.9 meets with probability 0.994, one of 0.85 with 0.79, one of 0.8 with 0.37.
    "20x40": {"rows": 20, "bands": 40, "jaccard": 0.85},
    # FineWeb (Penedo et al., 2024, arXiv:2406.17557, section 3.4): 14 bands of 8 values. A pair of Jaccard 0.9 meets
    # with probability 0.9996, one of 0.8 with 0.92, one of 0.75 with 0.77. A seventh of the size of 20x40; estimates
    # from 112 slots scatter by 0.04.
    "14x8": {"rows": 8, "bands": 14, "jaccard": 0.75},
}
"""What each named signature sets, unless the recipe sets it itself."""


class CopiesPage(Page):
    """How copies are found: exact ones by hash, near ones by MinHash over character 5-grams.

    Documents are taken in the order of their dates, undated ones last, and of their ids within a date: of documents
    that repeat each other the first stays, wherever it stands in the input.
    """

    exact: bool = True
    """Drop a document whose text equals an earlier one's."""
    near: bool = True
    """Drop a document that is a near copy of an earlier one that stays."""
    signature: Literal["20x40", "14x8"] = "20x40"
    """Sets rows, bands and jaccard: ``20x40`` is Swallow's (20 rows, 40 bands, jaccard 0.85), ``14x8`` FineWeb's
    (8 rows, 14 bands, jaccard 0.75)."""
    bands: int = Field(default=40, ge=1, le=256)
    """Bands of the signature; documents that agree in one whole band are compared."""
    rows: int = Field(default=20, ge=1, le=64)
    """Rows of a band. 40 x 20 finds a pair of Jaccard 0.9 with probability 0.994 (1 - (1 - 0.9^20)^40)."""
    jaccard: float = Field(default=0.85, gt=0.0, le=1.0)
    """A later document is dropped as a near copy if its Jaccard similarity to a kept one reaches this."""
    verify: Literal["slots", "text"] = "slots"
    """How that similarity is taken: estimated from the signatures' slots (standard deviation 0.013 at 0.85 with 800
    slots), or counted on the 5-grams of both texts, which takes about 10 kB on disk a document that may be a copy."""
    url: Literal["all", "first", "latest"] = "all"
    """Documents of one address that are no copies of each other: keep all, the first fetched, or the latest."""
    mirror_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """A host is a mirror if at least this share of its documents are copies of one other host's, or the other way
    round; what is left of the smaller of the two is dropped, but for the originals of copies. 0: not looked at."""
    mirror_documents: Count = Field(default=20, ge=1)
    """Hosts with fewer documents than this are never mirrors."""
    earlier: list[str] = Field(default=[], json_schema_extra=WHERE_ONLY)
    """Folders of earlier corpora, oldest first: what repeats one of their documents is dropped. Relative paths start at
    the recipe's folder. The earlier corpora are not touched, so a document once kept stays."""
    boilerplate: bool = False
    """Take lines off the head and foot of kept documents that many of their host's documents share."""
    boilerplate_documents: Count = Field(default=10, ge=2)
    """A line is boilerplate only if at least this many documents of its host have it …"""
    boilerplate_share: float = Field(default=0.3, gt=0.0, le=1.0)
    """… and at least this share of the host's documents. On 3,170 real pages 0.3 took notices off 163 of them and
    nothing else; 0.1 also took the closing formulas of laws."""

    @model_validator(mode="before")
    @classmethod
    def _signature_first(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("signature") in SIGNATURES:
            return {**SIGNATURES[given["signature"]], **given}
        return given

    @property
    def slots(self) -> int:
        """Slots of a signature."""
        return self.bands * self.rows
