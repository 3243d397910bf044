"""Signed shards: for every document of a shard that passed the rules, the keys by which its copies are found.

A signed shard is a Parquet file with one row a document: where it comes from, 128 bits of its text, one column of keys
a band, and the signature's slots. A column is read without the others, so the file is partitioned by band. The same
form is kept in the corpus folder (``signatures/part-*.parquet``), for later corpora to be compared with.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as parquet

from shikomi.compute.pool import tick
from shikomi.corpus import fingerprint
from shikomi.corpus.copies.minhash import SHINGLE, band_keys, comparable_points, exact_key, shingles, signature
from shikomi.corpus.copies.minhash import VERSION as SIGNATURE_VERSION
from shikomi.data.document import KEPT
from shikomi.errors import DataError
from shikomi.io import atomic
from shikomi.recipe.copies import CopiesPage

compute: Any = pyarrow.compute  # its functions are made at run time, unknown to a type checker

VERSION = 1
"""Of the form of signed shards; a shard of another version is made again."""

ROW_GROUP = 4096
"""Documents of a row group: 4.6 MB with 800 slots and 40 bands."""
_BATCH = 256
_FORM = b"shikomi.signature"
_UNDATED = 10**14 - 1
_SCHEME = re.compile(r"^https?://", re.IGNORECASE)

TEXTS = ("url", "host", "date")
KEYS = ("id", "date_key", "exact_high", "exact_low", "url_key", "host_key")


@dataclass(frozen=True)
class SignTask:
    """What a worker needs to sign one shard.

    Attributes:
        pages: a shard of the pages stage.
        decided: the decisions on it, a Parquet file with a column ``verdict``; documents that are kept are signed.
        signed: where the signed shard goes.
        page: the recipe's page of copies.
    """

    pages: Path
    decided: Path
    signed: Path
    page: CopiesPage

    def __str__(self) -> str:
        return str(self.pages)


def sign_shard(task: SignTask) -> int:
    """Sign the documents of a shard that were not dropped, unless that is done already; returns how many there are.

    Raises:
        DataError: pages and decisions have different numbers of rows, or an id that is not 16 hexadecimal digits.
    """
    made = _fingerprint(task)
    if fingerprint.of(task.signed) == made:
        return num_rows(task.signed)
    columns = schema(task.page)
    verdicts = parquet.read_table(task.decided, columns=["verdict"], use_threads=False)["verdict"]
    passed = compute.equal(verdicts, KEPT).combine_chunks()
    file = parquet.ParquetFile(task.pages)
    if file.metadata.num_rows != len(passed):
        raise DataError(
            f"{file.metadata.num_rows} pages, but decisions on {len(passed)}",
            where=str(task.decided),
            hint="the pages were made again: remove the decisions",
        )
    at, count = 0, 0
    metadata = {fingerprint.KEY: made.encode(), _FORM: form(task.page).encode()}
    with atomic(task.signed, "wb") as handle, open_writer(handle, columns.with_metadata(metadata)) as writer:
        waiting: list[pa.Table] = []
        for batch in file.iter_batches(_BATCH, columns=["id", "text", *TEXTS], use_threads=False):
            rows = np.flatnonzero(passed[at : at + batch.num_rows].to_numpy(zero_copy_only=False))
            if len(rows):
                waiting.append(_sign(batch.take(pa.array(rows)), rows + at, task.page, columns))
                count += len(rows)
            at += batch.num_rows
            tick(pages=batch.num_rows)
            if sum(table.num_rows for table in waiting) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())
    return count


def _sign(batch: pa.RecordBatch, rows: np.ndarray, page: CopiesPage, columns: pa.Schema) -> pa.Table:
    """Signed rows of some documents, which stand at ``rows`` of their shard."""
    plain = [comparable_points(text) for text in batch["text"].to_pylist()]
    exact = np.frombuffer(b"".join(exact_key(points) for points in plain), dtype="<u8").reshape(-1, 2)
    urls, hosts = batch["url"].to_pylist(), batch["host"].to_pylist()
    made: dict[str, Any] = {
        "row": rows.astype(np.int32),
        "id": _ids(batch["id"].to_pylist()),
        "date_key": date_keys(batch["date"]),
        "exact_high": exact[:, 0],
        "exact_low": exact[:, 1],
        "url_key": np.array([address_key(url) for url in urls], dtype=np.uint64),
        "host_key": np.array([_key(host) for host in hosts], dtype=np.uint64),
        "late_of": np.zeros(len(rows), dtype=np.uint64),
        **{name: batch[name] for name in TEXTS},
    }
    if page.near:
        values = np.stack([signature(points, page.slots) for points in plain])
        keys = band_keys(values, page.bands)
        made |= {band_column(band): np.ascontiguousarray(keys[:, band]) for band in range(page.bands)}
        low = pa.py_buffer(values.astype(np.uint8).tobytes())
        made["slots"] = pa.FixedSizeBinaryArray.from_buffers(pa.binary(page.slots), len(rows), [None, low])
        if page.verify == "text":
            made["shingles"] = [np.unique(shingles(points)) for points in plain]
    return pa.table({name: pa.array(made[name], type=columns.field(name).type) for name in columns.names})


def schema(page: CopiesPage) -> pa.Schema:
    """Columns of a signed shard.

    ``row`` is the document's row in its shard; ``id`` its id as a number; ``late_of`` is 0, but for a document whose
    text is no copy and that another one of the same address replaced: that one's id.
    """
    columns = [("row", pa.int32()), ("late_of", pa.uint64())]
    columns += [(name, pa.uint64()) for name in KEYS]
    columns += [(name, pa.string()) for name in TEXTS]
    if page.near:
        columns += [(band_column(band), pa.uint64()) for band in range(page.bands)]
        columns.append(("slots", pa.binary(page.slots)))
        if page.verify == "text":
            columns.append(("shingles", pa.list_(pa.uint32())))
    return pa.schema(columns)


def band_column(band: int) -> str:
    """Name of the column of a band's keys."""
    return f"band_{band:03d}"


def open_writer(handle: Any, columns: pa.Schema) -> parquet.ParquetWriter:
    """A writer of signed shards; hashes do not compress, so only the addresses are."""
    codecs: Any = {name: "zstd" if name in TEXTS else "none" for name in columns.names}
    if "shingles" in codecs:
        codecs["shingles.list.element"] = codecs.pop("shingles")
    repeated: Any = ["host", "date"]
    return parquet.ParquetWriter(handle, columns, compression=codecs, use_dictionary=repeated, write_statistics=False)


def form(page: CopiesPage) -> str:
    """What signatures must agree in to be compared."""
    near = {"bands": page.bands, "rows": page.rows, "shingle": SHINGLE, "verify": page.verify} if page.near else {}
    return json.dumps({"version": [VERSION, SIGNATURE_VERSION], **near}, sort_keys=True)


def form_of(signed: Path) -> str:
    """The form of a signed shard; empty if it is none."""
    try:
        return (parquet.read_schema(signed).metadata or {}).get(_FORM, b"").decode()
    except (OSError, pa.ArrowInvalid):
        return ""


def keep_rows(signed: Path, stays: np.ndarray, late_of: np.ndarray, path: Path) -> None:
    """Write those rows of a signed shard whose text is no copy, for later corpora to be compared with.

    Args:
        signed: the signed shard.
        stays: bool [rows].
        late_of: the column of that name, uint64 [rows].
        path: where they go.
    """
    file = parquet.ParquetFile(signed)
    at = 0
    with atomic(path, "wb") as handle, open_writer(handle, file.schema_arrow) as writer:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, use_threads=False)
            part = slice(at, at + table.num_rows)
            table = table.set_column(table.schema.get_field_index("late_of"), "late_of", pa.array(late_of[part]))
            writer.write_table(table.filter(pa.array(stays[part])).combine_chunks())
            at = part.stop


def read_column(signed: Path, name: str) -> np.ndarray:
    """One column of numbers of a signed shard."""
    return parquet.ParquetFile(signed, pre_buffer=False).read([name], use_threads=False)[name].to_numpy()


def num_rows(signed: Path) -> int:
    """Documents of a signed shard."""
    return parquet.read_metadata(signed).num_rows


def date_keys(dates: pa.Array) -> np.ndarray:
    """Dates as numbers YYYYMMDDhhmmss, uint64; what is left out counts as 0, and documents without a date come last."""
    digits = compute.utf8_slice_codeunits(compute.replace_substring_regex(dates, "[^0-9]", ""), 0, 14)
    known = compute.greater_equal(compute.utf8_length(digits), 4)
    numbers = compute.cast(compute.utf8_rpad(compute.if_else(known, digits, "0"), 14, "0"), pa.uint64())
    return np.asarray(compute.fill_null(compute.if_else(known, numbers, pa.scalar(_UNDATED, pa.uint64())), _UNDATED))


@functools.lru_cache(maxsize=4096)
def _key(text: str) -> int:
    """64 bits of a text; 0 for no text."""
    if not text:
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def address_key(url: str) -> int:
    """64 bits of an address, the same for http and https and whatever stands after ``#``; 0 for no address."""
    plain = _SCHEME.sub("", url.partition("#")[0])
    host, slash, rest = plain.partition("/")
    return _key(f"{host.lower()}{slash}{rest.rstrip('/')}".rstrip("/")) if plain else 0


def _ids(ids: list[str]) -> np.ndarray:
    try:
        if all(len(identity) == 16 for identity in ids):
            return np.array([int(identity, 16) for identity in ids], dtype=np.uint64)
    except ValueError:
        pass
    wrong = next(identity for identity in ids if not re.fullmatch("[0-9a-f]{16}", identity))
    raise DataError("a document's id is not 16 hexadecimal digits", where=repr(wrong), hint="make the pages again")


def _fingerprint(task: SignTask) -> str:
    """What a signed shard depends on: the form, the pages and which of them were kept."""
    made = fingerprint.of(task.pages)
    kept = parquet.read_table(task.decided, columns=["verdict"], use_threads=False)["verdict"]
    bits = np.packbits(compute.equal(kept, KEPT).to_numpy()).tobytes()
    parts = [form(task.page), made, task.pages.stat().st_size, hashlib.sha256(bits).hexdigest(), len(kept)]
    return fingerprint.digest(parts)
