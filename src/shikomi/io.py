"""Files: written whole or not at all, read with the file and line named when they are wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from shikomi.errors import DataError

PARTIAL_SUFFIX = ".partial"

_writer = ""


def write_as(name: str) -> None:
    """From now on this process writes unfinished files of its own (``<path>.by-<name>.partial``).

    For workers on a cluster: one whose node is thought lost may still be writing when another does its work again.
    """
    global _writer
    _writer = f".by-{name}"


@contextlib.contextmanager
def atomic(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open ``path`` for writing so that it appears complete or not at all.

    The bytes go to ``<path>.partial``, are flushed to disk, then renamed. Text is UTF-8 without BOM, ``\\n`` endings.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + _writer + PARTIAL_SUFFIX)
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
    with open(partial, mode, encoding=encoding, newline=newline) as handle:
        yield handle
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def dumps(value: object) -> str:
    """JSON on one line, Japanese left readable."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def write_json(path: Path, value: object) -> None:
    """Write one JSON document, indented by two, whole or not at all."""
    with atomic(path) as handle:
        json.dump(value, handle, ensure_ascii=False, indent=2)
        handle.write("\n")


def read_json(path: Path) -> Any:
    """Read one JSON document.

    Raises:
        DataError: missing, not UTF-8, or not JSON.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError("file not found", where=str(path)) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"not a JSON document: {error}", where=str(path)) from error


def write_jsonl(path: Path, rows: Iterable[object]) -> int:
    """Write one JSON value a line, whole or not at all; returns how many."""
    count = 0
    with atomic(path) as handle:
        for row in rows:
            handle.write(dumps(row) + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield ``(line number from 1, value)``; blank lines are passed over.

    Raises:
        DataError: missing, a folder, not UTF-8, or a line that is not JSON (the line is named).
    """
    try:
        handle = open(path, "rb")  # noqa: SIM115 - closed below; opening apart keeps the error precise
    except FileNotFoundError as error:
        raise DataError("file not found", where=str(path), hint="check its name and folder") from error
    except IsADirectoryError as error:
        raise DataError("expected a file, found a folder", where=str(path), hint="name a file in it") from error
    with handle:
        for number, line in enumerate(handle, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8"))
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                raise DataError(
                    f"line is not JSON: {error}",
                    where=f"{path}:{number}",
                    hint="one JSON value a line, UTF-8; a JSON array belongs into a .json file",
                ) from error


def damaged_files(folder: Path, sizes: Mapping[str, int]) -> str:
    """What is wrong with files of a folder whose sizes in bytes are known; empty if nothing is. Nothing is read."""
    for name, size in sizes.items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes, {size} were written"
    return ""


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read file: {error.strerror}", where=str(path)) from error
