"""Fetches a part of a Common Crawl snapshot into local WARC files, which the rest of the build reads as any others.

``warc/*.warc.gz`` depend on the snapshot and the page's selection alone: fetched in one go, over cut lines, or in many
runs that were killed, they are the same to the byte. ``fetch.jsonl`` has a row for each file or range that was asked
for: address without secrets, bytes, SHA-256, and how many requests it took.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

from shikomi.corpus.fetch.crew import Told, crew, in_order
from shikomi.corpus.fetch.download import Fetcher, MissingFile
from shikomi.corpus.fetch.files import fetch_files
from shikomi.corpus.fetch.pace import Pace
from shikomi.corpus.fetch.records import fetch_records
from shikomi.corpus.fetch.remote import KEY, open_remote
from shikomi.errors import DataError, RecipeError
from shikomi.log import Progress, silent
from shikomi.recipe.common_crawl import CommonCrawlPage

_LISTS = {"warc": "warc.paths.gz", "wet": "wet.paths.gz", "index": "cc-index-table.paths.gz"}
_INDEX_SUBSET = "/subset=warc/"
"""The list of index files also names those of robots.txt files and of failed fetches."""
_NAME = re.compile(r"[\w.=+@,-]+(/[\w.=+@,-]+)*")
_MAX_LIST_BYTES = 256 << 20


def fetch(page: CommonCrawlPage, out: Path, *, progress: Progress = silent) -> dict[str, Any]:
    """Fetch what the page selects into ``out/warc/``, going on from what an earlier run left; returns the facts.

    Raises:
        RecipeError: no such snapshot, or no file that ``parts`` picks.
        DataError: the server gives up, refuses, or sends what is no WARC file; nothing in the index fits.
        MachineError: the disk is full, or a library is missing.
    """
    pace = Pace(page.requests_per_second, page.bytes_per_second, page.backoff)
    fetcher = Fetcher(open_remote(page, pace), pace, page)
    for folder in ("warc", "scratch"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    told = Told(pace, progress)
    told.total(0, 1, "files")
    names = _listed(fetcher, page, told)
    chosen = [names[number] for number in page.chosen(len(names))]
    if not chosen:
        raise RecipeError(
            f'parts = "{page.parts}" picks none of the {len(names)} files of {page.snapshot}',
            where=f"{KEY}.parts",
            hint=f"files are counted from 0 to {len(names) - 1}",
        )
    facts = {"snapshot": page.snapshot, "mode": page.mode, "base": fetcher.remote.shown(""), "listed_files": len(names)}
    if page.mode == "index":
        return facts | fetch_records(fetcher, page, chosen, out, told)
    return facts | fetch_files(fetcher, page, chosen, out, told)


def _listed(fetcher: Fetcher, page: CommonCrawlPage, told: Told) -> list[str]:
    """The names of the snapshot's files, as its list has them."""
    name = f"crawl-data/{page.snapshot}/{_LISTS[page.mode]}"
    where = fetcher.remote.shown(name)
    try:
        with crew(fetcher.pace, 1) as pool:
            ((data, _),) = in_order(pool, fetcher.read, [name], 1, told.tick)
    except MissingFile as error:
        raise RecipeError(
            f"there is no snapshot {page.snapshot}, or it has no {_LISTS[page.mode]}",
            where=f"{KEY}.snapshot ({where})",
            hint="snapshots are named like CC-MAIN-2023-50; commoncrawl.org/get-started lists them",
        ) from error
    try:
        inflate = zlib.decompressobj(31)
        text = inflate.decompress(data, _MAX_LIST_BYTES).decode("utf-8")
        if not inflate.eof:
            raise zlib.error("cut")
    except (zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            "this is no compressed list of files", where=where, hint=f"check {KEY}.base; a proxy may answer instead"
        ) from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    strange = [each for each in names if not _NAME.fullmatch(each) or ".." in each]
    if strange:
        raise DataError(
            f"the list of files has a line that is no path: {strange[0][:80]!r}",
            where=where,
            hint=f"check {KEY}.base; a proxy may answer instead",
        )
    return [each for each in names if page.mode != "index" or _INDEX_SUBSET in each]
