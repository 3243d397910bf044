"""The Common Crawl page: which part of which snapshot is fetched, and how politely."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from shikomi.recipe.page import WHERE_ONLY, Count, Page, Seconds
from shikomi.units import parse_bytes

Size = Annotated[int, BeforeValidator(parse_bytes)]
"""A size written with its unit: ``"64KiB"``, ``"1GB"``; a bare number is bytes."""

INDEX_ONLY = ("languages", "top_level_domains", "hosts", "mime_types", "max_records", "warc_bytes")
"""Fields that only ``mode = "index"`` reads."""

FILE_BYTES = {"warc": 1_048_000_000, "wet": 164_000_000, "index": 107_000_000}
"""Bytes fetched a file: of WARC and WET files, 28.94 and 4.54 TiB in 30,374 files (table of CC-MAIN-2016-40,
commoncrawl.org, 2016-10); of an index file the needed columns, 31.99 GB in 300 files (CC-MAIN-2023-50,
zenn.dev/vzvu3k6k, 2023)."""
SNAPSHOT_FILES = {"warc": 46_600, "wet": 46_600, "index": 300}
"""Files of a snapshot: as many as 2.64 billion pages fill (CC-MAIN-2024-51, commoncrawl.org, 2024-12); 900 lines of
``cc-index-table.paths.gz`` for three subsets (commoncrawl.org, 2016-10)."""
FILE_PAGES = 56_600
"""Pages a WARC file: 1.72 billion in 30,374 (the same table)."""
JAPANESE_PER_INDEX_FILE = 247_000
"""Records in Japanese only: 74,044,705 in 300 files (zenn.dev/vzvu3k6k, 2023)."""
PAGE_BYTES = 18_500
"""Compressed bytes a page: ``FILE_BYTES / FILE_PAGES``."""
RANGE_GAP_BYTES = 660_000
"""Mean distance of Japanese records in a WARC file, if they lie evenly: 49 TB among 74 million."""
CPU_SECONDS_PER_BYTE = {True: 21.5e-9, False: 4.2e-9}
"""Processor time to fetch a byte, with and without ``check_members`` (measured: 0.57 GB over loopback, one core)."""

_PART = re.compile(r"(\d+)|(\d*):(\d*)(?::(\d+))?")
_SNAPSHOT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Volume:
    """What fetching a page is expected to take; sizes of a snapshot are those of published ones.

    Attributes:
        files: of the snapshot's list that are read.
        pages: fetched; an upper bound where only some hosts are wanted.
        bytes: over the network.
        disk_bytes: kept.
        requests: sent, if none fails.
        seconds: that the page's own limits of pace make it last; the line may make it longer.
        cpu_seconds: of one core.
    """

    files: int
    pages: int
    bytes: int
    disk_bytes: int
    requests: int
    seconds: float
    cpu_seconds: float


class CommonCrawlPage(Page):
    """One part of one snapshot of Common Crawl, fetched over HTTPS, S3 or from a copy on disk."""

    snapshot: str
    """Name of the snapshot, such as ``CC-MAIN-2023-50``."""
    parts: str
    """Which files of the snapshot's list, counted from 0: ``"0:10"``, ``"7"``, ``"::900"`` (every 900th), ``"0:2,50"``,
    ``":"`` (all). Files of ``warc.paths.gz``, of ``wet.paths.gz``, or index files, as ``mode`` says. Required, since a
    whole snapshot is tens of thousands of WARC files of 1 GB."""
    mode: Literal["warc", "index", "wet"] = "warc"
    """``warc``: whole WARC files. ``index``: only the records that the columnar index calls Japanese, one by one.
    ``wet``: Common Crawl's own plain text."""
    languages: list[str] = ["jpn"]
    """Index mode: records whose languages contain one of these (ISO 639-3, as the index has them); empty: any."""
    top_level_domains: list[str] = ["jp"]
    """Index mode: records without a language are taken too if their host ends in one of these."""
    hosts: list[str] = []
    """Index mode: only these hosts and the hosts below them; empty: all."""
    mime_types: list[str] = ["text/html", "application/xhtml+xml"]
    """Index mode: only records of these types, as detected by Common Crawl; empty: all."""
    max_records: Count = Field(default=0, ge=0)
    """Index mode: at most this many records, the first in the order of the index (by reversed host name); 0: all."""
    warc_bytes: Size = Field(default=1_000_000_000, ge=1_000)
    """Index mode: compressed bytes after which a new local WARC file begins; Common Crawl's own have about 1 GB."""
    base: str = Field(default="https://data.commoncrawl.org/", json_schema_extra=WHERE_ONLY)
    """Where snapshots lie: an ``https:``, ``s3:`` or ``file:`` address. ``${NAME}`` stands for an environment variable,
    so that no key or token is written into a recipe."""
    requests_per_second: float = Field(default=5.0, gt=0.0, le=10_000.0, json_schema_extra=WHERE_ONLY)
    """Requests a second, over all connections. Common Crawl serves a few thousand a second to everyone together
    (status.commoncrawl.org, 2025-07)."""
    bytes_per_second: Size = Field(default=0, ge=0, json_schema_extra=WHERE_ONLY)
    """Bytes a second, over all connections; 0: no limit."""
    connections: int = Field(default=4, ge=1, le=256, json_schema_extra=WHERE_ONLY)
    """Requests that run at once."""
    attempts: int = Field(default=20, ge=1, json_schema_extra=WHERE_ONLY)
    """Failures in a row, without a byte of progress, after which fetching stops with an error."""
    backoff: Seconds = Field(default="1s", ge=0.0, json_schema_extra=WHERE_ONLY)  # type: ignore[assignment]
    """Wait after the first failure; doubled with each further one, up to a minute, with a random part."""
    longest_wait: Seconds = Field(default="15min", ge=0.0, json_schema_extra=WHERE_ONLY)  # type: ignore[assignment]
    """A server that asks for a longer wait than this (Retry-After) stops the fetching with an error."""
    timeout: Seconds = Field(default="60s", gt=0.0, json_schema_extra=WHERE_ONLY)  # type: ignore[assignment]
    """A connection that is silent for longer counts as cut."""
    gap_bytes: Size = Field(default=65_536, ge=0, json_schema_extra=WHERE_ONLY)
    """Index mode: records this close together in a file are fetched with one request, and the gap thrown away."""
    check_members: bool = Field(default=True, json_schema_extra=WHERE_ONLY)
    """Inflate each fetched file once, so that what the line damaged is fetched again. Costs 17 processor seconds a GB
    (measured: 58 MB/s); without it only lengths are checked, and damage shows when pages are read. Single records of
    index mode are always checked."""
    contact: str = Field(default="", json_schema_extra=WHERE_ONLY)
    """Mail or web address told to the server with each request, so that it can write instead of blocking."""

    @field_validator("snapshot")
    @classmethod
    def _snapshot_is_a_name(cls, value: str) -> str:
        if not _SNAPSHOT.fullmatch(value):
            raise ValueError(f'expected the name of a snapshot such as "CC-MAIN-2023-50", found "{value}"')
        return value

    @field_validator("parts")
    @classmethod
    def _parts_can_be_read(cls, value: str) -> str:
        for part in value.split(","):
            match = _PART.fullmatch(part.strip())
            if not match or match[4] == "0":
                raise ValueError(f'expected parts such as "0:10", "7", "::900" or ":", found "{value}"')
        return value

    @field_validator("base")
    @classmethod
    def _base_is_an_address(cls, value: str) -> str:
        if not re.match(r"(\$\{\w+\}|[a-z][a-z0-9+.-]*://)", value):
            raise ValueError('expected an address such as "https://data.commoncrawl.org/" or "file:///data/cc/"')
        return value

    @field_validator("contact")
    @classmethod
    def _contact_fits_a_header(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable():
            raise ValueError("expected a mail or web address in ASCII")
        return value

    @model_validator(mode="after")
    def _index_fields_need_index_mode(self) -> CommonCrawlPage:
        fields = type(self).model_fields
        changed = [name for name in INDEX_ONLY if getattr(self, name) != fields[name].default]
        idle = changed if self.mode != "index" else []
        if idle:
            raise ValueError(f'{", ".join(idle)}: read only with mode = "index", and mode is "{self.mode}"')
        return self

    def identity(self) -> dict[str, Any]:
        """The fields that decide what is fetched; those of the index count only where the index is read."""
        fields = super().identity()
        return {name: value for name, value in fields.items() if self.mode == "index" or name not in INDEX_ONLY}

    def chosen(self, count: int) -> list[int]:
        """The numbers that ``parts`` picks out of ``count`` files, in order, each once."""
        numbers: set[int] = set()
        for part in self.parts.split(","):
            match = _PART.fullmatch(part.strip())
            assert match  # the validator has seen to it
            if match[1]:
                numbers.update(range(count)[int(match[1]) : int(match[1]) + 1])
            else:
                start, stop, step = (int(each) if each else None for each in match.group(2, 3, 4))
                numbers.update(range(count)[start:stop:step])
        return sorted(numbers)

    def volume(self) -> Volume:
        """What fetching is expected to take, before anything is asked of a server."""
        files = len(self.chosen(SNAPSHOT_FILES[self.mode]))
        listed = files * FILE_BYTES[self.mode]
        if self.mode == "index":
            pages = files * JAPANESE_PER_INDEX_FILE
            if self.max_records:
                pages = min(pages, self.max_records)
            kept = pages * PAGE_BYTES
            # Of records that lie evenly, those nearer than the gap share a request and bring the gap with them.
            alone = math.exp(-self.gap_bytes / RANGE_GAP_BYTES)
            between = RANGE_GAP_BYTES - (RANGE_GAP_BYTES + self.gap_bytes) * alone
            requests = round(pages * alone) + 10 * files
            fetched = listed + kept + round(pages * between)
            cpu = fetched * CPU_SECONDS_PER_BYTE[True]
        else:
            pages, kept, fetched, requests = files * FILE_PAGES, listed, listed, files
            cpu = fetched * CPU_SECONDS_PER_BYTE[self.check_members]
        requests += 1  # the list of files
        seconds = max(requests / self.requests_per_second, fetched / (self.bytes_per_second or math.inf))
        return Volume(files, pages, fetched, kept, requests, seconds, cpu)
