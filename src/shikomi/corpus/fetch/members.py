"""Gzip members of fetched WARC files: whether each can be read, and whether a record is what it says it is."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MEMBER = b"\x1f\x8b\x08"
_STEP_BYTES = 16 << 10
_SEARCH_BYTES = 1 << 20
MAX_RECORD_BYTES = 64 << 20
"""A record that inflates to more than this is taken for a bomb: crawlers cut pages at a few MiB."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What a compressed file holds.

    Attributes:
        compressed: whether it begins as a compressed file does, or is empty.
        members: those that can be read to their checksum; None if nobody looked.
        damaged: stretches that cannot be read.
        sha256: of the file.
    """

    compressed: bool
    members: int | None
    damaged: int
    sha256: str


def examine(path: Path, *, inflate: bool = True) -> Examined:
    """Inflate every member of a ``.gz`` file and check its CRC-32; damage does not end the reading.

    Args:
        inflate: False: look at its beginning only.
    """
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        compressed = file.read(len(MEMBER)) in (MEMBER, b"")
        if not inflate:
            return Examined(compressed, None, 0, sha256)
        size = path.stat().st_size
        members = damaged = position = 0
        whole = True
        while 0 <= position < size:
            end = _member_end(file, position)
            if end >= 0:
                members += 1
                position, whole = end, True
                continue
            damaged += whole  # one stretch of damage counts once, however many starts it seems to have
            position, whole = _next_member(file, position + 1), False
        return Examined(compressed, members, damaged, sha256)


def _member_end(file: BinaryIO, start: int) -> int:
    """Where the member that starts here ends; -1 if none does, or it is damaged."""
    # The file is read and not mapped: pages of a mapped file would count as this process's memory.
    file.seek(start)
    inflate = zlib.decompressobj(31)
    position = start
    try:
        while not inflate.eof:
            chunk = file.read(_STEP_BYTES)
            if not chunk:
                return -1
            inflate.decompress(chunk)
            position += len(chunk)
    except zlib.error:
        return -1
    return position - len(inflate.unused_data)


def _next_member(file: BinaryIO, start: int) -> int:
    """Where the next member seems to start, or -1."""
    overlap = len(MEMBER) - 1
    file.seek(start)
    chunk = file.read(_SEARCH_BYTES)
    while len(chunk) > overlap:
        found = chunk.find(MEMBER)
        if found >= 0:
            return start + found
        start += len(chunk) - overlap
        chunk = chunk[-overlap:] + file.read(_SEARCH_BYTES)
    return -1


def record_problem(member: bytes) -> str:
    """Why these bytes are not exactly one whole WARC record in one gzip member; empty if they are."""
    inflate = zlib.decompressobj(31)
    try:
        record = inflate.decompress(member, MAX_RECORD_BYTES)
    except zlib.error:
        return "its compression is damaged"
    if inflate.unconsumed_tail:
        return f"it inflates to more than {MAX_RECORD_BYTES} bytes"
    if not inflate.eof:
        return "it is cut"
    if inflate.unused_data:
        return "it is longer than one record"
    return _text_problem(record)


def _text_problem(record: bytes) -> str:
    head, _, rest = record.partition(b"\r\n\r\n")
    if not head.startswith(b"WARC/1."):
        return "it is no WARC record"
    fields = {}
    for line in head.decode("utf-8", errors="replace").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    length = fields.get("content-length", "")
    if not length.isdigit() or len(rest) < int(length) or rest[int(length) :].strip(b"\r\n"):
        return "its length is not what it says"
    block = rest[: int(length)]
    digest = fields.get("warc-block-digest", "")
    if not digest and fields.get("warc-type") == "response":
        # Of the payload only where it lies there as it was hashed: some writers hash it with its encodings undone.
        http, _, payload = block.partition(b"\r\n\r\n")
        if b"-encoding:" not in http.lower():
            block, digest = payload, fields.get("warc-payload-digest", "")
    return "" if _agrees(block, digest) else "its digest is not that of its bytes"


def _agrees(data: bytes, digest: str) -> bool:
    name, _, value = digest.partition(":")
    if name.lower() not in ("sha1", "sha256"):
        return True
    made = hashlib.new(name.lower(), data).digest()
    return value.upper().rstrip("=") in (base64.b32encode(made).decode().rstrip("="), made.hex().upper())
