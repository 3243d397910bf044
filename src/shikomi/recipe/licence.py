"""Licences of sources: what each allows, and whether that covers what a recipe says the result is for.

The table is a reading for planning, made with care and without warranty; it is not legal advice.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shikomi.errors import RecipeError
from shikomi.recipe.schema import Recipe

FLAGS = {
    "train": "training a model on it",
    "commercial": "commercial use",
    "redistribute": "handing on the weights",
}
"""The flags that can stop a build, and what a source without the flag forbids."""
MAX_TABLE_BYTES = 64 * 10**6
"""A licence table larger than this is not read when the recipe loads; the corpus stage still records each licence."""


@dataclass(frozen=True)
class Licence:
    """What one licence allows.

    Attributes:
        name: as SPDX writes it, where SPDX knows it.
        train: a model may be trained on it.
        commercial: a model trained on it may serve commercial use.
        redistribute: the weights of such a model may be handed on.
        share_alike: what is derived and handed on carries the same licence.
        note: why, in few words.
    """

    name: str
    train: bool
    commercial: bool
    redistribute: bool
    share_alike: bool
    note: str = ""


@cache
def table() -> dict[str, Licence]:
    """Every known licence by its folded name and its folded other names."""
    rows = json.loads(Path(__file__).with_name("licences.json").read_text(encoding="utf-8"))["licences"]
    found = {}
    for row in rows:
        licence = Licence(
            row["name"],
            *("T" in row["flags"], "C" in row["flags"], "R" in row["flags"], "S" in row["flags"]),
            note=row.get("note", ""),
        )
        for name in (row["name"], *row.get("also", [])):
            found[_folded(name)] = licence
    return found


def _folded(name: str) -> str:
    return re.sub(r"[\s_\-./]+", "", name.casefold()).removesuffix("license").removesuffix("licence")


def find(name: str) -> Licence | None:
    """The licence of that name, however its words are joined (``CC BY 4.0``, ``cc-by-4.0``); None if unknown."""
    return table().get(_folded(name))


def read_free_text(text: str) -> Licence:
    """The licence that a page's own words name; ``unknown`` where they name none.

    Remarks in brackets are passed over; of alternatives (``MIT OR Apache-2.0``) the first known one counts, of licences
    that hold together (``A AND B``, ``A / B``) the strictest.
    """
    unknown = table()["unknown"]
    bare = re.sub(r"\([^)]*\)|（[^）]*）", "", text).strip()
    options = [option for option in (_together(part) for part in re.split(r"\s+OR\s+", bare)) if option is not None]
    return options[0] if options else unknown


def _together(text: str) -> Licence | None:
    parts = [find(re.sub(r"^\s*docs\s+", "", part)) for part in re.split(r"\s+AND\s+|\s+/\s+|;", text)]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    return min(known, key=lambda one: one.train + one.commercial + one.redistribute - one.share_alike)


def forbidden(licence: Licence, recipe: Recipe) -> list[str]:
    """The flags that the recipe needs and the licence lacks."""
    needed = ["train", *(["commercial"] if recipe.use == "commercial" else [])]
    needed += ["redistribute"] if recipe.redistribute else []
    return [flag for flag in needed if not getattr(licence, flag)]


def licence_errors(recipe: Recipe, folder: Path) -> list[RecipeError]:
    """Every source of the recipe whose licence is unknown by name, or forbids what the recipe is for.

    Args:
        recipe: the recipe as loaded.
        folder: where its relative paths start.
    """
    found = []
    for key, name in _named(recipe):
        licence = find(name)
        if licence is None:
            found.append(_unknown(key, name))
        else:
            found += [_refusal(key, licence, flag, recipe) for flag in forbidden(licence, recipe)[:1]]
    if recipe.corpus.licence_table:
        found += _table_errors(recipe, folder / Path(recipe.corpus.licence_table).expanduser())
    return found


def _named(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.corpus.licence or (recipe.corpus.warc and not recipe.corpus.licence_table):
        yield "corpus.licence", recipe.corpus.licence or "unknown"
    for index, source in enumerate(recipe.corpus.documents):
        yield f"corpus.documents.{index}.licence", source.licence
    for index, source in enumerate(recipe.dialogues.sources):
        yield f"dialogues.sources.{index}.licence", source.licence
    for stage, page in (("pretrain", recipe.pretrain), ("anneal", recipe.anneal)):
        for index, one in enumerate(page.mixture):
            if one.outside:
                yield f"{stage}.mixture.{index}.licence", one.licence or "unknown"


def _unknown(key: str, name: str) -> RecipeError:
    import difflib

    names = {_folded(licence.name): licence.name for licence in table().values()}
    near = difflib.get_close_matches(_folded(name), names, 1, cutoff=0.5)
    listed = ", ".join(sorted(set(names.values()), key=str.casefold))
    return RecipeError(
        f'{key} = "{name}" is not a licence in the table',
        where=key,
        hint=(f'did you mean "{names[near[0]]}"? ' if near else "")
        + f'"unknown" is allowed for research that is not handed on; known: {listed}',
    )


def _refusal(key: str, licence: Licence, flag: str, recipe: Recipe, pages: str = "") -> RecipeError:
    wanted = {
        "train": "this recipe trains on it",
        "commercial": f'this recipe says use = "{recipe.use}"',
        "redistribute": "this recipe says redistribute = true",
    }[flag]
    note = f"; {licence.note}" if licence.note else ""
    return RecipeError(
        f'licence "{licence.name}"{pages} forbids {FLAGS[flag]} ({flag} = false{note}), and {wanted}',
        where=key,
        hint="leave the source out, or change what the result is for"
        if flag != "train"
        else "leave the source out: it may only be used to evaluate",
    )


def _table_errors(recipe: Recipe, path: Path) -> list[RecipeError]:
    """Refusals of single pages' licences. A missing table is told by whoever needs its pages."""
    if not path.is_file() or path.stat().st_size > MAX_TABLE_BYTES:
        return []
    import csv

    counts: Counter[str] = Counter()
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE):
                counts[row.get("licence") or "unknown"] += 1
    except (UnicodeDecodeError, csv.Error) as error:
        return [
            RecipeError(
                f"the licence table cannot be read: {error}", where="corpus.licence_table", hint="a TSV in UTF-8"
            )
        ]
    refused: Counter[tuple[Licence, str]] = Counter()
    for text, count in counts.items():
        licence = read_free_text(text)
        for flag in forbidden(licence, recipe)[:1]:
            refused[licence, flag] += count
    return [
        _refusal("corpus.licence_table", licence, flag, recipe, f" of {count} pages")
        for (licence, flag), count in refused.most_common()
    ]
