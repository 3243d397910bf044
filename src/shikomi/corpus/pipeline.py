"""The corpus stage: WARC files in, Parquet shards with text, measures and verdicts out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.compute.local import Pool
from shikomi.corpus.crawl import kind_of
from shikomi.corpus.dedup import Copies, find_copies
from shikomi.corpus.funnel import COUNTED, Funnel, one_line
from shikomi.corpus.shards import Task, make_shard, read_licences
from shikomi.data.document import DROPPED, KEPT, schema
from shikomi.errors import DataError
from shikomi.io import atomic, write_json
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
    """Build a corpus; finished shards of an earlier attempt in ``out`` are used again, and the bytes are the same.

    Args:
        page: the recipe's corpus page (its ``warc`` and ``licence_table`` are not read: they are given as paths).
        warcs: WARC files, in the order of the shards.
        out: folder for ``shards/part-00000.parquet`` …, ``funnel.json`` and ``samples.json``; scratch in ``scratch/``.
        licences: a TSV table with columns ``url`` and ``licence``.
        workers: processes to use.
        progress: told bytes of WARC files read.

    Returns:
        Facts: the counts of ``funnel.json`` without hosts.

    Raises:
        DataError: no input, one that is no WARC, too many damaged records, or no page kept.
    """
    _check(warcs, licences)
    tasks = [
        Task(path, out / "scratch" / f"shard-{number:05d}.parquet", page, licences) for number, path in enumerate(warcs)
    ]
    summaries = list(_make_shards(tasks, workers, progress))
    _check_damage(page, warcs, summaries)
    copies = _find_copies(page, [task.shard for task in tasks])
    progress(1, 1, "copies", f"{int(copies.is_copy.sum())} found")
    funnel = Funnel()
    writing = _Writing(copies, [task.shard for task in tasks])
    for number, task in enumerate(tasks):
        writing.write(task.shard, out / "shards" / f"part-{number:05d}.parquet", funnel)
        progress(number + 1, len(tasks), "shards", f"{funnel.kept} kept")
    skipped = sum((Counter(summary["skipped"]) for summary in summaries), Counter())
    counts = {
        **funnel.counts(),
        "records_skipped": dict(sorted(skipped.items())),
        "inputs": [{"input": s["input"], "records": s["records"], "damaged": s["damaged"]} for s in summaries],
    }
    if not counts["kept"]:
        raise _nothing_kept(counts, warcs)
    write_json(out / "samples.json", funnel.chosen_samples())
    write_json(out / "funnel.json", counts)
    return {name: value for name, value in counts.items() if name not in ("hosts", "inputs")}


def _check(warcs: list[Path], licences: Path | None) -> None:
    """Everything that can be known to be wrong before the first page is read."""
    if not warcs:
        raise DataError("no WARC files to read", where="corpus.warc", hint="set it to paths or globs that match files")
    kinds = Counter(kind_of(path) for path in warcs)
    if not kinds["warc"] + kinds["arc"]:
        found = "folders" if kinds["folder"] else "empty files"
        raise DataError(
            f"no WARC file has anything in it: only {found}",
            where=str(warcs[0]),
            hint="for the files of a folder write folder/*.warc.gz",
        )
    if licences:
        read_licences(licences)


def _make_shards(tasks: list[Task], workers: int, progress: Progress) -> Iterator[dict[str, Any]]:
    total = sum(task.warc.stat().st_size for task in tasks if task.warc.is_file())
    done: Counter[str] = Counter()

    def told(counts: dict[str, float]) -> None:
        done.update(counts)  # type: ignore[arg-type]
        progress(min(done["bytes"], total), total, "bytes", f"{done['pages']:.0f} pages")

    yield from Pool(min(workers, len(tasks))).map(make_shard, tasks, on_tick=told)


def _check_damage(page: CorpusPage, warcs: list[Path], summaries: list[dict[str, Any]]) -> None:
    damaged = sum(summary["damaged"] for summary in summaries)
    records = sum(summary["records"] for summary in summaries)
    if damaged > 10 and damaged > page.max_damaged_share * records:
        worst = max(range(len(warcs)), key=lambda index: summaries[index]["damaged"])
        raise DataError(
            f"{damaged} of {records} records are damaged",
            where=f"most of them in {warcs[worst]}",
            hint="fetch the files again, or raise corpus.max_damaged_share",
        )


def _find_copies(page: CorpusPage, shards: list[Path]) -> Copies:
    """Copies among the documents that passed the rules, in the order of the shards and their rows."""
    exact, bands, slots = [], [], []
    for shard in shards:
        file = parquet.ParquetFile(shard)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=["verdict", "exact_key", "band_keys", "slots"])
            table = table.filter(pa.array([verdict == KEPT for verdict in table["verdict"].to_pylist()]))
            exact.append(_matrix(table["exact_key"], "V16", 1).reshape(-1))
            if page.copies.near:
                bands.append(_matrix(table["band_keys"], "<u8", page.copies.bands))
                slots.append(_matrix(table["slots"], "u1", page.copies.bands * page.copies.rows))
    if not exact:
        return find_copies(np.zeros(0, "V16"), None, None, page.copies.jaccard)
    keys = np.concatenate(exact)
    if not page.copies.exact:
        keys = np.arange(len(keys), dtype="<u8").repeat(2).view("V16")  # all different
    near = (np.concatenate(bands), np.concatenate(slots)) if page.copies.near else (None, None)
    return find_copies(keys, *near, page.copies.jaccard)


def _matrix(column: pa.ChunkedArray, dtype: str, width: int) -> np.ndarray:
    """Fixed-size binary values as a matrix [rows, width]."""
    data = b"".join(value or b"\0" * (np.dtype(dtype).itemsize * width) for value in column.to_pylist())
    return np.frombuffer(data, dtype=dtype).reshape(-1, width)


_DECIDED = ("verdict", "reason", "detail", "duplicate_of")
"""Columns that the search for copies may change."""


class _Writing:
    """Writes final shards: rows of the scratch shards with the verdict on copies put in."""

    def __init__(self, copies: Copies, shards: list[Path]) -> None:
        self.copies = copies
        self.is_copy = copies.is_copy
        self.candidate = 0
        wanted = set(copies.original[self.is_copy].tolist())
        self.ids = _candidate_ids(shards, wanted)

    def write(self, scratch: Path, final: Path, funnel: Funnel) -> None:
        columns = schema()
        file = parquet.ParquetFile(scratch)
        with atomic(final, "wb") as handle, parquet.ParquetWriter(handle, columns, compression="zstd") as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=columns.names)
                rows = table.select(COUNTED).to_pylist()
                for number, row in enumerate(rows):
                    if row["verdict"] == KEPT:
                        self._judge(row)
                    funnel.add(row, lambda table=table, number=number: table.slice(number, 1).to_pylist()[0])
                for name in _DECIDED:
                    decided = pa.array([row[name] for row in rows], type=pa.string())
                    table = table.set_column(columns.get_field_index(name), name, decided)
                writer.write_table(table.cast(columns))

    def _judge(self, row: dict[str, Any]) -> None:
        index = self.candidate
        self.candidate += 1
        if not self.is_copy[index]:
            return
        exact = bool(self.copies.exact[index])
        row["verdict"] = DROPPED
        row["reason"] = "exact_copy" if exact else "near_copy"
        row["duplicate_of"] = self.ids[int(self.copies.original[index])]
        row["detail"] = "same text" if exact else f"estimated Jaccard {self.copies.similarity[index]:.3f}"


def _candidate_ids(shards: list[Path], wanted: set[int]) -> dict[int, str]:
    """Ids of the documents that copies point to, by their index among the candidates."""
    ids: dict[int, str] = {}
    index = 0
    for shard in shards if wanted else ():
        table = parquet.read_table(shard, columns=["id", "verdict"])
        for name, verdict in zip(table["id"].to_pylist(), table["verdict"].to_pylist(), strict=True):
            if verdict == KEPT:
                if index in wanted:
                    ids[index] = name
                index += 1
    return ids


_HINTS = {
    "not_japanese": "are these Japanese pages? Only pages with Japanese running text are kept",
    "http_status": "these records are errors and redirects, not pages",
    "not_html": "these records are no HTML pages",
    "damaged_record": "fetch the files again",
}


def _nothing_kept(counts: dict[str, Any], warcs: list[Path]) -> DataError:
    reason = next(iter(counts["dropped_by_reason"]), "")
    hint = _HINTS.get(reason, 'set thresholds under corpus.rules, or corpus.preset = "lenient"')
    if not reason:
        hint = "the files hold no page: only requests, metadata or other records"
    more = f" and {len(warcs) - 1} more" if len(warcs) > 1 else ""
    return DataError(f"no page was kept: {one_line(counts)}", where=f"{warcs[0]}{more}", hint=hint)
