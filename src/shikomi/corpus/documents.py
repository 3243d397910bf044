"""Files of one's own to shards of pages: the same rows, measures and reasons as the crawl's, from any kind of document.

A task is a handful of small files or a stretch of a large one, so that a folder of 100,000 texts does not become
100,000 shards. A pure function, run anywhere; the files are parsed in a process of their own (``documents/reader.py``).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from shikomi.compute.pool import tick
from shikomi.corpus import fingerprint
from shikomi.corpus.quality.measures import measure
from shikomi.corpus.shards import Rows, host_of, read_licences, read_summary
from shikomi.corpus.text.japanese import is_japanese, normalise_punctuation
from shikomi.corpus.text.page_text import page_text
from shikomi.data.document import DROPPED, KEPT, schema
from shikomi.documents.folder import Found, address
from shikomi.documents.kinds import by_name
from shikomi.documents.lines import join as join_lines
from shikomi.documents.parts import PART_BYTES, parts_of
from shikomi.documents.passage import PROBLEMS, ROWS, Fields, Limits, Part, Passage
from shikomi.documents.reader import Reader, require
from shikomi.errors import DataError
from shikomi.io import atomic, sha256_file
from shikomi.recipe.corpus import CorpusPage
from shikomi.recipe.documents import DocumentsPage

VERSION = 1
"""Of what this module and ``documents/`` do to a file; a shard of another version is made again."""
INPUT = "documents"
"""What a shard's summary says its input is."""
TASK_FILES = 1_000
"""Most files of one task."""
SCHEME = "document"
"""Of addresses: ``document://name/folder/file.pdf#page=3``."""
_UNHARMED = ("unknown_kind", "empty_file", "no_text", "password", "old_word")
"""Problems that say nothing about a source's health: pictures in the folder, files that never had text."""
_SUMMARY = b"shikomi.summary"
_CHECKED_ROWS = 20


@dataclass(frozen=True)
class DocumentsTask:
    """What a worker needs to make one shard.

    Attributes:
        parts: files, or stretches of one, with the name that each has in addresses.
        shard: where the shard goes.
        source: the recipe's page of this source.
        page: the recipe's corpus page.
        licences: a TSV table with columns ``url`` and ``licence``, or None.
    """

    parts: tuple[tuple[Part, str], ...]
    shard: Path
    source: DocumentsPage
    page: CorpusPage
    licences: Path | None = None

    def __str__(self) -> str:
        (first, _), *others = self.parts
        return first.path + (f" and {len(others)} more" if others else "")

    @property
    def bytes(self) -> int:
        """Bytes that the task will read, for progress."""
        return sum(_bytes(part) for part, _ in self.parts)


def plan_tasks(
    source: DocumentsPage,
    files: Sequence[Found],
    page: CorpusPage,
    shards: Path,
    first: int = 0,
    *,
    licences: Path | None = None,
    part_bytes: int = PART_BYTES,
) -> list[DocumentsTask]:
    """Cut a source into tasks; depends on the files' names, order and sizes alone.

    Args:
        source: the recipe's page of this source.
        files: its files (``documents.folder.find``).
        page: the recipe's corpus page.
        shards: the folder for ``part-00000.parquet`` …
        first: number of the first shard.
        licences: a TSV table with columns ``url`` and ``licence``.
        part_bytes: wanted bytes of a task.
    """
    kind = "" if source.kind == "auto" else source.kind
    groups: list[list[tuple[Part, str]]] = []
    room = 0
    for file in files:
        parts = [(part, file.name) for part in parts_of(file.path, kind, part_bytes)]
        size = _bytes(parts[0][0])
        if len(parts) > 1:
            groups += [[part] for part in parts]
            room = 0
        elif groups and size <= room and len(groups[-1]) < TASK_FILES:
            groups[-1] += parts
            room -= size
        else:
            groups.append(parts)
            room = part_bytes - size
    return [
        DocumentsTask(tuple(group), shards / f"part-{number:05d}.parquet", source, page, licences)
        for number, group in enumerate(groups, start=first)
    ]


def check_documents(source: DocumentsPage, files: Sequence[Found]) -> None:
    """Everything that can be known to be wrong before the first file is read for good.

    Raises:
        DataError: the first rows of a file have no text in the field that the recipe names.
        MachineError: a library for one of the files is not installed.
    """
    kind = "" if source.kind == "auto" else source.kind
    kinds = {kind or by_name(file.path) for file in files}
    require(sorted(kinds))
    rows = next((file for file in files if (kind or by_name(file.path)) in ROWS), None)
    if rows is None:
        return
    with Reader(limits_of(source)) as reader:
        passages = reader.read(rows.path, kind=kind, fields=fields_of(source))
        first = [passage for passage, _ in zip(passages, range(_CHECKED_ROWS), strict=False)]
        passages.close()
    wrong = [passage for passage in first if passage.problem == "no_field"]
    if wrong and all(passage.problem for passage in first):
        raise DataError(
            wrong[0].detail,
            where=f"{rows.path} {wrong[0].where}".strip(),
            hint=f'set corpus.documents.text of the source "{source.name}" to the field that holds the text',
        )


def make_documents_shard(task: DocumentsTask) -> dict[str, Any]:
    """Make the shard of one task, unless it is there already; returns its summary.

    Returns:
        As ``shards.make_shard``: ``records`` (documents), ``skipped`` and ``quarantined`` (empty: a file that ends its
        reader is one row with its reason), ``damaged``, ``input``, ``range``, ``versions``, ``sha256``; and ``source``,
        ``files``, ``kinds`` (documents by kind), ``problems`` (documents by why they could not be read).
    """
    made = _fingerprint(task)
    summary = read_summary(task.shard, made)
    if summary is None:
        summary = _make(task, made)
    else:
        tick(bytes=task.bytes, pages=summary["records"])
    return {**summary, "sha256": sha256_file(task.shard)}


def _make(task: DocumentsTask, made: str) -> dict[str, Any]:
    rows = Rows(schema())
    kinds: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    licences = read_licences(task.licences) if task.licences else {}
    html = partial(
        page_text,
        trim_lines=task.page.trim_lines,
        punctuation=task.page.normalise_punctuation,
        footer=task.page.cut_footer,
    )
    with (
        Reader(limits_of(task.source), html=html) as reader,
        atomic(task.shard, "wb") as handle,
        parquet.ParquetWriter(handle, rows.schema, compression="zstd") as writer,
    ):
        for part, name in task.parts:
            for row, kind in _rows_of(reader, part, name, task):
                kinds[kind] += 1
                problems[row["reason"]] += row["reason"] in PROBLEMS
                row["licence"] = licences.get(row["url"], task.source.licence)
                rows.add(row)
                if rows.full():
                    rows.flush(writer)
                tick(pages=1)
            tick(bytes=_bytes(part))
        rows.flush(writer)
        summary = _summary(task, rows.count, kinds, problems)
        writer.add_key_value_metadata({_SUMMARY: json.dumps(summary), fingerprint.KEY: made})
    return summary


def _summary(task: DocumentsTask, records: int, kinds: Counter[str], problems: Counter[str]) -> dict[str, Any]:
    return {
        "records": records,
        "skipped": {},
        "quarantined": [],
        "damaged": sum(count for reason, count in problems.items() if reason not in _UNHARMED),
        "input": INPUT,
        "range": [0, task.bytes],
        "versions": _versions(),
        "source": task.source.name,
        "files": len(task.parts),
        "kinds": dict(sorted(kinds.items())),
        "problems": {reason: count for reason, count in sorted(problems.items()) if count},
    }


@functools.cache
def _versions() -> dict[str, str]:
    """Versions of what reads files; an extra that is not installed has none."""
    found = {"documents": str(VERSION)}
    for name in ("shikomi", "pyarrow", "resiliparse", "pypdfium2"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def limits_of(source: DocumentsPage) -> Limits:
    """The limits that a source's page sets."""
    return Limits(
        cpu_seconds=source.max_time,
        memory_bytes=source.max_memory_bytes,
        characters=source.max_characters,
        file_bytes=source.max_file_bytes,
        pages=source.max_pages,
    )


def fields_of(source: DocumentsPage) -> Fields:
    """The fields of rows that a source's page names."""
    return Fields(source.text, source.title, source.date_field, source.id, source.url)


def _rows_of(reader: Reader, part: Part, name: str, task: DocumentsTask) -> Iterator[tuple[dict[str, Any], str]]:
    """``(row, kind)`` of each document of a file."""
    source = task.source
    kind = "" if source.kind == "auto" else source.kind
    passages = reader.read(part, kind=kind, fields=fields_of(source))
    whole = source.join == "file"
    for passage, only in _documents(passages, whole):
        row = read_document(passage, name, source, task.page)
        if only:
            row["bytes"] = _bytes(part)
        yield row, passage.kind or "unknown"


def _documents(passages: Iterator[Passage], whole: bool) -> Iterator[tuple[Passage, bool]]:
    """Passages put together to documents, and whether one is all of its file."""
    held: list[Passage] = []
    for passage in passages:
        if passage.kind in ROWS or not whole:
            yield passage, False
        elif held and passage.document != held[0].document:
            yield _joined(held), False
            held = [passage]
        else:
            held.append(passage)
    if held:
        yield _joined(held), held[0].document == 0


def _joined(passages: list[Passage]) -> Passage:
    """One document's passages as one; a problem of any is the document's: half a text is none."""
    problem = next((passage for passage in passages if passage.problem), None)
    if problem:
        return problem
    first = passages[0]
    text = first.text
    for before, passage in itertools.pairwise(passages):
        if before.goes_on:
            head, _, rest = passage.text.partition("\n")
            last = text.rpartition("\n")[2]
            text = text[: len(text) - len(last)] + join_lines(last, head) + (f"\n{rest}" if rest else "")
        else:
            text = f"{text}\n{passage.text}"
    where = f"document={first.document + 1}" if first.document else ""
    return replace(first, text=text, where=where)


def read_document(passage: Passage, name: str, source: DocumentsPage, page: CorpusPage) -> dict[str, Any]:
    """One document as a row: its text and every measure of it, or why there is no text to measure.

    Args:
        passage: the document, or its problem.
        name: of its file, as it stands in addresses.
        source: the recipe's page of the source.
        page: the recipe's corpus page.
    """
    text = passage.text
    if passage.title and source.title and not text.startswith(passage.title):
        text = f"{passage.title}\n{text}"
    if page.normalise_punctuation:
        text = normalise_punctuation(text)
    url = _url(passage, name, source)
    size = len(text.encode("utf-8", "surrogatepass"))
    date = passage.date or source.date
    row: dict[str, Any] = {
        "id": hashlib.blake2b(f"{url}\n{date}\n{size}".encode(), digest_size=8).hexdigest(),
        "url": url,
        "host": host_of(url) or source.name,
        "date": date,
        "source": source.name,
        "bytes": size,
        "characters": 0,
        "text": "",
        "charset": passage.charset,
        "verdict": KEPT,
        "reason": "",
        "detail": "",
    }
    why = _why_not(passage, text)
    if not passage.problem:
        row["text"], row["characters"] = text, len(text)
    if why:
        row["verdict"] = DROPPED
        row["reason"], row["detail"] = why
    else:
        row.update(measure(text))
    return row


def _why_not(passage: Passage, text: str) -> tuple[str, str] | None:
    if passage.problem:
        told = f"{PROBLEMS[passage.problem]}; {passage.detail}" if passage.detail else PROBLEMS[passage.problem]
        return passage.problem, told
    japanese, detail = is_japanese(text)
    return None if japanese else ("not_japanese", detail)


def _url(passage: Passage, name: str, source: DocumentsPage) -> str:
    """The document's own address, or one made of its source's name, its file's name and its place or id."""
    if passage.url:
        return passage.url
    if passage.id:
        return f"{SCHEME}://{source.name}/{address(passage.id)}"
    return f"{SCHEME}://{source.name}/{name}" + (f"#{passage.where}" if passage.where else "")


def _bytes(part: Part) -> int:
    """Bytes of a part; of row groups, their share is not known, so each counts what a task is meant to have."""
    try:
        size = Path(part.path).stat().st_size
    except OSError:
        return 0
    if part.start == 0 and part.stop < 0:
        return size
    if by_name(Path(part.path)) == "parquet":
        return min(size, PART_BYTES)
    return (size if part.stop < 0 else part.stop) - part.start


def _fingerprint(task: DocumentsTask) -> str:
    """What a shard depends on: versions, both pages, the licences, and each part's name, stretch, size and two ends."""
    parts = [[name, part.start, part.stop, part.first, fingerprint.ends(Path(part.path))] for part, name in task.parts]
    table = sha256_file(task.licences) if task.licences else ""
    known = [VERSION, task.source.identity(), task.page.reading(), parts, table]
    return fingerprint.digest(known)
