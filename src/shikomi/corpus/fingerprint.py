"""What a shard was made from, in one word written into it: by it a finished one is used again, or made anew."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

KEY = b"shikomi.fingerprint"
"""Of a Parquet file's metadata."""
_END_BYTES = 1 << 16


def digest(parts: list[Any]) -> str:
    """One word for plain values; 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def of(shard: Path) -> str:
    """The fingerprint written into a shard; empty if it has none, or there is no whole shard."""
    try:
        metadata = parquet.read_metadata(shard).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return ""
    return metadata.get(KEY, b"").decode()


def ends(path: Path) -> list[Any]:
    """Size and hash of both ends of an input, which tell it from another without reading it whole."""
    try:
        with open(path, "rb") as file:
            head = file.read(_END_BYTES)
            size = file.seek(0, 2)
            file.seek(max(0, size - _END_BYTES))
            return [size, hashlib.sha256(head + file.read()).hexdigest()]
    except OSError:
        return ["none"]
