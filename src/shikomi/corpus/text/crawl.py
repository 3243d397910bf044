"""Reads crawled pages out of WARC (and old ARC) files; what is damaged is said, never guessed.

WARC goes through FastWARC, ARC through warcio. A record is handed on only once the reader has come past it without an
error, so that a record whose checksum fails never becomes text; after damage, reading goes on at the next record that
can be found.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mmap
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from fastwarc.warc import ArchiveIterator, HeaderMap, WarcRecord, WarcRecordType

from shikomi.errors import DataError

DAMAGED = "damaged_record"
TOO_LARGE = "too_large"
_READ_TYPES = (WarcRecordType.response, WarcRecordType.conversion)
"""Pages as servers sent them, and (in WET files) the plain text that somebody else took out of them."""
ROBOTS_HEADERS = ("X-Robots-Tag", "TDM-Reservation")

_GZIP = b"\x1f\x8b"
_MEMBER = b"\x1f\x8b\x08"
_OTHER_COMPRESSION = {b"\x28\xb5\x2f\xfd": "zstd", b"\x5d\x2a\x4d\x18": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_CUT = "the file ends in mid-record"
_SNIFF_BYTES = 1 << 20
_ADDRESS = re.compile(r"[a-z][a-z0-9+.\-]*:[^\s\x00-\x20\x7f]+\Z", re.IGNORECASE)
_ENCODED = re.compile(rb"\ncontent-encoding:([^\r\n]*)", re.IGNORECASE)
_HEADER_BYTES = 64 << 10
"""Room for WARC and HTTP headers beside the largest page."""


@dataclass(frozen=True, slots=True)
class Record:
    """One response record.

    Attributes:
        url: address; empty if the damage reaches into the record's header.
        date: ISO 8601 time of the fetch, as the file says.
        status: HTTP status, 0 if there is none.
        content_type: HTTP content type as the server sent it, lower case.
        payload: the page's bytes, transfer and content encoding undone; empty if there is a problem.
        offset: where the record starts in the file (bytes, compressed where the file is).
        problem: empty, ``damaged_record`` or ``too_large``.
        detail: what is wrong, for people.
        robots: HTTP headers by which a server speaks of the page's use (``ROBOTS_HEADERS``), as pairs.
        is_text: the payload is a page's plain text in UTF-8 (a WET file's), not the page.
    """

    url: str
    date: str
    status: int
    content_type: str
    payload: bytes
    offset: int
    problem: str = ""
    detail: str = ""
    robots: tuple[tuple[str, str], ...] = ()
    is_text: bool = False


def kind_of(path: Path) -> str:
    """Say what an input is from its first bytes: ``warc``, ``arc``, ``empty`` or ``folder``.

    Raises:
        DataError: missing or unreadable, or neither a WARC nor an ARC file.
    """
    if path.is_dir():
        return "folder"
    try:
        with open(path, "rb") as file:
            head = file.read(_SNIFF_BYTES)
    except OSError as error:
        raise DataError(
            f"cannot read WARC file: {error.strerror}", where=str(path), hint="check the path in corpus.warc"
        ) from error
    if not head:
        return "empty"
    if head[:4] in _OTHER_COMPRESSION:
        return "warc"  # told apart from other compressed files only by the reader
    text = head
    if _is_gzip(head):
        # A damaged first record must not make the whole file "not a WARC": any member may show what it is.
        text = _first_readable_member(head)
    start = text.lstrip()[:20]
    if start.startswith(b"filedesc:"):
        return "arc"
    if start.startswith(b"WARC/") or b"\nWARC/1." in text or (text is head and b"WARC-Type:" in head):
        return "warc"
    raise DataError(
        "not a WARC file",
        where=str(path),
        hint="corpus.warc takes WARC files (*.warc, *.warc.gz), such as a crawler or Common Crawl writes",
    )


def read_records(path: Path, *, max_page_bytes: int, skipped: Counter[str]) -> Iterator[Record]:
    """Yield the response records of a WARC or ARC file, in order; damaged ones as records with a ``problem``.

    Args:
        path: the file; an empty one has no records.
        max_page_bytes: larger pages (after decompression) are yielded without payload, as ``too_large``.
        skipped: counts, by type, the records that are no responses (requests, metadata, revisits …).

    Raises:
        DataError: neither a WARC nor an ARC file.
    """
    kind = kind_of(path)
    if kind == "warc":
        return _read_warc(path, max_page_bytes, skipped)
    return _read_arc(path, max_page_bytes, skipped) if kind == "arc" else iter(())


def _is_gzip(data: bytes | mmap.mmap) -> bool:
    """Whether a file is made of gzip members; the very first bytes may be damaged."""
    if data[:2] == _GZIP:
        return True
    return data.find(b"WARC/1.", 0, _SNIFF_BYTES) < 0 <= data.find(_MEMBER, 0, _SNIFF_BYTES)


def _first_readable_member(data: bytes) -> bytes:
    position = 0
    while position >= 0:
        try:
            found = zlib.decompressobj(31).decompress(data[position : position + (1 << 16)], 4096)
            if found.strip():
                return found
        except zlib.error:
            pass
        position = data.find(_MEMBER, position + 1)
    return b""


def _read_warc(path: Path, max_page_bytes: int, skipped: Counter[str]) -> Iterator[Record]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        compressed = _is_gzip(data)
        start, found_since_damage, digests = 0, True, _Digests()
        if compressed and data[:2] != _GZIP:
            yield _damaged("", "", 0, "the first record does not begin")
            start, found_since_damage = _next_start(data, 0, compressed), False
        while start >= 0:
            held: Record | None = None
            reading = ("", "", start)
            file.seek(start)
            try:
                for record in ArchiveIterator(file, parse_http=False, strict_mode=False):  # type: ignore[arg-type]
                    if held:
                        yield held
                        held = None
                    found_since_damage = True
                    start = record.stream_pos
                    reading = ("", "", start)
                    if record.record_type not in _READ_TYPES:
                        skipped[str(record.record_type)] += 1
                        continue
                    headers = record.headers
                    reading = (headers.get("WARC-Target-URI") or "", headers.get("WARC-Date") or "", start)
                    held = _take(record, *reading, max_page_bytes, None if compressed else digests)
                    if not compressed:
                        start += record.content_length
                if compressed and found_since_damage and not (held and held.problem == DAMAGED):
                    end = _member_end(data, start)
                    if end < 0:  # the reader takes the pieces of a last record that is cut for a whole one
                        held = _damaged(*reading, _CUT)
                    elif end < len(data):  # and passes over one cut in its header
                        if held:
                            yield held
                        held = _damaged("", "", end, _CUT)
                if held:
                    yield held
                return
            except OSError as error:
                if held and (not compressed or _member_end(data, held.offset) >= 0):
                    yield held
                    reading = ("", "", start)
                if found_since_damage:  # one stretch of damage is one damaged record, however many starts it offers
                    yield _damaged(*reading, error)
                    found_since_damage = False
            start = _next_start(data, start, compressed)


def _take(
    record: WarcRecord, url: str, date: str, offset: int, max_page_bytes: int, digests: _Digests | None
) -> Record:
    """Read one record's block; its length tells a cut, its digest (where doubtful) a wrong length.

    Args:
        digests: what the file's digests are worth; None where a gzip member's checksum tells damage.

    Raises:
        OSError: the compressed data is damaged.
    """
    expected = record.content_length
    if expected > max_page_bytes + _HEADER_BYTES:
        return Record(url, date, 0, "", b"", offset, TOO_LARGE, f"record of {expected} bytes")
    block = record.reader.read()
    if len(block) != expected:
        return _damaged(url, date, offset, f"{len(block)} of {expected} bytes are there")
    digest = record.headers.get("WARC-Block-Digest") or ""
    if b"\r\n\r\nWARC/1." in block and not _digest_agrees(block, digest):
        return _damaged(url, date, offset, "the record runs on into the next one")
    if digests is not None:
        if not _ADDRESS.match(url):
            return _damaged(url, date, offset, "its address is damaged")
        if digests.tell_damage(block, digest):
            return _damaged(url, date, offset, "its bytes are not those its digest tells of")
    if record.record_type == WarcRecordType.conversion:
        kind = (record.headers.get("Content-Type") or "").lower()
        if len(block) > max_page_bytes:
            return Record(url, date, 0, kind, b"", offset, TOO_LARGE, f"text above {max_page_bytes} bytes")
        return Record(url, date, 0, kind, block, offset, is_text=kind.startswith("text/plain"))
    http, payload = _decode_http(block, max_page_bytes + 1)
    if http is None:  # no HTTP in it: a name look-up, for example
        return Record(url, date, 0, (record.headers.get("Content-Type") or "").lower(), block, offset)
    status, content_type = http.status_code or 0, (http.get("Content-Type") or "").lower()
    if len(payload) > max_page_bytes:
        return Record(url, date, status, content_type, b"", offset, TOO_LARGE, f"page above {max_page_bytes} bytes")
    return Record(url, date, status, content_type, payload, offset, robots=_robots(http))


def _robots(http: HeaderMap) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name in ROBOTS_HEADERS if (value := http.get(name)))


def _decode_http(block: bytes, limit: int) -> tuple[HeaderMap | None, bytes]:
    """Split a block into HTTP headers and at most ``limit`` bytes of the body, its encodings undone where it has them.

    Crawlers write bodies already decoded and leave the server's header in place; then the body is taken as it is.
    """
    end = block.find(b"\r\n\r\n", 0, _HEADER_BYTES)
    encoded = _ENCODED.search(block, 0, end if end >= 0 else _HEADER_BYTES)
    if encoded and _expands(block, encoded[1].decode("ascii", "replace").lower().split(","), limit):
        record = _parsed(block, "none")
        return record.http_headers if record else None, bytes(limit)
    for decode in ("all", "content", "none"):
        record = _parsed(block, decode)
        if record:
            with contextlib.suppress(OSError):
                return record.http_headers, record.reader.read(limit)
    return None, b""


def _parsed(block: bytes, decode: Literal["all", "content", "transfer", "none"]) -> WarcRecord | None:
    record = WarcRecord()
    record.set_bytes_content(block)
    record.is_http = True
    try:
        record.parse_http(auto_decode=decode, strict_mode=False)
    except OSError:
        return None
    return record


def _expands(block: bytes, encodings: list[str], limit: int) -> bool:
    """Whether a body's encodings unfold it to ``limit`` bytes or more; the reader would unfold all of it first."""
    record = _parsed(block, "transfer") or _parsed(block, "none")
    if record is None:
        return False
    try:
        body = record.reader.read(len(block))
        for encoding in reversed(encodings):
            body = _unfold(body, encoding.strip(), limit)
            if len(body) >= limit:
                return True
    except (OSError, zlib.error, ValueError):
        pass  # not what its header says: taken as it is, which is no longer than the block
    return False


def _unfold(body: bytes, encoding: str, limit: int) -> bytes:
    """At most ``limit`` bytes of what an encoded body holds.

    Raises:
        zlib.error, ValueError: it is not so encoded.
    """
    if encoding in ("gzip", "x-gzip", "deflate"):
        try:
            return zlib.decompressobj(47).decompress(body, limit)
        except zlib.error:
            return zlib.decompressobj(-15).decompress(body, limit)
    if encoding == "br":
        import brotli

        try:
            return brotli.Decompressor().process(body, output_buffer_limit=limit)
        except brotli.error as error:
            raise ValueError(str(error)) from error
    return body


def _damaged(url: str, date: str, offset: int, detail: object) -> Record:
    return Record(url, date, 0, "", b"", offset, DAMAGED, str(detail))


def _digest_agrees(block: bytes, digest: str) -> bool:
    name, _, value = digest.partition(":")
    found = hashlib.sha1(block).digest()
    return name.lower() == "sha1" and value.upper() in (base64.b32encode(found).decode(), found.hex().upper())


def _member_end(data: mmap.mmap, offset: int) -> int:
    """Where the gzip member at ``offset`` ends; -1 if it is cut, or its checksum wrong.

    Where no member begins there, records do not have members of their own: then the file is one, from its start.
    """
    offset = offset if data[offset : offset + len(_MEMBER)] == _MEMBER else 0
    inflate = zlib.decompressobj(31)
    while not inflate.eof:
        chunk = data[offset : offset + (1 << 16)]
        if not chunk:
            return -1
        offset += len(chunk)
        try:
            while chunk and not inflate.eof:  # a member may be a thousand times larger than its bytes here
                inflate.decompress(chunk, 1 << 20)
                chunk = inflate.unconsumed_tail
        except zlib.error:
            return -1
    return offset - len(inflate.unused_data)


class _Digests:
    """The digests of one file. Some tools write wrong ones: they count once one has been right."""

    def __init__(self) -> None:
        self.right = False

    def tell_damage(self, block: bytes, digest: str) -> bool:
        if not digest.lower().startswith("sha1:"):
            return False
        agrees = _digest_agrees(block, digest)
        self.right = self.right or agrees
        return self.right and not agrees


def _next_start(data: mmap.mmap, position: int, compressed: bool) -> int:
    """Where the next record can begin after ``position``, or -1."""
    if compressed:
        return data.find(_MEMBER, position + 1)
    found = data.find(b"\nWARC/1.", position + 1)
    return found + 1 if found >= 0 else -1


def _read_arc(path: Path, max_page_bytes: int, skipped: Counter[str]) -> Iterator[Record]:
    from warcio.archiveiterator import ArchiveIterator as ArcIterator
    from warcio.exceptions import ArchiveLoadFailed

    with open(path, "rb") as file:
        records = ArcIterator(file, arc2warc=True)
        url, date, offset = "", "", 0
        try:
            for record in records:
                offset = file.tell()  # near enough: warcio tells a record's own place only once it has been read
                url, date = _arc_header(record, "WARC-Target-URI"), _arc_header(record, "WARC-Date")
                if record.rec_type != "response":
                    skipped[record.rec_type] += 1
                    continue
                yield _take_arc(record, url, date, offset, max_page_bytes)
        except (ArchiveLoadFailed, OSError, zlib.error, EOFError) as error:
            yield _damaged(url, date, offset, error)


def _arc_header(record, name: str) -> str:
    return record.rec_headers.get_header(name) or ""


def _take_arc(record, url: str, date: str, offset: int, max_page_bytes: int) -> Record:
    stream: IO[bytes] = record.content_stream()
    payload = stream.read(max_page_bytes + 1)
    headers = record.http_headers
    code = headers.get_statuscode() if headers else ""
    status = int(code) if code and code.isdigit() else 0
    content_type = ((headers.get_header("Content-Type") if headers else "") or "").lower()
    if len(payload) > max_page_bytes:
        return Record(url, date, status, content_type, b"", offset, TOO_LARGE, f"page above {max_page_bytes} bytes")
    found = [(name, headers.get_header(name) or "") for name in ROBOTS_HEADERS] if headers else []
    robots = tuple((name, value) for name, value in found if value)
    return Record(url, date, status, content_type, payload, offset, robots=robots)
