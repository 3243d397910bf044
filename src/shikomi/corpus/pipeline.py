"""The corpus stage: pages in, Parquet shards with a verdict for every document out; and both stages in one call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.compute.local import Pool, tick
from shikomi.corpus import decide
from shikomi.corpus.dedup import Copies, find_copies
from shikomi.corpus.funnel import COUNTED, Funnel, one_line
from shikomi.corpus.pages import read_pages
from shikomi.data.document import DROPPED, KEPT, schema, shard_paths
from shikomi.errors import DataError
from shikomi.io import atomic, read_json, write_json
from shikomi.log import Progress, silent
from shikomi.recipe.corpus import CorpusPage


def build_corpus(
    page: CorpusPage,
    warcs: list[Path],
    out: Path,
    *,
    licences: Path | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Both stages, one after the other, with the pages in ``out/scratch/pages``: ``read_pages``, ``decide_corpus``."""
    pages = out / "scratch" / "pages"
    read_pages(page, warcs, pages, licences=licences, workers=workers, progress=progress)
    return decide_corpus(page, pages, out, workers=workers, progress=progress)


def decide_corpus(
    page: CorpusPage, pages: Path, out: Path, *, workers: int = 1, progress: Progress = silent
) -> dict[str, Any]:
    """Decide which documents are kept; decided shards of an earlier attempt in ``out`` are used again.

    Args:
        page: the recipe's corpus page, of which ``page.deciding()`` counts.
        pages: folder of the pages stage.
        out: folder for ``shards/part-00000.parquet`` …, ``funnel.json`` and ``samples.json``; scratch in ``scratch/``.
        workers: processes to use; the bytes do not depend on it.
        progress: told shards.

    Returns:
        Facts: the counts of ``funnel.json`` without hosts.

    Raises:
        DataError: no page is kept.
    """
    shards = shard_paths(pages)
    tasks = [decide.Task(shard, out / "scratch" / "decided" / shard.name, page) for shard in shards]
    for done, _ in enumerate(_in_pool(decide.decide_shard, tasks, workers, progress, "decided")):
        progress(done + 1, len(tasks), "shards", "decided")
    copies = _find_copies(page, tasks)
    progress(1, 1, "copies", f"{sum(int(found.is_copy.sum()) for found in copies)} found")
    writings = [
        Writing(task.pages, task.decided, out / "shards" / task.pages.name, number, found)
        for number, (task, found) in enumerate(zip(tasks, copies, strict=True))
    ]
    funnel = Funnel()
    for number, counted in enumerate(_in_pool(write_shard, writings, workers, progress, "written")):
        funnel.merge(counted)
        progress(number + 1, len(writings), "shards", f"{funnel.kept} kept")
    told = read_json(pages / "pages.json")
    counts = {**funnel.counts(), "records_skipped": told["records_skipped"], "inputs": told["inputs"]}
    if not counts["kept"]:
        raise _nothing_kept(counts)
    write_json(out / "samples.json", funnel.chosen_samples())
    write_json(out / "funnel.json", counts)
    return {name: value for name, value in counts.items() if name not in ("hosts", "inputs")}


def _in_pool(function: Any, tasks: list, workers: int, progress: Progress, note: str) -> Iterator[Any]:
    done: Counter[str] = Counter()

    def told(counts: dict[str, float]) -> None:
        done.update(counts)  # type: ignore[arg-type]
        progress(done["pages"], 0, "pages", note)

    return Pool(min(workers, len(tasks))).map(function, tasks, on_tick=told)


@dataclass(frozen=True)
class Found:
    """What the search for copies says of the documents of one shard that passed the rules, in their order."""

    is_copy: np.ndarray
    exact: np.ndarray
    similarity: np.ndarray
    duplicate_of: list[str]


def _find_copies(page: CorpusPage, tasks: list[decide.Task]) -> list[Found]:
    """Copies among the documents that passed the rules, in the order of the shards and their rows."""
    passed, exact, bands, slots, ids = [], [], [], [], []
    for task in tasks:
        table = parquet.read_table(task.decided, columns=["verdict", "exact_key", "band_keys", "slots"])
        mask = pa.array([verdict == KEPT for verdict in table["verdict"].to_pylist()], type=pa.bool_())
        table = table.filter(mask)
        passed.append(table.num_rows)
        ids += parquet.read_table(task.pages, columns=["id"])["id"].filter(mask).to_pylist()
        if page.copies.exact or page.copies.near:
            exact.append(_matrix(table["exact_key"], "V16", 1).reshape(-1))
        if page.copies.near:
            bands.append(_matrix(table["band_keys"], "<u8", page.copies.bands))
            slots.append(_matrix(table["slots"], "u1", page.copies.bands * page.copies.rows))
    near = (np.concatenate(bands), np.concatenate(slots)) if page.copies.near else (None, None)
    keys = np.concatenate(exact) if page.copies.exact and exact else None
    copies = find_copies(keys, *near, page.copies.jaccard) if keys is not None or page.copies.near else _none(len(ids))
    ends = np.cumsum(passed).tolist()
    slices = [slice(end - count, end) for end, count in zip(ends, passed, strict=True)]
    originals = [ids[index] for index in copies.original.tolist()]
    return [
        Found(copies.is_copy[part], copies.exact[part], copies.similarity[part], originals[part]) for part in slices
    ]


def _none(count: int) -> Copies:
    return Copies(np.arange(count), np.ones(count), np.zeros(count, dtype=bool))


def _matrix(column: pa.ChunkedArray, dtype: str, width: int) -> np.ndarray:
    """Fixed-size binary values as a matrix [rows, width]."""
    data = b"".join(column.to_pylist())
    return np.frombuffer(data, dtype=dtype).reshape(-1, width)


_DECIDED = ("verdict", "reason", "detail", "duplicate_of")
"""Columns that decisions fill in."""


@dataclass(frozen=True)
class Writing:
    """What a worker needs to write one final shard."""

    pages: Path
    decided: Path
    final: Path
    number: int
    found: Found

    def __str__(self) -> str:
        return str(self.pages)


def write_shard(task: Writing) -> Funnel:
    """Write one final shard: the pages' rows with their verdicts put in; returns its counts."""
    columns = schema()
    funnel = Funnel(task.number)
    candidate = 0
    file = parquet.ParquetFile(task.pages)
    verdicts = parquet.read_table(task.decided, columns=list(_DECIDED[:3])).to_pylist()
    at = 0
    with atomic(task.final, "wb") as handle, parquet.ParquetWriter(handle, columns, compression="zstd") as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=columns.names)
            rows = table.select(COUNTED).to_pylist()
            for number, row in enumerate(rows):
                row.update(verdicts[at + number])
                if row["verdict"] == KEPT:
                    _judge(row, task.found, candidate)
                    candidate += 1
                funnel.add(row, lambda table=table, number=number: table.slice(number, 1).to_pylist()[0])
            at += len(rows)
            for name in _DECIDED:
                decided = pa.array([row[name] for row in rows], type=pa.string())
                table = table.set_column(columns.get_field_index(name), name, decided)
            writer.write_table(table.cast(columns))
            tick(pages=len(rows))
    return funnel


def _judge(row: dict[str, Any], found: Found, index: int) -> None:
    if not found.is_copy[index]:
        return
    exact = bool(found.exact[index])
    row["verdict"] = DROPPED
    row["reason"] = "exact_copy" if exact else "near_copy"
    row["duplicate_of"] = found.duplicate_of[index]
    row["detail"] = "same text" if exact else f"estimated Jaccard {found.similarity[index]:.3f}"


_HINTS = {
    "not_japanese": "are these Japanese pages? Only pages with Japanese running text are kept",
    "http_status": "these records are errors and redirects, not pages",
    "not_html": "these records are no HTML pages",
    "damaged_record": "fetch the files again",
}


def _nothing_kept(counts: dict[str, Any]) -> DataError:
    reason = next(iter(counts["dropped_by_reason"]), "")
    hint = _HINTS.get(reason, 'set thresholds under corpus.rules, or corpus.preset = "lenient"')
    if not reason:
        hint = "the files hold no page: only requests, metadata or other records"
    return DataError(f"no page was kept: {one_line(counts)}", where="corpus.warc", hint=hint)
