"""The columnar index of a snapshot: which records are wanted, read out of Parquet without fetching the rest of it.

Only the columns that decide are read, and only the row groups that can hold a wanted host. What one index file gives is
kept in ``scratch/index/``, so that a restart does not read it again.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from shikomi.corpus.fetch.download import Fetcher
from shikomi.errors import DataError
from shikomi.io import atomic, write_json
from shikomi.recipe.common_crawl import CommonCrawlPage

pc: Any = pyarrow.compute  # its functions are made at run time, where no type checker sees them

BUCKETS = 64
"""Parts in which the records of a snapshot are sorted: 74 million of them would fill memory, a 64th does not."""
MAX_RANGE_BYTES = 8 << 20
"""Records are fetched together up to this many bytes, so that a few ranges in flight stay small in memory. A single
record of more is left out: no page that Common Crawl cuts at a few MiB has it."""

_READS = 3
"""An index file that cannot be read is fetched this often: what damaged it may have been the line."""
_SCHEMA = pa.schema([("name", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])
_TAKEN = ("warc_filename", "warc_record_offset", "warc_record_length")
_OFTEN_THE_SAME = ["content_languages", "url_host_tld", "content_mime_detected", "content_mime_type", "warc_filename"]


@dataclass(frozen=True, slots=True)
class Range:
    """Neighbouring records of one remote file, fetched with one request.

    Attributes:
        part: number of the local file that its records go into.
        name: the remote file.
        start: place of the first byte.
        stop: place after the last byte.
        records: offset and length of each record, in order.
    """

    part: int
    name: str
    start: int
    stop: int
    records: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Selected:
    """What one index file gave: how many records, their compressed bytes, and which buckets they are in."""

    path: Path
    records: int
    bytes: int
    buckets: list[int]


def select(fetcher: Fetcher, page: CommonCrawlPage, name: str, path: Path, limit: int) -> Selected:
    """Read one index file; write its wanted records to ``path`` (Arrow, a batch a bucket), unless they are there.

    Args:
        limit: at most this many records, the first; 0: all.

    Raises:
        DataError: the file cannot be fetched, or is no index.
    """
    told = path.with_suffix(".json")
    if path.exists() and told.exists():
        return Selected(path, **json.loads(told.read_text(encoding="utf-8")))

    for attempt in range(1, _READS + 1):
        try:
            table = _first(_wanted(fetcher, page, name), limit)
            break
        except pa.ArrowException as error:
            if attempt == _READS:
                raise DataError(
                    f"not a readable index: {str(error).splitlines()[0]}",
                    where=fetcher.remote.shown(name),
                    hint="the copy of the snapshot at corpus.common_crawl.base is damaged; use another",
                ) from error
    size = pc.sum(table.column("length")).as_py() or 0
    buckets = _write_buckets(table, path)
    write_json(told, {"records": table.num_rows, "bytes": size, "buckets": buckets})
    return Selected(path, table.num_rows, size, buckets)


def ranges(selected: list[Selected], gap_bytes: int, part_bytes: int) -> Iterator[Range]:
    """All wanted records as ranges to fetch, by bucket, file and offset; order and parts do not depend on the gap.

    Args:
        gap_bytes: records that lie this close together share a range.
        part_bytes: a local file is full once its records have this many bytes.
    """
    return _coalesced(_in_parts(selected, part_bytes), gap_bytes)


def surt(host: str) -> str:
    """A host as the index sorts it: its labels reversed, ``www`` left out (``www.a.co.jp`` → ``jp,co,a``)."""
    return ",".join(reversed(re.sub(r"^www\d*\.", "", host.lower().strip(".")).split(".")))


def _first(tables: Iterator[Any], limit: int) -> Any:
    """The rows of all tables, or the first ``limit``; no more tables are read than that takes."""
    taken = [_SCHEMA.empty_table()]
    found = 0
    for table in tables:
        taken.append(table.slice(0, limit - found) if limit else table)
        found += taken[-1].num_rows
        if limit and found >= limit:
            break
    return pa.concat_tables(taken)


def _wanted(fetcher: Fetcher, page: CommonCrawlPage, name: str) -> Iterator[Any]:
    """Tables of wanted records, in the index's order."""
    source = pa.PythonFile(RemoteFile(fetcher, name), mode="r")
    metadata = pq.ParquetFile(source).metadata
    there = set(metadata.schema.to_arrow_schema().names)
    columns = _columns(page, there)
    absent = [column for column in columns if column not in there]
    if absent:
        raise DataError(
            f'the index has no column "{absent[0]}"',
            where=fetcher.remote.shown(name),
            hint='indexes know languages from CC-MAIN-2018-39 on; for older snapshots use mode = "warc"',
        )
    groups = [group for group in range(metadata.num_row_groups) if _can_hold(metadata.row_group(group), page.hosts)]
    file = pq.ParquetFile(
        source,
        metadata=metadata,
        pre_buffer=True,
        read_dictionary=[column for column in columns if column in _OFTEN_THE_SAME],
    )
    for group in groups:  # one at a time: what a call reads ahead stays in memory until the next
        for batch in file.iter_batches(row_groups=[group], columns=columns, use_threads=False):
            kept = batch.filter(_mask(batch, page))
            if kept.num_rows:
                arrays = [kept.column(column).cast(field.type) for column, field in zip(_TAKEN, _SCHEMA, strict=True)]
                yield pa.table(arrays, schema=_SCHEMA)


def _columns(page: CommonCrawlPage, there: set[str]) -> list[str]:
    mime = "content_mime_detected" if "content_mime_detected" in there else "content_mime_type"
    deciding = ["fetch_status"]
    deciding += ["content_languages", "url_host_tld"] if page.languages else []
    deciding += [mime] if page.mime_types else []
    deciding += ["url_host_name"] if page.hosts else []
    return [*deciding, *_TAKEN]


def _mask(batch: Any, page: CommonCrawlPage) -> Any:
    """Which rows of a batch are wanted; a value that is absent never is."""
    lengths = batch.column("warc_record_length")
    mask = pc.and_(pc.greater(lengths, 0), pc.less_equal(lengths, MAX_RANGE_BYTES))
    mask = pc.and_(mask, pc.greater_equal(batch.column("warc_record_offset"), 0))
    mask = pc.and_(mask, pc.equal(batch.column("fetch_status"), 200))
    if page.languages:
        pattern = f"(^|,)({'|'.join(map(re.escape, page.languages))})(,|$)"
        named = _by_value(batch.column("content_languages"), lambda v: pc.match_substring_regex(v, pattern))
        nameless = _by_value(batch.column("content_languages"), lambda v: pc.equal(v, ""), absent=True)
        local = _by_value(batch.column("url_host_tld"), lambda v: _is_in(v, page.top_level_domains))
        mask = pc.and_(mask, pc.or_(named, pc.and_(nameless, local)))
    for column in ("content_mime_detected", "content_mime_type"):
        if column in batch.schema.names:
            mask = pc.and_(mask, _by_value(batch.column(column), lambda v: _is_in(v, page.mime_types)))
    if page.hosts:
        names = pc.utf8_lower(batch.column("url_host_name"))
        under = pc.equal(names, "")
        for host in page.hosts:
            host = host.lower().strip(".")
            under = pc.or_(under, pc.or_(pc.equal(names, host), pc.ends_with(names, f".{host}")))
        mask = pc.and_(mask, under)
    return pc.fill_null(mask, False)


def _is_in(values: Any, wanted: list[str]) -> Any:
    return pc.is_in(values, pa.array(wanted, pa.string()))


def _by_value(column: Any, test: Any, *, absent: bool = False) -> Any:
    """Apply a test of strings once a distinct value, not once a row."""
    if pa.types.is_dictionary(column.type):
        answers = pc.take(test(column.dictionary.cast(pa.string())), column.indices)
    else:
        answers = test(column.cast(pa.string()))
    return pc.fill_null(answers, absent)


def _can_hold(group: Any, hosts: list[str]) -> bool:
    """Whether a row group can hold a page of one of the hosts, by the least and greatest URL its statistics name."""
    if not hosts or any(host.replace(".", "").isdigit() for host in hosts):  # addresses are not sorted by label
        return True
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema != "url_surtkey" or not column.is_stats_set or not column.statistics.has_min_max:
            continue
        low, high = column.statistics.min, column.statistics.max
        # Keys of a host begin "jp,co,a)", those of the hosts below it "jp,co,a,": both lie from the bare host on.
        return any(low <= surt(host) + "\U0010ffff" and high >= surt(host) for host in hosts)
    return True


def _write_buckets(table: Any, path: Path) -> list[int]:
    """Write a batch for each bucket that has records; returns the numbers of those buckets, in order."""
    names = table.column("name").combine_chunks().dictionary_encode()
    numbers = [zlib.crc32(value.encode("utf-8")) % BUCKETS for value in names.dictionary.to_pylist()]
    buckets = pc.take(pa.array(numbers, pa.int32()), names.indices)
    used = sorted(set(numbers))
    with atomic(path, "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        for bucket in used:
            (part,) = table.filter(pc.equal(buckets, bucket)).combine_chunks().to_batches()
            writer.write_batch(part)
    return used


def _records(selected: list[Selected], bucket: int) -> Iterator[tuple[str, int, int]]:
    """Name, offset and length of the records of a bucket, sorted, each once."""
    tables = [_SCHEMA.empty_table()]
    for each in selected:
        if bucket in each.buckets:
            with pa.memory_map(str(each.path)) as source:
                batch = pa.ipc.open_file(source).get_batch(each.buckets.index(bucket))
            tables.append(pa.Table.from_batches([batch]))
    order = [("name", "ascending"), ("offset", "ascending"), ("length", "descending")]
    before = None
    for batch in pa.concat_tables(tables).sort_by(order).to_batches(max_chunksize=1 << 14):
        for name, offset, length in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if (name, offset) != before:
                yield name, offset, length
            before = (name, offset)


def _in_parts(selected: list[Selected], part_bytes: int) -> Iterator[tuple[int, str, int, int]]:
    part = held = 0
    for bucket in range(BUCKETS):
        for name, offset, length in _records(selected, bucket):
            if held >= part_bytes:
                part, held = part + 1, 0
            held += length
            yield part, name, offset, length


def _coalesced(records: Iterator[tuple[int, str, int, int]], gap_bytes: int) -> Iterator[Range]:
    place, start, stop = (0, ""), 0, 0
    held: list[tuple[int, int]] = []
    for part, name, offset, length in records:
        end = offset + length
        near = (part, name) == place and offset - stop <= gap_bytes and end - start <= MAX_RANGE_BYTES
        if held and not near:
            yield Range(*place, start, stop, tuple(held))
            held = []
        if not held:
            place, start, stop = (part, name), offset, end
        held.append((offset, length))
        stop = max(stop, end)
    if held:
        yield Range(*place, start, stop, tuple(held))


class RemoteFile(io.RawIOBase):
    """A remote file that pyarrow can seek in: each read is a range, at the fetcher's pace."""

    def __init__(self, fetcher: Fetcher, name: str) -> None:
        super().__init__()
        self._fetcher = fetcher
        self._name = name
        self._size = fetcher.size(name)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        """Read ``size`` bytes (negative: to the end), fewer only at the end."""
        stop = self._size if size < 0 else min(self._size, self._position + size)
        if stop <= self._position:
            return b""
        data, _ = self._fetcher.read(self._name, self._position, stop)
        self._position += len(data)
        return data
