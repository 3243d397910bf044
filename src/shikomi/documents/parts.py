"""Large files of rows in stretches, so that several workers can read one file and a cut-off run loses little."""

from __future__ import annotations

import os
from pathlib import Path

from shikomi.documents.kinds import PACKED, by_name
from shikomi.documents.passage import Part

PART_BYTES = 64_000_000
"""Bytes of a stretch: 20 to 60 s of work for one worker. (Ours.)"""


def parts_of(path: Path, kind: str = "", part_bytes: int = PART_BYTES) -> list[Part]:
    """Stretches of a file; one for all that is no large JSONL or Parquet file. No line and no row group is torn apart.

    Args:
        path: the file.
        kind: what the recipe says it is; empty: by its name.
        part_bytes: wanted size of a stretch, in bytes.
    """
    whole = [Part(os.fspath(path))]
    try:
        if path.stat().st_size < 2 * part_bytes or path.suffix.lower() in PACKED:
            return whole
        kind = kind or by_name(path)
        if kind == "jsonl":
            return _lines(path, part_bytes)
        return _row_groups(path, part_bytes) if kind == "parquet" else whole
    except OSError:
        return whole


def _lines(path: Path, part_bytes: int) -> list[Part]:
    parts: list[Part] = []
    start, first, position, lines = 0, 1, 0, 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            end = chunk.rfind(b"\n")
            if end >= 0 and position + end + 1 - start >= part_bytes:
                stop = position + end + 1
                parts.append(Part(os.fspath(path), start, stop, first))
                start, first = stop, lines + chunk.count(b"\n") + 1
            lines += chunk.count(b"\n")
            position += len(chunk)
    if start < position:
        parts.append(Part(os.fspath(path), start, -1, first))
    return parts


def _row_groups(path: Path, part_bytes: int) -> list[Part]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        metadata = parquet.read_metadata(path)
    except (pa.ArrowException, OSError):
        return [Part(os.fspath(path))]
    parts: list[Part] = []
    start, first, size, rows = 0, 1, 0, 0
    for group in range(metadata.num_row_groups):
        about = metadata.row_group(group)
        size, rows = size + about.total_byte_size, rows + about.num_rows
        if size >= part_bytes or group == metadata.num_row_groups - 1:
            parts.append(Part(os.fspath(path), start, group + 1, first))
            start, first, size, rows = group + 1, first + rows, 0, 0
    return parts or [Part(os.fspath(path))]
