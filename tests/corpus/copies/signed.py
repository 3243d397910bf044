"""Signed shards made directly, without texts: signatures with a planted Jaccard similarity, millions if need be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.corpus.copies import signatures
from shikomi.io import atomic
from shikomi.recipe.copies import CopiesPage

Rows = dict[str, np.ndarray]
"""``values`` uint32 [documents, slots]; ``id date_key exact url_key host_key`` uint64 [documents]."""


def make_rows(values: np.ndarray, seed: int = 0, **given: np.ndarray) -> Rows:
    """Documents with these signatures, each with an id, date and text of its own unless given."""
    rnd = np.random.default_rng(seed)
    count = len(values)
    rows = {
        "values": values.astype(np.uint32),
        "id": rnd.integers(1, 1 << 63, count, dtype=np.uint64),
        "date_key": rnd.integers(20240101000000, 20250101000000, count, dtype=np.uint64),
        "exact": rnd.integers(1, 1 << 63, count, dtype=np.uint64),
        "url_key": rnd.integers(1, 1 << 63, count, dtype=np.uint64),
        "host_key": rnd.integers(1, 1 << 63, count, dtype=np.uint64),
    }
    return rows | given


def change(values: np.ndarray, jaccard: float, rnd: np.random.Generator) -> np.ndarray:
    """Signatures that agree with ``values`` in each slot with probability ``jaccard``."""
    new = rnd.integers(0, 1 << 32, values.shape, dtype=np.uint32)
    return np.where(rnd.random(values.shape) < jaccard, values, new)


def pick(rows: Rows, chosen: np.ndarray) -> Rows:
    """Some of the documents."""
    return {name: values[chosen] for name, values in rows.items()}


def keys_of(values: np.ndarray, bands: int) -> np.ndarray:
    """Band keys of many signatures at once, uint64 [documents, bands]; any injective hash does."""
    rows = values.astype(np.uint64).reshape(len(values), bands, values.shape[1] // bands)
    factors = np.random.default_rng(7).integers(0, 1 << 63, rows.shape[2], dtype=np.uint64) * np.uint64(2) + np.uint64(
        1
    )
    keys = (rows * factors).sum(axis=2, dtype=np.uint64)
    keys ^= keys >> np.uint64(31)
    keys *= np.uint64(0x9E3779B97F4A7C15)
    return keys ^ (keys >> np.uint64(29))


def write_signed(path: Path, rows: Rows, page: CopiesPage) -> Path:
    """Write documents as a signed shard, as ``signatures.sign_shard`` would."""
    count = len(rows["id"])
    columns = signatures.schema(page)
    print_ = f"{path.name}-{int(rows['id'].sum(dtype=np.uint64)) if count else 0}-{count}"
    metadata = {b"shikomi.fingerprint": print_.encode(), b"shikomi.signature": signatures.form(page).encode()}
    keys = keys_of(rows["values"], page.bands) if page.near else np.zeros((count, 0))
    made: dict[str, object] = {
        "row": np.arange(count, dtype=np.int32),
        "late_of": np.zeros(count, dtype=np.uint64),
        **{name: rows[name] for name in ("id", "date_key", "url_key", "host_key")},
        "exact_high": rows["exact"] >> np.uint64(8),
        "exact_low": rows["exact"],
        **{name: [f"{value:x}" for value in rows[f"{name}_key"].tolist()] for name in ("url", "host", "date")},
        **{signatures.band_column(band): np.ascontiguousarray(keys[:, band]) for band in range(keys.shape[1])},
    }
    if page.near:
        low = pa.py_buffer(rows["values"].astype(np.uint8).tobytes())
        made["slots"] = pa.FixedSizeBinaryArray.from_buffers(pa.binary(page.slots), count, [None, low])
    table = pa.table({name: made[name] for name in columns.names}, schema=columns)
    with (
        atomic(path, "wb") as handle,
        signatures.open_writer(handle, columns.with_metadata(metadata)) as writer,
    ):
        for at in range(0, count, signatures.ROW_GROUP):
            writer.write_table(table.slice(at, signatures.ROW_GROUP))
    return path


def write_shards(folder: Path, rows: Rows, parts: Iterable[np.ndarray], page: CopiesPage) -> list[Path]:
    """Write documents as several signed shards, each with those of one part."""
    return [
        write_signed(folder / f"part-{number:05d}.parquet", pick(rows, part), page) for number, part in enumerate(parts)
    ]


def read_ids(path: Path) -> np.ndarray:
    """Ids of a signed shard's documents."""
    return parquet.read_table(path, columns=["id"])["id"].to_numpy()
