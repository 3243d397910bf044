"""Decisions over one shard of pages: which documents pass, and the signatures of those that do. Run anywhere.

A decision is a small pure thing that sees a document's row and says why it goes, or nothing. They are asked in one
order, and the first that answers gives the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.compute.local import tick
from shikomi.corpus.extract import comparable
from shikomi.corpus.minhash import band_keys, exact_key, signature
from shikomi.corpus.rules import first_failure
from shikomi.data.document import DROPPED, KEPT, MEASURES
from shikomi.io import atomic
from shikomi.recipe.corpus import CorpusPage

VERSION = 1
"""Of what this module does to a document; decisions of another version are taken again."""

Decision = Callable[[dict[str, Any]], tuple[str, str] | None]
"""Sees a document's row (columns ``SEEN``); says ``(reason, detail)`` if it goes."""

SEEN = ("id", "source", "url", "host", "date", "text", *MEASURES)
_FINGERPRINT = b"shikomi.fingerprint"
_BATCH_ROWS = 256


@dataclass(frozen=True)
class Task:
    """What a worker needs to decide over one shard.

    Attributes:
        pages: a shard of the pages stage.
        decided: where the decisions go.
        page: the recipe's corpus page, of which ``page.deciding()`` counts.
    """

    pages: Path
    decided: Path
    page: CorpusPage

    def __str__(self) -> str:
        return str(self.pages)


def decisions(page: CorpusPage) -> list[Decision]:
    """The decisions of a recipe that need nothing but the document itself, in their order."""
    thresholds = page.thresholds()
    return [lambda row: first_failure(row, thresholds)]


def decided_schema(page: CorpusPage) -> pa.Schema:
    """Columns of a shard of decisions: one row a document, with what the search for copies needs if it passed."""
    copies = page.copies
    return pa.schema(
        [
            ("verdict", pa.string()),
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("exact_key", pa.binary(16)),
            ("band_keys", pa.binary(8 * copies.bands)),
            ("slots", pa.binary(copies.bands * copies.rows)),
        ]
    )


def decide_shard(task: Task) -> None:
    """Decide over one shard of pages, unless that is done already."""
    fingerprint = _fingerprint(task)
    if _is_done(task.decided, fingerprint):
        return
    asked = decisions(task.page)
    columns = decided_schema(task.page)
    file = parquet.ParquetFile(task.pages)
    with atomic(task.decided, "wb") as handle, parquet.ParquetWriter(handle, columns, compression="zstd") as writer:
        for batch in file.iter_batches(_BATCH_ROWS, columns=["verdict", "reason", "detail", *SEEN], use_threads=False):
            rows = [_decide(row, asked, task.page) for row in batch.to_pylist()]
            writer.write_table(pa.Table.from_pylist(rows, schema=columns))
            tick(pages=len(rows))
        writer.add_key_value_metadata({_FINGERPRINT: fingerprint})


def _decide(row: dict[str, Any], asked: list[Decision], page: CorpusPage) -> dict[str, Any]:
    if row["verdict"] != KEPT:
        return {name: row[name] for name in ("verdict", "reason", "detail")}
    why = next((why for decision in asked if (why := decision(row))), None)
    if why:
        return {"verdict": DROPPED, "reason": why[0], "detail": why[1]}
    decided = {"verdict": KEPT, "reason": "", "detail": ""}
    return {**decided, **sign(row["text"], page)} if page.copies.exact or page.copies.near else decided


def sign(text: str, page: CorpusPage) -> dict[str, bytes]:
    """The keys by which copies of a text are found."""
    plain = comparable(text)
    keys = {"exact_key": exact_key(plain)}
    if page.copies.near:
        values = signature(plain, page.copies.bands * page.copies.rows)
        keys["band_keys"] = band_keys(values, page.copies.bands).astype("<u8").tobytes()
        keys["slots"] = values.astype(np.uint8).tobytes()
    return keys


def _fingerprint(task: Task) -> str:
    """What decisions depend on: this module's version, the recipe's decisions, and the pages by what made them."""
    made = (parquet.read_metadata(task.pages).metadata or {}).get(_FINGERPRINT, b"").decode()
    parts = [VERSION, task.page.deciding(), made]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_done(decided: Path, fingerprint: str) -> bool:
    try:
        metadata = parquet.read_metadata(decided).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return metadata.get(_FINGERPRINT, b"").decode() == fingerprint
