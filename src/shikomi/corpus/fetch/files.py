"""Whole files of a snapshot, fetched by several threads; each examined before it gets its name."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

from shikomi.corpus.fetch.crew import Rows, Told, crew, in_order, write_ledger
from shikomi.corpus.fetch.download import Fetcher, FileSink
from shikomi.corpus.fetch.members import examine
from shikomi.corpus.fetch.remote import BASE_KEY
from shikomi.errors import DataError
from shikomi.recipe.common_crawl import CommonCrawlPage


def fetch_files(fetcher: Fetcher, page: CommonCrawlPage, names: list[str], out: Path, told: Told) -> dict[str, Any]:
    """Fetch these files of the snapshot into ``out/warc/``; returns the facts.

    Raises:
        DataError: the server gives up, refuses, or sends what is no WARC file.
        MachineError: the disk is full.
    """
    local = {name: _local(name) for name in names}
    if len(set(local.values())) < len(names):
        raise DataError("the list of files names one twice", where=page.snapshot, hint=f"check {BASE_KEY}")
    journal = Rows(out / "scratch" / "fetch.jsonl")
    rows = {row["file"]: row for row in journal.read()}
    done = {name for name in names if _there(out / local[name], rows.get(local[name]))}
    todo = [(name, len(names) - len(done) - number) for number, name in enumerate(n for n in names if n not in done)]

    def work(item: tuple[str, int]) -> dict[str, Any]:
        name, left = item
        row = _fetch_file(fetcher, page, name, out / local[name], out / "scratch", left)
        row = {"url": fetcher.remote.shown(name), "file": local[name], **row}
        journal.add(row)
        return row

    told.total(len(done), len(names), "files")
    with crew(fetcher.pace, page.connections) as pool:
        for row in in_order(pool, work, todo, page.connections * 2, told.tick):
            rows[row["file"]] = row
            told.add(1)
    ordered = [rows[local[name]] for name in names]
    write_ledger(out, ordered)
    return {
        "files": len(ordered),
        "bytes": sum(row["bytes"] for row in ordered),
        "records": sum(row["members"] for row in ordered) if page.check_members else None,
        "damaged_records": sum(row["damaged"] for row in ordered),
    }


def _local(name: str) -> str:
    """Where a remote file lies in ``out``; WET files are WARC files too, and end as those do."""
    return "warc/" + re.sub(r"\.warc\.wet\.gz$", ".wet.warc.gz", name.rsplit("/", 1)[-1])


def _there(path: Path, row: dict[str, Any] | None) -> bool:
    return bool(row) and path.is_file() and path.stat().st_size == row["bytes"]


def _fetch_file(
    fetcher: Fetcher, page: CommonCrawlPage, name: str, path: Path, scratch: Path, left: int
) -> dict[str, Any]:
    """Fetch one file and examine it; what comes twice with the same damage is the snapshot's own damage, and counted.

    Raises:
        DataError: it is no WARC file, or comes with other damage each time.
    """
    sink = FileSink(scratch / path.name, copies=left)
    tries, before = 0, ""
    try:
        for attempt in itertools.count(1):
            tries += fetcher.pull(name, sink)
            sink.flush()
            examined = examine(sink.partial, inflate=page.check_members)
            bad = examined.damaged or not examined.compressed
            if not bad or examined.sha256 == before:
                break
            before = examined.sha256
            sink.restart()
            if attempt >= max(page.attempts, 2):
                raise fetcher.unsteady(name)
        if not examined.compressed and not examined.members:
            sink.restart()
            raise DataError(
                "what comes is no compressed WARC file",
                where=fetcher.remote.shown(name),
                hint=f"check {BASE_KEY}; a proxy may answer instead",
            )
        size = sink.length
        sink.finish(path)
    finally:
        sink.close()
    return {
        "bytes": size,
        "sha256": examined.sha256,
        "tries": tries,
        "members": examined.members,
        "damaged": examined.damaged,
    }
