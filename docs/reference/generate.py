"""Writes ``docs/reference/recipe.md`` from the recipe's pages: ``make reference``.

A field's meaning is the text below it in the source (``src/shikomi/recipe/``), so that code and reference agree;
``tests/docs`` checks that the file is up to date and that no field lacks a meaning.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shikomi.recipe.corpus import PRESETS
from shikomi.recipe.page import Page
from shikomi.recipe.schema import Recipe
from shikomi.units import parse_count, parse_seconds

TARGET = Path(__file__).with_name("recipe.md")

HEAD = """\
# Recipe reference / レシピの全項目

<!-- Written by docs/reference/generate.py (make reference). Change the text in src/shikomi/recipe/, not here. -->

日本語の説明は[手引き](../guides/own-pages.md)と[用語集](../glossary.md)にあります。

A recipe is one TOML file. Every key is listed here; an unknown one is an error that shows the nearest right spelling.
A key that is left out has the default shown. `--set KEY=VALUE` replaces one key for one command, for example
`--set sample.seed=3` or `--set 'corpus.warc=["pages/*.warc.gz"]'`.

| kind of value | written as |
|---|---|
| count | a whole number, or text with a letter: `"4k"` (10³), `"2.5M"` (10⁶), `"13B"` (10⁹), `"1T"` (10¹²) |
| duration | text with its unit: `"90s"`, `"10min"`, `"8h"`, `"2d"` |
| share | a number from 0 to 1 |
| text, number, whole number, true or false, list | as in TOML |

Fields marked **where** say where or how work is done; they never change what is built, and no stage's id depends on
them. Paths are **where** as well: outside files count by their contents.
"""


def render() -> str:
    """The whole reference as Markdown."""
    sections = [HEAD, _top_section()]
    for key, page, default in _tables(Recipe):
        sections.append(_section(key, page, default))
    sections.append(_presets())
    return "\n".join(sections)


def fields() -> Iterator[tuple[str, FieldInfo, str]]:
    """Every field of a recipe: its dotted key, what pydantic knows of it, its meaning (empty if nobody wrote one)."""
    for name, info in Recipe.model_fields.items():
        if _page_of(info.annotation) is None:
            yield name, info, meanings(Recipe).get(name, "")
    for key, page, _ in _tables(Recipe):
        for name, info in page.model_fields.items():
            if _page_of(info.annotation) is None:
                yield f"{key.strip('[]')}.{name}", info, meanings(page).get(name, "")


def meanings(page: type[Page]) -> dict[str, str]:
    """The text below each field of a page's class, inherited ones included, on one line each."""
    found: dict[str, str] = {}
    for kind in reversed(page.__mro__):
        if kind is not Page and isinstance(kind, type) and issubclass(kind, Page):
            found |= _texts_below_fields(kind)
    return found


def _texts_below_fields(kind: type[Page]) -> dict[str, str]:
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for above, below in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            found[above.target.id] = _one_line(below.value.value)
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _tables(page: type[Page], prefix: str = "", values: Page | None = None) -> Iterator[tuple[str, type[Page], Any]]:
    """The tables below a page, depth first: (key as TOML writes it, page, its default values or None)."""
    for name, info in page.model_fields.items():
        inner = _page_of(info.annotation)
        if inner is None:
            continue
        key = f"{prefix}{name}"
        repeated = get_origin(info.annotation) is list
        default = None if repeated else getattr(values, name, None) if values else _default(info)
        yield (f"[[{key}]]" if repeated else f"[{key}]"), inner, default
        yield from _tables(inner, f"{key}.", default if isinstance(default, Page) else None)


def _page_of(annotation: Any) -> type[Page] | None:
    """The page that an annotation holds: itself, or in a list or an optional."""
    if isinstance(annotation, type) and issubclass(annotation, Page):
        return annotation
    if get_origin(annotation) in (list, Union, types.UnionType):
        return next((page for part in get_args(annotation) if (page := _page_of(part))), None)
    return None


def _default(info: FieldInfo) -> Any:
    return info.get_default(call_default_factory=True)


def _top_section() -> str:
    rows = [
        _row(name, info, _default(info), meanings(Recipe).get(name, ""))
        for name, info in Recipe.model_fields.items()
        if _page_of(info.annotation) is None
    ]
    return "\n".join(["## At the top of the file", "", _one_line(Recipe.__doc__ or ""), "", *_header(), *rows, ""])


def _section(key: str, page: type[Page], values: Any) -> str:
    told = meanings(page)
    rows = []
    for name, info in page.model_fields.items():
        if _page_of(info.annotation) is None:
            default = getattr(values, name) if isinstance(values, Page) else _default(info)
            rows.append(_row(name, info, default, told.get(name, "")))
    return "\n".join([f"## `{key}`", "", _paragraphs(page.__doc__ or ""), "", *_header(), *rows, ""])


def _paragraphs(text: str) -> str:
    return "\n\n".join(_one_line(part) for part in inspect.cleandoc(text).split("\n\n"))


def _header() -> list[str]:
    return ["| field | value | default | meaning |", "|---|---|---|---|"]


def _row(name: str, info: FieldInfo, default: Any, meaning: str) -> str:
    extra = info.json_schema_extra
    mark = " **where**" if isinstance(extra, dict) and extra.get("where_only") else ""
    return f"| `{name}` | {_kind(info)} | {_shown(default)} | {meaning}{mark} |"


def _kind(info: FieldInfo) -> str:
    validators = [getattr(item, "func", None) for item in info.metadata]
    bounds = [bound for item in info.metadata if (bound := _bound(item))]
    if parse_count in validators:
        kind = "count"
    elif parse_seconds in validators:
        kind = "duration"
    else:
        kind = _annotation(info.annotation)
    return f"{kind}, {' and '.join(bounds)}" if bounds else kind


def _bound(item: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "at least", "max_length": "at most"}
    for name, sign in signs.items():
        value = getattr(item, name, None)
        if value is not None:
            return f"{sign} {value:,}" + (" characters" if name.endswith("length") else "")
    return ""


def _annotation(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f'`"{value}"`' for value in get_args(annotation))
    if get_origin(annotation) is list:
        return f"list of {_annotation(get_args(annotation)[0])}"
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_annotation(part) for part in get_args(annotation) if part is not type(None))
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(annotation, str(annotation))


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "must be given"
    if default is None:
        return "not set"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, str):
        return f'`"{default}"`'
    return f"`{default}`"


def _presets() -> str:
    names = list(PRESETS)
    rules = list(dict.fromkeys(rule for preset in PRESETS.values() for rule in preset))
    rows = [
        f"| `{rule}` | "
        + " | ".join(f"{PRESETS[name][rule]:g}" if rule in PRESETS[name] else "–" for name in names)
        + " |"
        for rule in rules
    ]
    head = "| rule | " + " | ".join(f"`{name}`" for name in names) + " |"
    return "\n".join(
        [
            "## Thresholds of the presets",
            "",
            "`min_X` drops a document whose measure X is below, `max_X` one whose measure is above. `–`: no such rule.",
            "`swallow-v1` is the rule set published with the Swallow corpus (Okazaki et al. 2024, arXiv:2404.17733).",
            "",
            head,
            "|---|" + "---|" * len(names),
            *rows,
            "",
        ]
    )


def main() -> int:
    """Write the reference."""
    TARGET.write_text(render(), encoding="utf-8")
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
