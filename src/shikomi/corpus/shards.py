"""One WARC or WET file to one shard of pages: every page becomes a row with its text and measures, or why it has none.

Nothing here depends on a threshold. A pure function, run anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.compute.pool import tick
from shikomi.corpus import fingerprint
from shikomi.corpus.ledger import versions
from shikomi.corpus.quality.measures import measure
from shikomi.corpus.quarantine import Watch
from shikomi.corpus.text.charset import decode
from shikomi.corpus.text.crawl import Record, kind_of, read_records
from shikomi.corpus.text.extract import plain_text, running_text
from shikomi.corpus.text.japanese import is_japanese, may_be_japanese
from shikomi.corpus.text.robots import signs
from shikomi.data.document import DROPPED, KEPT, WEB, schema
from shikomi.errors import DataError
from shikomi.io import atomic, sha256_file
from shikomi.recipe.corpus import CorpusPage

VERSION = 4
"""Of what this module does to a page; a shard of another version is made again."""

_FLUSH_ROWS = 512
_FLUSH_CHARACTERS = 4_000_000
_SUMMARY = b"shikomi.summary"
_HOST = re.compile(r"^[a-z][a-z0-9+.\-]*://(?:[^/?#@]*@)?(\[[^\]]*\]|[^/:?#]*)", re.IGNORECASE)
_HTML_TYPES = ("text/html", "application/xhtml+xml", "application/xhtml")


@dataclass(frozen=True)
class Task:
    """What a worker needs to make one shard.

    Attributes:
        warc: the input.
        shard: where its shard goes.
        page: the recipe's corpus page.
        licences: a TSV table with columns ``url`` and ``licence``, or None.
    """

    warc: Path
    shard: Path
    page: CorpusPage
    licences: Path | None = None

    def __str__(self) -> str:
        return str(self.warc)

    @property
    def bytes(self) -> int:
        """Bytes that the task will read, for progress."""
        return _size(self.warc)


def make_shard(task: Task) -> dict[str, Any]:
    """Make the shard of one WARC file, unless it is there already; returns its summary.

    Returns:
        ``records`` (responses), ``skipped`` (other records by type), ``damaged``, ``quarantined`` (pages put aside:
        record, url, why), ``input`` (what the file is), ``range`` (bytes of it), ``versions`` (of what read it), and
        ``sha256`` of the shard.
    """
    made = _fingerprint(task)
    summary = read_summary(task.shard, made)
    if summary is None:
        summary = _make(task, made)
    else:
        tick(bytes=_size(task.warc), pages=summary["records"])
    return {**summary, "sha256": sha256_file(task.shard)}


def _make(task: Task, made: str) -> dict[str, Any]:
    kind = kind_of(task.warc)
    rows = Rows(schema())
    skipped: Counter[str] = Counter()
    licences = read_licences(task.licences) if task.licences else {}
    damaged, position = 0, 0
    with (
        Watch(task.shard, made) as watch,
        atomic(task.shard, "wb") as handle,
        parquet.ParquetWriter(handle, rows.schema, compression="zstd") as writer,
    ):
        records = read_records(task.warc, max_page_bytes=task.page.max_page_bytes, skipped=skipped)
        for record in watch.over(records if kind in ("warc", "arc") else iter(())):
            row = _read_or_put_aside(record, task.page, watch)
            row["licence"] = licences.get(record.url, task.page.licence)
            damaged += row["reason"] == "damaged_record"
            rows.add(row)
            if rows.full():
                rows.flush(writer)
            tick(bytes=max(0, record.offset - position), pages=1)
            position = max(position, record.offset)
        rows.flush(writer)
        summary = {
            "records": rows.count,
            "skipped": dict(sorted(skipped.items())),
            "damaged": damaged,
            "quarantined": watch.quarantined,
            "input": kind,
            "range": [0, _size(task.warc)],
            "versions": {"pages": str(VERSION), **versions()},
        }
        writer.add_key_value_metadata({_SUMMARY: json.dumps(summary), fingerprint.KEY: made})
    tick(bytes=max(0, _size(task.warc) - position))
    return summary


def _read_or_put_aside(record: Record, page: CorpusPage, watch: Watch) -> dict[str, Any]:
    try:
        return read_page(record, page)
    except MemoryError:
        pass  # what the page held is let go before its row is made
    return read_page(watch.out_of_memory(record), page)


def read_page(record: Record, page: CorpusPage) -> dict[str, Any]:
    """One record as a row: its text and every measure of it, or why there is no text to measure; cheap tests first.

    Args:
        record: the record.
        page: the recipe's corpus page.
    """
    row: dict[str, Any] = {
        "id": document_id(record),
        "url": record.url,
        "host": host_of(record.url),
        "date": record.date,
        "source": WEB,
        "bytes": len(record.payload),
        "characters": 0,
        "text": "",
        "charset": "",
        "signs": "",
        "verdict": KEPT,
        "reason": "",
        "detail": "",
    }
    why = _read(record, page, row)
    if why:
        row["verdict"] = DROPPED
        row["reason"], row["detail"] = why
    else:
        row.update(measure(row["text"]))
    return row


def _read(record: Record, page: CorpusPage, row: dict[str, Any]) -> tuple[str, str] | None:
    """From bytes to text, into ``row``; or why there is none."""
    if record.problem:
        return record.problem, record.detail
    if record.status and not 200 <= record.status < 300:
        return "http_status", f"status {record.status}"
    if record.is_text:
        return _read_text(record, page, row)
    kind = record.content_type.partition(";")[0].strip()
    if kind not in _HTML_TYPES and (kind or record.payload.lstrip()[:1] != b"<"):
        return "not_html", kind or "no content type, no markup"
    if not may_be_japanese(record.payload, record.content_type):
        return "not_japanese", "bytes: no sign of Japanese"
    decoded = decode(record.payload, record.content_type)
    if decoded is None:
        return "charset", "no charset fits"
    html, row["charset"] = decoded
    row["signs"] = signs(html, record.robots)
    try:
        text = running_text(
            html,
            trim_lines=page.trim_lines,
            punctuation=page.normalise_punctuation,
            footer=page.cut_footer,
            extractor=page.extractor,
        )
    except (ValueError, RuntimeError, RecursionError) as error:
        return "extraction_failed", f"{type(error).__name__}: {error}"[:200]
    return _take_text(text, row)


def _read_text(record: Record, page: CorpusPage, row: dict[str, Any]) -> tuple[str, str] | None:
    """A record of a WET file: its lines as they are, but for punctuation and footer."""
    try:
        text = record.payload.decode("utf-8")
    except UnicodeDecodeError:
        return "charset", "a WET record that is not UTF-8"
    row["charset"] = "utf-8"
    return _take_text(plain_text(text, punctuation=page.normalise_punctuation, footer=page.cut_footer), row)


def _take_text(text: str, row: dict[str, Any]) -> tuple[str, str] | None:
    row["text"], row["characters"] = text, len(text)
    if not text:
        return "no_text", "no running text"
    japanese, detail = is_japanese(text)
    return None if japanese else ("not_japanese", detail)


def document_id(record: Record) -> str:
    """16 hexadecimal digits: the hash of URL, date and length in bytes."""
    key = f"{record.url}\n{record.date}\n{len(record.payload)}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(key, digest_size=8).hexdigest()


def host_of(url: str) -> str:
    """The host of an address, lower case, without port; empty if it has none."""
    match = _HOST.match(url)
    return match[1].lower() if match else ""


def read_licences(path: Path) -> dict[str, str]:
    """Licence by URL, from a TSV table whose first line names its columns.

    Raises:
        DataError: not readable, or without the columns ``url`` and ``licence``.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read licence table: {error}", where=str(path)) from error
    columns = lines[0].split("\t") if lines else []
    if "url" not in columns or "licence" not in columns:
        raise DataError(
            f"licence table has no columns url and licence (found {', '.join(columns) or 'nothing'})",
            where=f"{path}:1",
            hint="a tab-separated file whose first line names the columns",
        )
    url, licence = columns.index("url"), columns.index("licence")
    rows = (line.split("\t") for line in lines[1:])
    return {row[url]: row[licence] for row in rows if len(row) > max(url, licence)}


def read_summary(shard: Path, made: str | None = None) -> dict[str, Any] | None:
    """The summary of a finished shard, or None if there is none, or it was made from something else."""
    try:
        metadata = parquet.read_metadata(shard).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    if made is not None and metadata.get(fingerprint.KEY, b"").decode() != made:
        return None
    return json.loads(metadata[_SUMMARY]) if _SUMMARY in metadata else None


def _fingerprint(task: Task) -> str:
    """What a shard depends on: this module's version, the page, the licences, and the input's size and two ends."""
    reading = {name: value for name, value in task.page.reading().items() if name != "max_damaged_share"}
    parts = [VERSION, reading, fingerprint.ends(task.warc), sha256_file(task.licences) if task.licences else ""]
    return fingerprint.digest(parts)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class Rows:
    """Rows waiting to be written, by column."""

    def __init__(self, columns: pa.Schema) -> None:
        self.schema = columns
        self.count = 0
        self._clear()

    def _clear(self) -> None:
        self.columns: dict[str, list] = {name: [] for name in self.schema.names}
        self.characters = 0
        self.waiting = 0

    def add(self, row: dict[str, Any]) -> None:
        row["record"] = self.count
        row.setdefault("duplicate_of", "")
        for name, values in self.columns.items():
            values.append(row.get(name))
        self.count += 1
        self.waiting += 1
        self.characters += row["characters"]

    def full(self) -> bool:
        return self.waiting >= _FLUSH_ROWS or self.characters >= _FLUSH_CHARACTERS

    def flush(self, writer: parquet.ParquetWriter) -> None:
        if self.waiting:
            writer.write_table(pa.table(self.columns, schema=self.schema))
            self._clear()
