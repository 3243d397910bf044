"""The ledger of a stage: a row per input, saying what was read of it, with what, and what came of it.

The row of an input is the unit of resuming and of checking: with its checksum a shard can be told from one that was
damaged or put there by hand. A ledger holds no time, no machine and no path; the same build writes the same ledger.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.io import read_jsonl, sha256_file, write_jsonl

NAME = "ledger.jsonl"
LIBRARIES = ("shikomi", "fastwarc", "numpy", "pyarrow", "resiliparse", "warcio")
"""Packages whose version may change what is read."""


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the libraries in this process."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def row(
    shard: Path, *, kind: str, byte_range: tuple[int, int], versions: dict[str, Any], sha256: str, **counts: Any
) -> dict[str, Any]:
    """One input's row.

    Args:
        shard: the file made from it; its name is the row's.
        kind: what the input is (``warc``, ``arc``, ``empty``, ``folder``, …).
        byte_range: the bytes of it that were read, first and one past the last.
        versions: of the code and libraries that read it.
        sha256: of the shard's bytes, hexadecimal.
        counts: what was read and what came of it.
    """
    return {
        "shard": shard.name,
        "input": kind,
        "range": list(byte_range),
        **counts,
        "versions": dict(sorted(versions.items())),
        "sha256": sha256,
    }


def write(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a stage's ledger into its folder, whole or not at all."""
    write_jsonl(folder / NAME, rows)


def read(folder: Path) -> list[dict[str, Any]]:
    """The rows of a stage's ledger, in the order of the inputs.

    Raises:
        DataError: there is none, or it is damaged.
    """
    return [row for _, row in read_jsonl(folder / NAME)]


def check(folder: Path) -> None:
    """See that every shard is there and has the bytes its row says.

    Raises:
        DataError: one is missing, or its checksum differs; the first is named.
    """
    for told in read(folder):
        shard = folder / "shards" / told["shard"]
        if sha256_file(shard) != told["sha256"]:
            raise DataError(
                "a shard is not the one its ledger tells of: its checksum differs",
                where=str(shard),
                hint="delete the stage's folder from the store and give the same build again",
            )
