"""Items of evaluation sets, read from the files they are published in, by the fields that the recipe names."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shikomi.errors import DataError, RecipeError
from shikomi.io import read_json, read_jsonl
from shikomi.recipe.decontaminate import EvaluationSet

Item = dict[str, list[str]]
"""Texts of an item by the field's name in the recipe."""
_FORMS = (".jsonl", ".json", ".tsv", ".csv")


def read_items(page: EvaluationSet, paths: list[Path]) -> Iterator[Item]:
    """The items of a set, file after file, in order.

    Raises:
        DataError: a file that cannot be read, or holds no item.
        RecipeError: a field that no item has; the nearest name is shown.
    """
    names = [*page.fields, *page.passages]
    missing, seen, count = set(names), {}, 0
    for path in paths:
        for chain in _rows(page, path):
            count += 1
            item = {name: _texts(chain, name) for name in names}
            missing -= {name for name in names if item[name]}
            if missing and len(seen) < 100:
                seen |= dict.fromkeys(key for row in chain for key in row)
            yield item
    where = ", ".join(map(str, paths[:3]))
    if not count:
        raise DataError(f'evaluation set "{page.name}" holds no item', where=where, hint="name the file with its items")
    if missing:
        name = sorted(missing)[0]
        near = difflib.get_close_matches(name, list(seen), 1)
        raise RecipeError(
            f'no item of evaluation set "{page.name}" has a text in "{name}"',
            where=where,
            hint=f'did you mean "{near[0]}"?' if near else f"fields there: {', '.join(list(seen)[:20])}",
        )


def _rows(page: EvaluationSet, path: Path) -> Iterator[list[dict[str, Any]]]:
    """Each item as the objects it stands in, the innermost first."""
    form = path.suffix.lower()
    if form == ".jsonl":
        for number, row in read_jsonl(path):
            if not isinstance(row, dict):
                raise DataError(
                    "line is no item: expected an object", where=f"{path}:{number}", hint="one object a line"
                )
            yield [row]
    elif form == ".json":
        yield from _nested(page, path)
    elif form in (".tsv", ".csv"):
        yield from ([row] for row in _table(page, path, "\t" if form == ".tsv" else ","))
    else:
        raise DataError(
            f"an evaluation set is read from {', '.join(_FORMS)}", where=str(path), hint="convert it to JSON lines"
        )


def _nested(page: EvaluationSet, path: Path) -> Iterator[list[dict[str, Any]]]:
    try:
        found = read_json(path)
    except DataError:  # many sets call JSON lines .json
        yield from ([row] for _, row in read_jsonl(path) if isinstance(row, dict))
        return
    if isinstance(found, dict) and not page.items and any(_holds_objects(value) for value in found.values()):
        raise RecipeError(
            f'evaluation set "{page.name}" is one JSON object: where are its items?',
            where=str(path),
            hint=f'set items to the keys that lead to them, for example "{next(iter(found), "data")}"',
        )
    yield from _walk(found, page.items.split(".") if page.items else [], [])


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(member, dict) for member in value)


def _walk(value: Any, keys: list[str], around: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    if isinstance(value, list):
        for member in value:
            yield from _walk(member, keys, around)
    elif isinstance(value, dict):
        if keys:
            yield from _walk(value.get(keys[0]), keys[1:], [value, *around])
        else:
            yield [value, *around]


def _table(page: EvaluationSet, path: Path, delimiter: str) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read evaluation set: {error}", where=str(path), hint="a table in UTF-8") from error
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    columns: list[str] | None = None
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting):
        if not any(row):
            continue
        if page.header and columns is None:
            columns = row
            continue
        names = columns or [str(number) for number in range(1, len(row) + 1)]
        yield dict(zip(names, row, strict=False))


def _texts(chain: list[dict[str, Any]], name: str) -> list[str]:
    """Texts of a field, looked for in the item, then in what stands around it."""
    parts = [_one(chain, part) for part in name.split("+")]
    return parts[0] if len(parts) == 1 else ["\n".join(text for part in parts for text in part)] if any(parts) else []


def _one(chain: list[dict[str, Any]], name: str) -> list[str]:
    for row in chain:
        found = [row[name]] if name in row else _follow(row, name.split("."))
        texts = [text for value in found for text in _leaves(value)]
        if texts:
            return texts
    return []


def _follow(value: Any, keys: list[str]) -> list[Any]:
    if isinstance(value, list):
        return [found for member in value for found in _follow(member, keys)]
    if not keys:
        return [value]
    return _follow(value[keys[0]], keys[1:]) if isinstance(value, dict) and keys[0] in value else []


def _leaves(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for member in value for text in _leaves(member)]
    if isinstance(value, str):
        return [value] if value.strip() else []
    return [json.dumps(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []
