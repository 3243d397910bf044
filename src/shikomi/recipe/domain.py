"""The page of learned selection: what a scorer is shown, and which scores keep a document."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shikomi.recipe.page import WHERE_ONLY, Count, Page

Name = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,31}$")]


class ScorerPage(Page):
    """One scorer: it learns to tell the documents it is shown from the rest of the corpus, by their characters."""

    name: Name = "business"
    """What the scorer is called: small letters, digits and _; its score is called ``score_NAME``. ``business``,
    ``educational``, whatever the positives show."""
    positives: list[str] = Field(default=[], json_schema_extra=WHERE_ONLY)
    """Paths and globs of what is wanted: JSONL (one object a line) or text files (one document a file). Relative paths
    start at the recipe's folder."""
    positive_hosts: list[str] = []
    """Hosts of the corpus whose documents are wanted, with all hosts under them."""
    negatives: list[str] = Field(default=[], json_schema_extra=WHERE_ONLY)
    """Paths and globs of what is not wanted, as in ``positives``; empty: a sample of the corpus."""
    text_field: str = "text"
    """The field of a JSONL line that holds the text; its ``url`` or ``host``, where it has one, tells sites apart."""
    threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    """Documents with a smaller score are dropped (0 to 1). At 0.5 a document looks as much like the one kind as like
    the other, were there as many of each."""
    keep_share: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of the corpus to keep, instead of ``threshold``: the threshold is then read off a sample of the corpus
    (Swallow corpus v2 keeps the top 0.1)."""
    decides: bool = True
    """Whether documents below the threshold are dropped; if not, the score is only written beside the document."""
    max_examples: Count = Field(default=3_000, ge=10)
    """Most documents of each kind to learn from; a seeded draw where there are more."""
    max_per_host: Count = Field(default=300, ge=1)
    """Most documents of one host among them, so that a large site does not stand for its kind."""
    max_characters: Count = Field(default=2_000, ge=100)
    """Characters at the start of a document that are read, in learning and in scoring."""
    longest_ngram: int = Field(default=4, ge=1, le=6)
    """Features are runs of 1 to this many characters."""
    bits: int = Field(default=19, ge=10, le=22)
    """Features are hashed to 2^bits weights (4 bytes each)."""
    epochs: int = Field(default=8, ge=1, le=100)
    """Times that the examples are gone through."""
    folds: int = Field(default=5, ge=2, le=20)
    """Parts that the hosts are dealt into; each part is scored by a model that has not seen its hosts, and these scores
    give the AUC and the calibration."""
    seed: int = Field(default=0, ge=0)
    """Of the draw and of the order of learning."""

    @model_validator(mode="after")
    def _shown_something(self) -> Self:
        if not self.positives and not self.positive_hosts:
            raise ValueError("a scorer needs positives or positive_hosts: documents of the kind that is wanted")
        return self


def _apart(scorers: list[ScorerPage]) -> list[ScorerPage]:
    names = [scorer.name for scorer in scorers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two scorers are called {', '.join(twice)}: give each its own name")
    return scorers


Scorers = Annotated[list[ScorerPage], AfterValidator(_apart)]
"""The scorers of a recipe, told apart by their names."""
