"""JSONL, JSON and Parquet files to passages: every row a document; a bad one is named by its line and passed over."""

from __future__ import annotations

import datetime
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from shikomi.documents.charset import decode
from shikomi.documents.lines import one_line, tidy
from shikomi.documents.passage import Fields, Limits, Part, Passage, Unreadable
from shikomi.documents.plain import read_bytes

_BATCH = 64


def read_rows(kind: str, part: Part, limits: Limits, fields: Fields) -> Iterator[Passage]:
    """The rows of a file, or of a stretch of one."""
    if kind == "json":
        return read_json(Path(part.path), limits, fields)
    return (read_jsonl if kind == "jsonl" else read_parquet)(part, limits, fields)


def read_jsonl(part: Part, limits: Limits, fields: Fields) -> Iterator[Passage]:
    """Lines of a JSONL file, packed (``.gz``, ``.zst``) or not; UTF-8, or what its first line is written in."""
    number = part.first - 1
    document = -1
    charset = ""
    with _open(Path(part.path)) as file:
        if part.start:
            file.seek(part.start)
        position = part.start
        while part.stop < 0 or position < part.stop:
            try:
                line = file.readline(limits.file_bytes + 1)
            except (OSError, EOFError, zlib.error) as error:
                raise Unreadable("damaged", str(error)[:200], f"line={number + 1}") from error
            if not line:
                return
            position += len(line)
            number += 1
            if len(line) > limits.file_bytes:
                position += _pass_over(file)
                document += 1
                yield _problem(
                    "too_large", f"line of more than {limits.file_bytes} bytes", f"line={number}", "jsonl", document
                )
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            document += 1
            charset = charset or _charset(line)
            yield _line(line, number, document, charset, limits, fields)


def _charset(line: bytes) -> str:
    """The charset that the first line with a character beyond ASCII is written in; empty: none yet."""
    if line.isascii():
        return ""
    try:
        return decode(line)[1]
    except Unreadable:
        return "utf-8"


def _pass_over(file: IO[bytes]) -> int:
    """Skip the rest of a line; returns its bytes."""
    passed = 0
    while chunk := file.readline(1 << 20):
        passed += len(chunk)
        if chunk.endswith(b"\n"):
            break
    return passed


def _open(path: Path) -> IO[bytes]:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        import gzip

        return gzip.open(path, "rb")  # type: ignore[return-value]
    if suffix == ".zst":
        import io

        import pyarrow as pa

        stream = pa.input_stream(str(path), compression="zstd")
        return io.BufferedReader(stream, 1 << 20)  # type: ignore[arg-type]
    return open(path, "rb")


def _problem(reason: str, detail: str, where: str, kind: str, document: int) -> Passage:
    return Passage(where=where, kind=kind, document=document, problem=reason, detail=detail[:300])


def _line(line: bytes, number: int, document: int, charset: str, limits: Limits, fields: Fields) -> Passage:
    try:
        row = json.loads(line.decode(charset or "utf-8"))
    except (ValueError, RecursionError) as error:
        return _problem("bad_line", str(error), f"line={number}", "jsonl", document)
    passage = _row(row, f"line={number}", "jsonl", document, limits, fields)
    return passage if passage.problem else replace(passage, charset=charset or "utf-8")


def _row(row: object, where: str, kind: str, document: int, limits: Limits, fields: Fields) -> Passage:
    """One row's passage, or its problem."""
    if not isinstance(row, dict):
        return _problem("bad_line", f"no JSON object but {type(row).__name__}", where, kind, document)
    found = pick(row, fields.text)
    if found is None:
        detail = f'no field "{fields.text}" with text (there are: {", ".join(map(str, list(row)[:12]))})'
        return _problem("no_field", detail, where, kind, document)
    if len(found) > limits.characters:
        detail = f"{len(found)} > {limits.characters} characters"
        return _problem("too_much_text", detail, where, kind, document)
    title, date, own, url = (_short(row, name) for name in (fields.title, fields.date, fields.id, fields.url))
    return Passage(tidy(found), title, where, date, kind, document, "", own, url)


def _short(row: dict, name: str) -> str:
    return one_line(pick(row, name) or "", 1000) if name else ""


def pick(row: object, name: str) -> str | None:
    """The text that a dotted name leads to: of a list one line an element; None where it leads nowhere."""
    if not name:
        return _as_text(row)
    if isinstance(row, list):
        found = [text for item in row if (text := pick(item, name)) is not None]
        return "\n".join(found) if found else None
    if not isinstance(row, dict):
        return None
    if name in row:
        return pick(row[name], "")
    first, _, rest = name.partition(".")
    return pick(row[first], rest) if rest and first in row else None


def _as_text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None or isinstance(value, dict):
        return None
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, list):
        texts = [text for item in value if (text := _as_text(item)) is not None]
        return "\n".join(texts) if texts else None
    return None


def read_json(path: Path, limits: Limits, fields: Fields) -> Iterator[Passage]:
    """A JSON document: an array of rows, or one row."""
    text, charset = decode(read_bytes(path, limits))
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("damaged", f"JSON: {error}"[:300]) from error
    del text
    for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
        passage = _row(row, f"row={number}", "json", number - 1, limits, fields)
        yield passage if passage.problem else replace(passage, charset=charset)


def read_parquet(part: Part, limits: Limits, fields: Fields) -> Iterator[Passage]:
    """Row groups of a Parquet file, only the columns that the fields name."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        file = parquet.ParquetFile(part.path, page_checksum_verification=True)
        columns = _columns(file, fields)
        if not columns:
            names = ", ".join(file.schema_arrow.names[:12])
            raise Unreadable("no_field", f'no column "{fields.text}" (there are: {names})')
        groups = list(range(part.start, part.stop if part.stop >= 0 else file.num_row_groups))
        number = part.first - 1
        for batch in file.iter_batches(_BATCH, row_groups=groups, columns=columns, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield _row(row, f"row={number}", "parquet", number - part.first, limits, fields)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable("damaged", f"Parquet: {error}"[:300]) from error


def _columns(file: Any, fields: Fields) -> list[str]:
    names = file.schema_arrow.names
    wanted = []
    for field in (fields.text, fields.title, fields.date, fields.id, fields.url):
        column = field if field in names else field.partition(".")[0]
        if column in names and column not in wanted:
            wanted.append(column)
    text = fields.text if fields.text in names else fields.text.partition(".")[0]
    return wanted if text in names else []
