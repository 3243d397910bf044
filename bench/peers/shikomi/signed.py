"""The search for copies over made-up signatures: makes them, searches, or scores what was found, each a process.

A planted copy agrees with its original in each slot with the probability that is its Jaccard similarity, which is what
MinHash promises of texts. Three of ten documents are copies; originals have one to many. What is drawn depends on the
size alone.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa

from shikomi.corpus.copies import signatures
from shikomi.corpus.copies.found import KINDS, load_found
from shikomi.corpus.copies.search import search_copies
from shikomi.io import atomic
from shikomi.recipe.copies import CopiesPage

PAGE = CopiesPage()
A_SHARD = 20_000
COPIES = 0.3


def draw(number: int, rnd: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One shard: signatures uint32 [documents, slots], each one's original (itself if it is one), and similarity."""
    originals = int(A_SHARD * (1 - COPIES))
    base = rnd.integers(0, 1 << 32, (originals, PAGE.slots), dtype=np.uint32)
    # Half of the copies are of few originals: one in a hundred has fifty.
    crowded = rnd.random(A_SHARD - originals) < 0.5
    of = np.where(crowded, rnd.integers(0, originals // 100, len(crowded)), rnd.integers(0, originals, len(crowded)))
    similarity = np.where(rnd.random(len(of)) < 0.6, rnd.uniform(0.9, 1.0, len(of)), rnd.uniform(0.5, 0.9, len(of)))
    copies = base[of]
    for at in range(0, len(of), 1000):
        part = slice(at, at + 1000)
        changed = rnd.random(copies[part].shape, dtype=np.float32) >= similarity[part, None]
        copies[part][changed] = rnd.integers(0, 1 << 32, int(changed.sum()), dtype=np.uint32)
    return (
        np.concatenate([base, copies]),
        np.concatenate([np.arange(originals), of]),
        np.concatenate([np.ones(originals), similarity]),
    )


def make(documents: int, out: Path) -> dict:
    """Write signed shards, and what was planted."""
    columns = signatures.schema(PAGE)
    factors = np.random.default_rng(7).integers(0, 1 << 63, PAGE.rows, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    for number in range(documents // A_SHARD):
        rnd = np.random.default_rng([documents, number])
        values, of, similarity = draw(number, rnd)
        keys = np.empty((A_SHARD, PAGE.bands), dtype=np.uint64)
        for at in range(0, A_SHARD, 1000):
            rows = values[at : at + 1000].reshape(-1, PAGE.bands, PAGE.rows).astype(np.uint64)
            keys[at : at + 1000] = (rows * factors).sum(axis=2, dtype=np.uint64)
        keys ^= keys >> np.uint64(29)
        keys *= np.uint64(0x9E3779B97F4A7C15)
        ids = rnd.permutation(A_SHARD).astype(np.uint64) + np.uint64(number * A_SHARD)
        made: dict = {
            "row": np.arange(A_SHARD, dtype=np.int32),
            "late_of": np.zeros(A_SHARD, dtype=np.uint64),
            "id": ids,
            # Copies come after their originals.
            "date_key": np.where(of == np.arange(A_SHARD), 20250101000000, 20260101000000).astype(np.uint64),
            **{
                name: rnd.integers(1, 1 << 63, A_SHARD, dtype=np.uint64)
                for name in ("exact_high", "exact_low", "url_key", "host_key")
            },
            **{name: [f"https://{name}.test/{identity}" for identity in ids.tolist()] for name in signatures.TEXTS},
            **{signatures.band_column(band): np.ascontiguousarray(keys[:, band]) for band in range(PAGE.bands)},
            "slots": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(PAGE.slots), A_SHARD, [None, pa.py_buffer(values.astype(np.uint8).tobytes())]
            ),
        }
        table = pa.table({name: made[name] for name in columns.names}, schema=columns)
        said = {b"shikomi.fingerprint": f"{documents} {number}".encode(), b"shikomi.signature": b"bench"}
        path = out / "signed" / f"part-{number:05d}.parquet"
        with atomic(path, "wb") as handle, signatures.open_writer(handle, columns.with_metadata(said)) as writer:
            for at in range(0, A_SHARD, signatures.ROW_GROUP):
                writer.write_table(table.slice(at, signatures.ROW_GROUP))
        np.savez(out / f"planted-{number:05d}.npz", ids=ids, of=ids[of], similarity=similarity)
    return {"bytes": sum(path.stat().st_size for path in (out / "signed").iterdir())}


def search(out: Path) -> dict:
    """Search, as the corpus stage does."""
    search_copies(sorted((out / "signed").iterdir()), PAGE, out / "corpus")
    return {"scratch_bytes": sum(path.stat().st_size for path in (out / "corpus/scratch").rglob("*") if path.is_file())}


def score(out: Path) -> dict:
    """Recall of planted copies of 0.9 and more; share of removals whose two documents have at least 0.7."""
    planted = removed = right = found_pairs = pairs = tight = found_tight = 0
    for path in sorted((out / "corpus/scratch/copies").glob("*/found/*.npz")):
        found = load_found(path)
        with np.load(out / f"planted-{path.stem[-5:]}.npz") as arrays:
            ids, of, similarity = arrays["ids"], arrays["of"], arrays["similarity"]
        gone = found.kind == KINDS.index("near")
        near = (of != ids) & (similarity >= 0.9)
        planted += int((of != ids).sum())
        pairs += int(near.sum())
        found_pairs += int((near & gone).sum())
        edge = near & (similarity < 0.91)
        tight += int(edge.sum())
        found_tight += int((edge & gone).sum())
        order = np.argsort(ids)
        place = order[np.minimum(np.searchsorted(ids[order], found.original), len(ids) - 1)]
        # Two copies of one original share what both have kept of it.
        joined = np.where(found.original == of, similarity, similarity * similarity[place])
        joined[(of[place] != of) | (ids[place] != found.original)] = 0.0
        removed += int(gone.sum())
        right += int((gone & (joined >= 0.7)).sum())
    return {
        "planted": planted,
        "pairs": pairs,
        "recall": round(found_pairs / pairs, 5),
        "recall_0.90_to_0.91": round(found_tight / tight, 5),
        "removed": removed,
        "precision": round(right / removed, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=A_SHARD)
    parser.add_argument("what", choices=["make", "search", "score"])
    wanted = parser.parse_args()
    said = {"make": lambda: make(wanted.documents, wanted.out), "search": lambda: search(wanted.out)}
    said["score"] = lambda: score(wanted.out)
    versions = {name: version(name) for name in ("shikomi", "numpy", "pyarrow")}
    print(json.dumps(said[wanted.what]() | {"versions": versions}))


if __name__ == "__main__":
    main()
