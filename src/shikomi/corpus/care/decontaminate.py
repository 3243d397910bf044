"""Decontamination: which items of evaluation sets a document holds, whether that is a leak, and what is done then.

The rule, for each field of each item, within one document and never over several: a field of some length is *equal* if
the document holds all of it, *most* from nine tenths of its characters covered by shared n-grams on, *part* from seven
tenths on. A short field counts where it equals a part of the document. A long field is a leak by itself from the
recipe's coverage on; a short field, or a passage, only with another field of the item: else it is *one field*.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from shikomi.corpus.care.contamination import (
    ARRAYS,
    Compared,
    Hashed,
    Index,
    code_points,
    comparable,
    covered,
    longest_shared,
    make_index,
)
from shikomi.corpus.care.eval_items import read_items
from shikomi.corpus.text.folding import nfkc
from shikomi.data.eval_only import table, text_digest
from shikomi.io import atomic, read_json, write_json
from shikomi.recipe.decontaminate import DecontaminatePage

REASON = "contaminated"
"""Reason of the verdict on a document that holds a leak."""
PROMPTS = "known prompts"
"""Name of the sets that are known by digests."""
TIERS = ("equal", "most", "part", "one field")
_MOST, _PART = 0.9, 0.7
_MIN_SHORT = 2
"""Fields of one character (labels, option letters) say nothing."""
_MIN_PROMPT, _MAX_PROMPT = 8, 4_000
"""Characters of the shortest and longest line that is taken for a prompt."""
_AROUND = 30
"""Characters told before and after a match, so that people can judge it."""
MAX_ROWS = 20_000
"""Rows of ``contamination.json``; the counts count all."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A field of an evaluation set in one document.

    Attributes:
        set: the set's name.
        field: the field's name.
        item: number of the first item that has this text there, from 1.
        items: how many items have it.
        tier: of ``TIERS``.
        coverage: share of the field's characters found in this document.
        matched: characters of the longest stretch found.
        characters: of the field, as compared.
        leak: whether it is one.
        number: of the field in the index; -1 for a known prompt.
        around: up to 30 characters of the document before and after the longest stretch, as compared.
    """

    set: str
    field: str
    item: int
    items: int
    tier: str
    coverage: float
    matched: int
    characters: int
    leak: bool
    number: int
    around: str = ""


@dataclass(frozen=True, slots=True)
class Treated:
    """What became of a document: its text, what it held, and why it goes (empty if it stays)."""

    text: str
    hits: list[Hit]
    reason: str = ""
    detail: str = ""
    cut_characters: int = 0


@dataclass(frozen=True, slots=True)
class _Text:
    """One text of a field, with every item that has it."""

    set: str
    field: str
    plain: str
    passage: bool
    items: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a document holds of one text: tier, share of its characters, longest stretch, and what is around that."""

    tier: str
    coverage: float
    matched: int
    around: str = ""


def _found(plain: str, document: str, n: int, coverage: float) -> _Found:
    place = document.find(plain)
    tier = "equal" if place >= 0 else "most" if coverage >= _MOST else "part"
    start, matched = (0, len(plain)) if place >= 0 else longest_shared(plain, document, n)
    place = place if place >= 0 else document.find(plain[start : start + matched])
    after = place + matched
    around = document[max(0, place - _AROUND) : place] + "…" + document[after : after + _AROUND]
    return _Found(tier, 1.0 if tier == "equal" else coverage, matched, around)


def _apart(one: _Text, other: _Text) -> bool:
    """Whether two texts of an item are evidence apart: of two fields, and none inside the other, as answers are inside
    their passage."""
    return one.field != other.field and one.plain not in other.plain and other.plain not in one.plain


class Contamination:
    """The evaluation sets of a recipe, indexed; once kept in a folder, it travels between processes as that path.

    Attributes:
        page: the recipe's.
        counts: by set: ``items``, and ``fields`` that can be found.
    """

    def __init__(self, paths: list[list[Path]], page: DecontaminatePage) -> None:
        """Read and index the sets.

        Args:
            paths: the files of each set of ``page.sets``, in its order.
            page: the recipe's page.

        Raises:
            DataError, RecipeError: a set that cannot be read as the recipe says.
        """
        self.page = page
        self.counts: dict[str, dict[str, int]] = {}
        self._texts = self._read(paths)
        self._lengths = np.array([len(text.plain) for text in self._texts], dtype=np.int64)
        self._short: dict[str, list[int]] = {}
        sizes: dict[int, dict[int, str]] = {}
        for number, text in enumerate(self._texts):
            if len(text.plain) < page.short_characters:
                self._short.setdefault(text.plain, []).append(number)
            else:
                n = page.long_ngram if len(text.plain) >= page.long_characters else page.short_ngram
                sizes.setdefault(n, {})[number] = text.plain
        self._indices: list[Index] = [make_index(n, fields) for n, fields in sorted(sizes.items())]
        self._folder: Path | None = None

    def keep(self, folder: Path) -> None:
        """Write the index, tens of MB for large sets, so that workers map it instead of being sent it each time."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, index in enumerate(self._indices):
            for name in ARRAYS:
                with atomic(folder / f"{number}.{name}.npy", "wb") as handle:
                    np.save(handle, getattr(index, name))
        texts = [[text.set, text.field, text.plain, text.passage, text.items] for text in self._texts]
        shapes = [[index.n, index.shift] for index in self._indices]
        write_json(
            folder / "sets.json", {"texts": texts, "indices": shapes, "counts": self.counts, "short": self._short}
        )
        self._folder = folder

    def __getstate__(self) -> dict[str, Any]:
        return {"page": self.page, "_folder": self._folder} if self._folder else self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._folder:
            self.__dict__.update(_kept(self._folder))

    def _read(self, paths: list[list[Path]]) -> list[_Text]:
        found: dict[tuple[int, str, str], list[tuple[int, int]]] = {}
        for place, (evaluation, files) in enumerate(zip(self.page.sets, paths, strict=True)):
            item = 0
            for item, fields in enumerate(read_items(evaluation, files), start=1):
                for name, texts in fields.items():
                    for plain in dict.fromkeys(comparable(text) for text in texts):
                        if len(plain) >= _MIN_SHORT:
                            found.setdefault((place, name, plain), []).append((place, item))
            fields_found = sum(key[0] == place for key in found)
            self.counts[evaluation.name] = {"items": item, "fields": fields_found}
        sets = self.page.sets
        return [
            _Text(sets[place].name, name, plain, name in sets[place].passages, tuple(items))
            for (place, name, plain), items in found.items()
        ]

    def hits(self, text: str) -> list[Hit]:
        """Every field found in a document, in the order of the sets; time is linear in the text where little is found.

        What is found depends on the text and the sets alone.
        """
        found: dict[int, _Found] = {}
        if self._texts:
            compared = Compared(text)
            self._find_long(compared, found)
            if self._short:
                for part in self._short.keys() & compared.short_parts(self.page.short_characters):
                    for number in self._short[part]:
                        found[number] = _Found("one field", 1.0, len(part))
        hits = [self._hit(number, found[number], leak) for number, leak in self._leaks(found)]
        return hits + (_prompts(text, self.page.short_characters) if self.page.known_prompts else [])

    def _find_long(self, compared: Compared, found: dict[int, _Found]) -> None:
        hashed = Hashed(compared.codes)
        for index in self._indices:
            fields, offsets = index.shared(hashed)
            if not len(fields):
                continue
            order = np.argsort(fields, kind="stable")
            numbers, starts, counts = np.unique(fields[order], return_index=True, return_counts=True)
            may_be = counts * index.n >= _PART * self._lengths[numbers]
            for number, start, count in zip(numbers[may_be], starts[may_be], counts[may_be], strict=True):
                plain = self._texts[number].plain
                coverage = float(covered(offsets[order[start : start + count]], index.n, len(plain)).mean())
                if coverage >= _PART:
                    found[int(number)] = _found(plain, compared.plain, index.n, coverage)

    def _leaks(self, found: dict[int, _Found]) -> list[tuple[int, bool]]:
        """Each field found, with whether it is a leak: by itself, or by another field of one of its items."""
        of_item: dict[tuple[int, int], list[int]] = {}
        for number in found:
            for item in self._texts[number].items:
                of_item.setdefault(item, []).append(number)
        told = []
        for number in sorted(found):
            text = self._texts[number]
            alone = found[number].tier != "one field" and not text.passage
            enough = found[number].coverage >= self.page.leak_coverage
            enough = enough and found[number].matched >= self.page.leak_run * len(text.plain)
            second = any(_apart(text, self._texts[other]) for item in text.items for other in of_item[item])
            told.append((number, enough and (alone or second)))
        return told

    def _hit(self, number: int, found: _Found, leak: bool) -> Hit:
        text, tier = self._texts[number], found.tier
        if tier == "one field" and leak:
            tier = "equal"
        elif text.passage and not leak and found.coverage >= self.page.leak_coverage:
            tier = "one field"
        return Hit(
            set=text.set,
            field=text.field,
            item=text.items[0][1],
            items=len(text.items),
            tier=tier,
            coverage=round(found.coverage, 4),
            matched=found.matched,
            characters=len(text.plain),
            leak=leak,
            number=number,
            around=found.around,
        )

    def treat(self, text: str) -> Treated:
        """A document with its hits, and what the recipe does with its leaks."""
        hits = self.hits(text)
        leaks = [hit for hit in hits if hit.leak]
        if not leaks:
            return Treated(text, hits)
        worst = max(leaks, key=lambda hit: (hit.matched, -hit.number))
        detail = f"{worst.set} {worst.field} item {worst.item}: {worst.tier}, {worst.matched} characters"
        if self.page.action == "cut":
            rest = self._cut(text, leaks)
            if comparable(rest) and not any(hit.leak for hit in self.hits(rest)):
                return Treated(rest, hits, cut_characters=len(text) - len(rest))
        return Treated(text, hits, REASON, detail)

    def _cut(self, text: str, leaks: list[Hit]) -> str:
        """The text without the lines of which half or more is evaluation text, or which hold half of a field."""
        lines = text.split("\n")
        plain = [comparable(line) for line in lines]
        borders = np.cumsum([0, *map(len, plain)])
        taken = np.zeros(int(borders[-1]), dtype=bool)
        cut = [False] * len(lines)
        hashed = Hashed(code_points("".join(plain)))
        for leak in leaks:
            field = self._texts[leak.number].plain if leak.number >= 0 else ""
            n = self.page.long_ngram if len(field) >= self.page.long_characters else self.page.short_ngram
            if len(field) < self.page.short_characters:
                cut = [was or (line == field and line != "") for was, line in zip(cut, plain, strict=True)]
                continue
            shared = np.isin(hashed.ngrams(n), Hashed(code_points(field)).ngrams(n))
            own = covered(np.flatnonzero(shared), n, len(taken))
            taken |= own
            cut = [
                was or int(own[start:end].sum()) * 2 >= len(field)
                for was, start, end in zip(cut, borders[:-1], borders[1:], strict=True)
            ]
        if any(leak.number < 0 for leak in leaks):
            cut = [was or text_digest(line) in table()["prompts"] for was, line in zip(cut, lines, strict=True)]
        kept = [
            line
            for line, was, start, end in zip(lines, cut, borders[:-1], borders[1:], strict=True)
            if not was and (start == end or int(taken[start:end].sum()) * 2 < end - start)
        ]
        return "\n".join(kept)


@lru_cache(maxsize=1)
def _kept(folder: Path) -> dict[str, Any]:
    """What ``keep`` wrote, read once in a process."""
    told = read_json(folder / "sets.json")
    texts = [_Text(*text, tuple(map(tuple, items))) for *text, items in told["texts"]]  # type: ignore[call-arg]

    def arrays(number: int) -> dict[str, np.ndarray]:
        return {name: np.load(folder / f"{number}.{name}.npy", mmap_mode="r") for name in ARRAYS}

    return {
        "counts": told["counts"],
        "_texts": texts,
        "_lengths": np.array([len(text.plain) for text in texts], dtype=np.int64),
        "_short": told["short"],
        "_indices": [Index(n, **arrays(number), shift=shift) for number, (n, shift) in enumerate(told["indices"])],
    }


def _prompts(text: str, short: int) -> list[Hit]:
    """Lines that are prompts of the sets known by digest."""
    known, hits = table()["prompts"], []
    for line in dict.fromkeys(nfkc(text).casefold().split("\n")):
        if not _MIN_PROMPT <= len(line) <= _MAX_PROMPT:
            continue
        name = known.get(hashlib.sha256("".join(line.split()).encode("utf-8", "surrogatepass")).hexdigest()[:16])
        if name:  # the digest is data.eval_only.text_digest's, of a line that is folded with all the others
            size = len(comparable(line))
            tier = "equal" if size >= short else "one field"
            hits.append(Hit(PROMPTS, name, 0, 1, tier, 1.0, size, size, size >= short, -1))
    return hits


def rows(document: str, treated: Treated) -> list[dict[str, Any]]:
    """What the report keeps of a document: where and how much, and a few characters around; plain JSON values."""
    done = "none" if not any(hit.leak for hit in treated.hits) else "dropped" if treated.reason else "cut"
    return [
        {
            "set": hit.set, "field": hit.field, "item": hit.item, "items": hit.items, "document": document,
            "tier": hit.tier, "coverage": hit.coverage, "matched": hit.matched, "characters": hit.characters,
            "leak": hit.leak, "done": done, "around": hit.around,
        }
        for hit in treated.hits
    ]  # fmt: skip


def report(contamination: Contamination, found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """``contamination.json`` of the rows of all documents, whatever their order.

    Returns:
        ``sets`` (by name: items, fields, and of documents and items by tier), ``hits`` (the rows without single short
        fields, by set, item, field and document; at most ``MAX_ROWS``), ``num_hits``, ``documents`` by what was done.
    """
    order = sorted(found, key=lambda row: (row["set"], row["item"], row["field"], row["document"]))
    sets: dict[str, dict[str, Any]] = {name: {**counts} for name, counts in sorted(contamination.counts.items())}
    if contamination.page.known_prompts:
        sets[PROMPTS] = {"items": len(table()["prompts"]), "fields": len(table()["prompts"])}
    for name, told in sets.items():
        own = [row for row in order if row["set"] == name]
        told["by_tier"] = {tier: sum(row["tier"] == tier for row in own) for tier in TIERS}
        told["leaks"] = sum(row["leak"] for row in own)
        told["leaked_items"] = len(
            {(row["field"] if not row["item"] else "", row["item"]) for row in own if row["leak"]}
        )
        told["documents"] = len({row["document"] for row in own})
        told["one_field"] = dict(sorted(Counter(r["field"] for r in own if r["tier"] == "one field").items()))
    listed = [row for row in order if row["tier"] != "one field"]
    done = Counter({row["document"]: row["done"] for row in order}.values())
    return {"sets": sets, "documents": dict(sorted(done.items())), "num_hits": len(listed), "hits": listed[:MAX_ROWS]}
