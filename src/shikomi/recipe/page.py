"""The base of every recipe page: strict, closed, frozen; and the field types that carry units."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from shikomi.units import parse_count, parse_seconds


def _without_plugins() -> None:
    """Keep pydantic from searching every installed package for plugins when the first page is made.

    A recipe means the same on every machine, whatever is installed beside Shikomi. The search also loads
    ``importlib.metadata`` with the mail parser behind it: a fifth of the processor time that ``shikomi plan`` may take.
    """
    loader = ModuleType("pydantic.plugin._loader")
    vars(loader)["get_plugins"] = tuple
    sys.modules.setdefault(loader.__name__, loader)


_without_plugins()

Count = Annotated[int, BeforeValidator(parse_count)]
"""A whole number written as people say it: ``4000``, ``"4k"``, ``"13B"``."""

Seconds = Annotated[float, BeforeValidator(parse_seconds)]
"""A duration written with its unit: ``"90s"``, ``"8h"``."""


class Page(BaseModel):
    """One part of a recipe: unknown keys are errors, values keep their type, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """The fields that decide what is built, as plain values: those marked ``WHERE_ONLY`` are left out, and those
        marked ``WHEN_GIVEN`` while they have their default value."""
        fields = {}
        for name, info in type(self).model_fields.items():
            mark = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            value = getattr(self, name)
            if mark.get("where_only") or (mark.get("when_given") and value == info.get_default()):
                continue
            fields[name] = _plain(value)
        return fields


WHERE_ONLY: Any = {"where_only": True}
"""Mark of a field that says where or how work is done (paths, sizes in memory) and never changes what is built:
``Field(json_schema_extra=WHERE_ONLY)``. Outside files count by their content, as inputs of a step."""

WHEN_GIVEN: Any = {"when_given": True}
"""Mark of a field that came later and whose default is what was done before it: at its default it is no part of the
identity, so that what was built before stays built."""


def _plain(value: Any) -> Any:
    if isinstance(value, Page):
        return value.identity()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
