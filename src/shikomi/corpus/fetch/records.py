"""Single records of a snapshot, found in its columnar index and fetched range by range into local WARC files."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shikomi.corpus.fetch import index as cc_index
from shikomi.corpus.fetch.crew import Rows, Told, crew, in_order, write_ledger
from shikomi.corpus.fetch.download import Fetcher, check_room, full_disk_told
from shikomi.corpus.fetch.members import record_problem
from shikomi.corpus.fetch.remote import BASE_KEY, KEY
from shikomi.errors import DataError
from shikomi.io import PARTIAL_SUFFIX, sync_folder
from shikomi.recipe.common_crawl import CommonCrawlPage

_MAX_DAMAGED_SHARE = 0.5
_FEW_RECORDS = 10
"""The share above counts only beyond this many damaged records."""
_INDEX_THREADS = 2
"""Index files read at once. Each takes 140 MB (measured: 2 million rows, 400 thousand of them wanted)."""
_AHEAD = 4
"""Ranges in flight or waiting for their turn, a connection."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one range gave: its good records, and what its ledger row says."""

    records: list[bytes]
    row: dict[str, Any]


def fetch_records(fetcher: Fetcher, page: CommonCrawlPage, names: list[str], out: Path, told: Told) -> dict[str, Any]:
    """Fetch the records that fit the page, by these index files, into ``out/warc/``; returns the facts.

    Raises:
        DataError: the server gives up or refuses, nothing fits, or most records are not where the index says.
        MachineError: the disk is full.
    """
    selected = _select(fetcher, page, names, out / "scratch" / "index", told)
    wanted = sum(each.records for each in selected)
    if not wanted:
        raise DataError(
            f"none of the records in {len(names)} index files fits",
            where=f"{KEY} ({page.snapshot}, parts {page.parts})",
            hint="choose more parts, other hosts or other languages",
        )
    size = sum(each.bytes for each in selected)
    check_room(out, size - sum(path.stat().st_size for path in out.glob("warc/*")))
    told.total(0, wanted, "records")
    tally = _Tally(told, fetcher.remote.shown(f"crawl-data/{page.snapshot}/"))
    journals: list[Rows] = []
    with crew(fetcher.pace, page.connections) as pool:
        todo = cc_index.ranges(selected, page.gap_bytes, page.warc_bytes)
        for number, group in itertools.groupby(todo, key=lambda each: each.part):
            path = out / "warc" / f"index-{number:05d}.warc.gz"
            journals.append(Rows(out / "scratch" / f"{path.name}.jsonl"))
            if path.exists():
                tally.add(journals[-1].read())
            else:
                _write_part(fetcher, page, group, path, journals[-1], pool, tally)
    write_ledger(out, (row for journal in journals for row in journal.read()))
    return {"index_files": len(names), "files": len(journals), "selected_records": wanted, **tally.counts}


class _Tally:
    """Adds up what ranges gave, tells it, and stops where the index plainly does not belong to the files."""

    def __init__(self, told: Told, where: str) -> None:
        self.told = told
        self.counts = {"ranges": 0, "bytes": 0, "records": 0, "damaged_records": 0}
        self._where = where

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Count the ranges of these ledger rows.

        Raises:
            DataError: too many of the records so far are damaged.
        """
        before = self.counts["records"] + self.counts["damaged_records"]
        for row in rows:
            self.counts["ranges"] += 1
            self.counts["bytes"] += row["bytes"]
            self.counts["records"] += row["records"]
            self.counts["damaged_records"] += row["damaged"]
        damaged, seen = self.counts["damaged_records"], self.counts["records"] + self.counts["damaged_records"]
        if damaged > max(_FEW_RECORDS, _MAX_DAMAGED_SHARE * seen):
            raise DataError(
                f"{damaged} of the first {seen} records are not where the index says",
                where=self._where,
                hint=f"index and WARC files at {BASE_KEY} belong to different snapshots, or the copy is damaged",
            )
        self.told.add(seen - before)


def _select(
    fetcher: Fetcher, page: CommonCrawlPage, names: list[str], folder: Path, told: Told
) -> list[cc_index.Selected]:
    """Read the index files; with a limit of records one after the other, and only until it is reached."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{number:05d}.arrow" for number, name in enumerate(names)}
    selected: list[cc_index.Selected] = []

    def todo() -> Iterator[tuple[str, int]]:
        for name in names:
            left = page.max_records - sum(each.records for each in selected)
            if page.max_records and left <= 0:
                return
            yield name, max(left, 0)

    def read(item: tuple[str, int]) -> cc_index.Selected:
        name, limit = item
        return cc_index.select(fetcher, page, name, paths[name], limit)

    told.total(0, len(names), "index files")
    ahead = 1 if page.max_records else _INDEX_THREADS
    with crew(fetcher.pace, page.connections) as pool:
        for each in in_order(pool, read, todo(), ahead, told.tick):
            selected.append(each)
            told.add(1)
    return selected


def _write_part(
    fetcher: Fetcher,
    page: CommonCrawlPage,
    group: Iterable[cc_index.Range],
    path: Path,
    journal: Rows,
    pool: ThreadPoolExecutor,
    tally: _Tally,
) -> None:
    """Write one local WARC file, range by range; the journal says how far it had come."""
    partial = path.parent.parent / "scratch" / (path.name + PARTIAL_SUFFIX)
    group = iter(group)
    first, size, rows = _resumed(group, partial, journal)
    tally.add(rows)
    rest = group if first is None else itertools.chain([first], group)
    ahead = page.connections * _AHEAD
    with full_disk_told(path), open(partial, "ab") as file:
        file.truncate(size)
        for piece in in_order(
            pool, lambda item: _fetch_range(fetcher, item, page.attempts), rest, ahead, tally.told.tick
        ):
            for record in piece.records:
                file.write(record)
                size += len(record)
            file.flush()
            journal.add({"url": piece.row["url"], "file": f"warc/{path.name}", **piece.row, "end": size})
            tally.add([piece.row])
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def _resumed(
    group: Iterator[cc_index.Range], partial: Path, journal: Rows
) -> tuple[cc_index.Range | None, int, list[dict[str, Any]]]:
    """Pass over the ranges that are in the partial file already: the first that is not, the file's size, their rows."""
    there = partial.stat().st_size if partial.exists() else 0
    rows, size = [], 0
    old = iter(journal.read())
    for each in group:
        row = next(old, None)
        place = (each.name, each.start, each.stop)
        if not row or (row["name"], row["start"], row["stop"]) != place or row["end"] > there:
            journal.replace(rows)
            return each, size, rows
        rows.append(row)
        size = row["end"]
    journal.replace(rows)
    return None, size, rows


def _fetch_range(fetcher: Fetcher, wanted: cc_index.Range, attempts: int) -> _Piece:
    """Fetch one range and cut its records out; those that come twice with the same damage are counted and left out.

    Raises:
        DataError: they come with other damage each time, or cannot be fetched.
    """
    tries, before = 0, None
    for attempt in itertools.count(1):
        data, more = fetcher.read(wanted.name, wanted.start, wanted.stop)
        tries += more
        cut = [data[offset - wanted.start : offset - wanted.start + length] for offset, length in wanted.records]
        problems = [record_problem(record) for record in cut]
        if not any(problems) or data == before:
            break
        before = data
        if attempt >= max(attempts, 2):
            raise fetcher.unsteady(wanted.name)
    kept = [record for record, problem in zip(cut, problems, strict=True) if not problem]
    row = {
        "url": fetcher.remote.shown(wanted.name),
        "name": wanted.name,
        "start": wanted.start,
        "stop": wanted.stop,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "tries": tries,
        "records": len(kept),
        "damaged": len(cut) - len(kept),
    }
    if any(problems):
        row["problem"] = next(filter(None, problems))
    return _Piece(kept, row)
