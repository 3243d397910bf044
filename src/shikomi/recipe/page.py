"""The base of every recipe page: strict, closed, frozen; and the field types that carry units."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from shikomi.units import parse_count, parse_seconds

Count = Annotated[int, BeforeValidator(parse_count)]
"""A whole number written as people say it: ``4000``, ``"4k"``, ``"13B"``."""

Seconds = Annotated[float, BeforeValidator(parse_seconds)]
"""A duration written with its unit: ``"90s"``, ``"8h"``."""


class Page(BaseModel):
    """One part of a recipe: unknown keys are errors, values keep their type, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)
