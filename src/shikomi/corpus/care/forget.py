"""Documents of finished corpora that an opt-out list means: kept, dropped, and copies of them that stand elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shikomi.corpus.care.optout import OptOut
from shikomi.data.document import KEPT, shard_paths
from shikomi.errors import DataError

_COLUMNS = ("id", "url", "host", "verdict", "reason", "duplicate_of")
_COPIES = ("exact_copy", "near_copy")


@dataclass(frozen=True, slots=True)
class Row:
    """What a corpus says of a document, without its text."""

    id: str
    url: str
    host: str
    verdict: str
    reason: str
    duplicate_of: str

    @property
    def kept(self) -> bool:
        """Whether its text is in the corpus."""
        return self.verdict == KEPT


@dataclass(frozen=True)
class Meant:
    """What of a corpus is meant.

    Attributes:
        rows: the documents meant.
        copies: others that hold nearly the same text: copies of them, and what they are copies of.
        seen: ids of those meant whose text the corpus holds: kept, or dropped as a copy of one that is kept.
    """

    rows: tuple[Row, ...]
    copies: tuple[Row, ...]
    seen: frozenset[str]


def read_rows(corpus: Path) -> Iterator[Row]:
    """Every document of a corpus (or pages) folder, without its text.

    Raises:
        DataError: no corpus there, or a shard that cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for path in shard_paths(corpus):
        try:
            file = parquet.ParquetFile(path)
            there = [name for name in _COLUMNS if name in file.schema_arrow.names]
            for batch in file.iter_batches(4096, columns=there, use_threads=False):
                for row in batch.to_pylist():
                    yield Row(*(row.get(name) or "" for name in _COLUMNS))
        except (pa.ArrowInvalid, OSError) as error:
            hint = "build the corpus again"
            raise DataError(f"cannot read corpus shard: {error}", where=str(path), hint=hint) from error


def meant(corpus: Path, opted: OptOut) -> Meant:
    """What a corpus holds of those who opted out; two passes, without texts."""
    rows = [row for row in read_rows(corpus) if opted.reason(row.id, row.url, row.host)]
    own = {row.id for row in rows}
    originals = own | {row.duplicate_of for row in rows if row.reason in _COPIES}
    copies, kept = [], {row.id for row in rows if row.kept}
    for row in read_rows(corpus) if rows else ():
        if row.id in own:
            continue
        if row.id in originals or (row.reason in _COPIES and row.duplicate_of in originals):
            copies.append(row)
            kept |= {row.id} if row.kept else set()
    seen = frozenset(row.id for row in rows if row.kept or (row.reason in _COPIES and row.duplicate_of in kept))
    return Meant(tuple(rows), tuple(copies), seen)


def nearest(id: str, ids: set[str]) -> str:
    """The id most like another: one that it begins, or that agrees in three places of four; empty if there is none."""
    best, most = "", 0
    for one in sorted(ids):
        if len(id) >= 4 and one.startswith(id):
            return one
        same = sum(a == b for a, b in zip(id, one, strict=False))
        if same > most:
            best, most = one, same
    return best if most >= 12 else ""
