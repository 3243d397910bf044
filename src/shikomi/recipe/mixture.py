"""Mixtures of a training stretch: which token folders it reads, at which weights, and what it passes over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from shikomi.errors import RecipeError
from shikomi.recipe.page import WHERE_ONLY, Page
from shikomi.units import parse_share

CORPUS = "corpus"
"""What a source's ``tokens`` says for the corpus that this recipe builds."""
_RANGE = re.compile(r"^\s*(rows\s+)?(\d+)(?:\s*-\s*(\d+))?\s*$")

Share = Annotated[float, BeforeValidator(parse_share)]
"""A share of the run: ``"60%"`` or ``0.6``."""


class WeightChange(Page):
    """Another weight from a share of the run on."""

    after: Share = Field(gt=0, lt=1)
    """Share of the run after which the weight holds: ``"60%"`` or ``0.6``."""
    weight: float = Field(ge=0)
    """The weight from there on."""


class MixtureSource(Page):
    """One source of a training mixture: a folder of token shards with its weight."""

    name: str = Field(min_length=1)
    """Names the source in facts, errors and ``shikomi look batch``."""
    tokens: str = Field(default=CORPUS, json_schema_extra=WHERE_ONLY)
    """A tokens folder as the stage ``tokens`` writes it, or a glob of several; relative paths start at the recipe's
    folder. ``"corpus"``: the corpus of this recipe. Made with the same tokenizer."""
    weight: float = Field(default=1.0, ge=0)
    """Share of the rows that come from here, as part of the sum of all weights: at every step the number of rows is
    within one of it."""
    schedule: list[WeightChange] = []
    """Other weights from shares of the run on, in order: ``[{ after = "60%", weight = 0.3 }]``."""
    max_epochs: float = Field(default=0.0, ge=0)
    """Most passes over this source; a run that would need more is refused before its first step. 0: any number."""
    licence: str = ""
    """Name of the licence of an outside folder's texts; decides what the result may be used for."""

    @property
    def outside(self) -> bool:
        """Whether the tokens were made elsewhere."""
        return self.tokens != CORPUS

    def weight_at(self, share: float) -> float:
        """The weight once ``share`` of the run is done."""
        passed = [change.weight for change in self.schedule if change.after <= share]
        return passed[-1] if passed else self.weight


def phases(sources: Sequence[MixtureSource], rows: int) -> list[tuple[int, list[float]]]:
    """(first row, weights of all sources) of each stretch of a run of ``rows`` rows in which weights stay."""
    shares = sorted({0.0, *(change.after for source in sources for change in source.schedule)})
    found: dict[int, list[float]] = {}
    for share in shares:
        found[round(share * rows)] = [source.weight_at(share) for source in sources]
    return sorted(found.items())


def skipped(ranges: Iterable[str], rows_per_step: int) -> list[tuple[int, int]]:
    """Ranges as half-open (first row, end) pairs, counted from 0.

    Raises:
        ValueError: not a range, or one that ends before it starts.
    """
    found = []
    for text in ranges:
        match = _RANGE.match(text)
        first, last = (int(match[2]), int(match[3] or match[2])) if match else (0, 0)
        if not 1 <= first <= last:
            raise ValueError(f'expected steps such as "1200-1300" or rows such as "rows 5000-5100", found "{text}"')
        size = 1 if match and match[1] else rows_per_step
        found.append(((first - 1) * size, last * size))
    return found


def mixture_conflicts(sources: Sequence[MixtureSource], key: str) -> list[RecipeError]:
    """What makes no sense between the sources of one mixture; ``key`` is the mixture's place in the recipe."""
    found = []
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        found.append(RecipeError(f'two sources have the name "{twice[0]}"', where=key, hint="one name each"))
    for source in sources:
        shares = [change.after for change in source.schedule]
        if shares != sorted(set(shares)):
            told = ", ".join(f"{share:.0%}" for share in shares)
            found.append(
                RecipeError(f'weights of "{source.name}" change after {told}', where=key, hint="list them in order")
            )
        if source.outside and not source.licence:
            what = f'source "{source.name}" has no licence'
            found.append(RecipeError(what, where=key, hint='add licence = "…": the name of its texts\' licence'))
    for share in sorted({0.0, *(change.after for source in sources for change in source.schedule)} if sources else ()):
        if not any(source.weight_at(share) for source in sources):
            what = f"after {share:.0%} of the run no source has a weight"
            found.append(RecipeError(what, where=key, hint="at any time at least one weight is more than 0"))
    return found
