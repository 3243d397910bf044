"""What a search for copies says of each document, and what is written: by shard, by cluster, for later corpora."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.compute.pool import tick
from shikomi.corpus.copies.bands import bounds, num_parts, same_key
from shikomi.corpus.copies.layout import Search
from shikomi.corpus.copies.mirrors import mirrors
from shikomi.corpus.copies.signatures import TEXTS, keep_rows, read_column
from shikomi.io import atomic

KINDS = ("", "exact", "near", "earlier", "url", "host")
"""How a document repeats another: not at all; with the same text; nearly; either of the two with a document of an
earlier corpus; another fetch of the same address; the host is a mirror."""
_NONE, _EXACT, _NEAR, _EARLIER, _URL, _HOST = range(len(KINDS))

REASONS = ("", "exact_copy", "near_copy", "earlier_copy", "url_copy", "mirror_host")
"""The reason of a verdict, by kind."""


@dataclass(frozen=True)
class Found:
    """What was found in one shard, an entry for each document that passed the rules, in their order.

    Attributes:
        rows: their rows in the shard; int32 [documents].
        kind: index into ``KINDS``; 0 for those that stay; uint8 [documents].
        original: id, as a number, of the document each repeats, which stays (or is in an earlier corpus); its own if it
            stays; uint64 [documents].
        similarity: Jaccard similarity to the document that it was found to repeat; 1.0 for equal texts, NaN where texts
            were not compared (kinds url and host); float32 [documents].
    """

    rows: np.ndarray
    kind: np.ndarray
    original: np.ndarray
    similarity: np.ndarray

    @property
    def is_copy(self) -> np.ndarray:
        """Which documents go; bool [documents]."""
        return self.kind != _NONE

    @property
    def exact(self) -> np.ndarray:
        """Which documents have the text of another one of this corpus; bool [documents]."""
        return self.kind == _EXACT

    def why(self, index: int) -> tuple[str, str, str] | None:
        """``(reason, detail, duplicate_of)`` of the document at ``index`` of this shard's, or None if it stays."""
        kind = int(self.kind[index])
        if kind == _NONE:
            return None
        similarity = float(self.similarity[index])
        detail = "same text" if similarity == 1.0 else f"Jaccard {similarity:.3f}"
        if kind == _URL:
            detail = "same address"
        elif kind == _HOST:
            return REASONS[kind], "the host repeats another one", ""
        return REASONS[kind], detail, f"{int(self.original[index]):016x}"


def load_found(path: Path) -> Found:
    """What was found in one shard."""
    with np.load(path, allow_pickle=False) as arrays:
        return Found(**{name: arrays[name] for name in Found.__dataclass_fields__})


def equal_texts(search: Search, ranks: np.ndarray) -> np.ndarray:
    """The first document with each one's text; those of earlier corpora stay; uint32 [documents], by rank."""
    original = np.arange(search.documents, dtype=np.uint32)
    if not search.page.exact:
        return original
    lower = search.by_rank(ranks, "exact_low")
    parts = num_parts(search.documents, search.memory_bytes)
    for part in range(parts):
        high, numbers = same_key(search.signed, ranks, "exact_high", part, parts)
        order = np.lexsort((numbers, lower[numbers], high))
        high, numbers = high[order], numbers[order]
        _join(original, numbers, bounds(high, lower[numbers]), search.num_fixed)
    return original


def _join(original: np.ndarray, numbers: np.ndarray, starts: np.ndarray, num_fixed: int) -> None:
    """Point the documents of each group at its first, in place; the first documents of all stay."""
    first = np.repeat(numbers[starts], np.diff(starts, append=len(numbers)))
    new = numbers >= num_fixed
    original[numbers[new]] = first[new]


@dataclass(frozen=True)
class Conclusion:
    """What the search says, by rank.

    Attributes:
        original: the document each repeats, or itself; uint32 [documents].
        similarity: see ``Found``; float32 [documents].
        kind: see ``Found``; uint8 [documents].
    """

    original: np.ndarray
    similarity: np.ndarray
    kind: np.ndarray


def conclude(search: Search, ranks: np.ndarray, exact: np.ndarray, near: np.ndarray | None) -> Conclusion:
    """Put equal texts, near copies, addresses and mirrors together, in this order.

    Args:
        search: the search.
        ranks: the rank of every document.
        exact: what ``equal_texts`` says.
        near: what ``near_copies`` says, or None.
    """
    numbers = np.arange(search.documents, dtype=np.uint32)
    kind = np.where(np.asarray(exact) != numbers, _EXACT, _NONE).astype(np.uint8)
    original = np.array(exact)
    similarity = np.ones(search.documents, dtype=np.float32)
    if near is not None:
        original = np.asarray(near[:, 0])[original]
        similarity = np.asarray(near[:, 1])[np.asarray(exact)].view(np.float32)
        kind[(kind == _NONE) & (original != numbers)] = _NEAR
    kind[(kind != _NONE) & (original < search.num_fixed)] = _EARLIER
    found = Conclusion(original, similarity, kind)
    if search.page.url != "all":
        found = _addresses(search, ranks, found)
    if search.page.mirror_share > 0:
        gone = mirrors(search, ranks, found.original, found.kind != _NONE)
        found.kind[gone] = _HOST
        found.similarity[gone] = np.nan
    return found


def _addresses(search: Search, ranks: np.ndarray, found: Conclusion) -> Conclusion:
    """Of the documents of one address that are left, keep the first or the latest; those of earlier corpora stay."""
    keeper = np.arange(search.documents, dtype=np.uint32)
    stays = found.kind == _NONE
    parts = num_parts(search.documents, search.memory_bytes)
    for part in range(parts):
        keys, numbers = same_key(search.signed, ranks, "url_key", part, parts, stays)
        known = keys != 0
        keys, numbers = keys[known], numbers[known]
        starts = bounds(keys)
        sizes = np.diff(starts, append=len(keys))
        first = numbers[starts]
        if search.page.url == "latest":
            first = np.where(first < search.num_fixed, first, numbers[starts + sizes - 1])
        new = numbers >= search.num_fixed
        keeper[numbers[new]] = np.repeat(first, sizes)[new]
    moved = keeper != np.arange(search.documents)
    found.kind[moved] = _URL
    found.similarity[moved] = np.nan
    return Conclusion(keeper[found.original], found.similarity, found.kind)


def write(search: Search, ranks: np.ndarray, found: Conclusion, out: Path) -> list[Path]:
    """Write what was found: one file a shard, the clusters, and the signatures of what is no copy.

    Args:
        search: the search.
        ranks: the rank of every document.
        found: what the search says.
        out: the corpus folder.

    Returns:
        The files of this corpus's shards.
    """
    ids, stand_ins = _ids(search, ranks)
    _write_clusters(search, ranks, found, (ids, stand_ins), out / "clusters.parquet")
    paths = []
    for number, shard, part in _shards(search):
        if number < search.num_earlier:
            continue
        numbers = ranks[part]
        kind, original = found.kind[numbers], stand_ins[found.original[numbers]]
        path = search.folder / "found" / f"part-{number - search.num_earlier:05d}.npz"
        with atomic(path, "wb") as handle:
            np.savez(
                handle,
                rows=read_column(shard, "row"),
                kind=kind,
                original=original,
                similarity=found.similarity[numbers],
            )
        replaced = kind == _URL
        keep_rows(
            shard,
            (kind == _NONE) | replaced,
            np.where(replaced, original, np.uint64(0)),
            out / "signatures" / f"part-{number - search.num_earlier:05d}.parquet",
        )
        paths.append(path)
        search.progress(len(paths), len(search.signed) - search.num_earlier, "shards", "copies written")
        tick(documents=len(numbers))
    return paths


def _shards(search: Search) -> Iterator[tuple[int, Path, slice]]:
    """Number, path and documents of each signed shard."""
    at = 0
    for number, (path, count) in enumerate(zip(search.signed, search.counts, strict=True)):
        yield number, path, slice(at, at + count)
        at += count


def _ids(search: Search, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids by rank, and ids of the documents that stand for them; uint64 [documents] each.

    A document of an earlier corpus that another fetch of its address replaced is stood for by that one.
    """
    ids = np.empty(search.documents, dtype=np.uint64)
    stand_ins = np.empty(search.documents, dtype=np.uint64)
    for _, path, part in _shards(search):
        numbers = ranks[part]
        ids[numbers] = own = read_column(path, "id")
        late = read_column(path, "late_of")
        stand_ins[numbers] = np.where(late != 0, late, own)
    return ids, stand_ins


CLUSTERS = pa.schema(
    [
        ("cluster", pa.string()),
        ("size", pa.int32()),
        ("id", pa.string()),
        ("kind", pa.string()),
        ("similarity", pa.float32()),
        ("corpus", pa.int32()),
        ("shard", pa.string()),
        ("row", pa.int32()),
        *((name, pa.string()) for name in TEXTS),
    ]
)
"""Columns of ``clusters.parquet``: the id of the document that stays and how many documents the cluster has; then each
of them: its id, ``original`` or how it repeats that one, how similar it is, the corpus (0 for this one, 1 for the first
earlier one …), its shard's name and row there, and where it is from."""


def _write_clusters(search: Search, ranks: np.ndarray, found: Conclusion, ids: tuple, path: Path) -> None:
    """Every document that repeats another or is repeated, in the order of the shards, earlier corpora first."""
    copy = (found.kind != _NONE) & (found.kind != _HOST)
    sizes = np.bincount(found.original[copy], minlength=search.documents).astype(np.int32)
    listed = copy | (sizes > 0)
    before = list(dict.fromkeys(shard.parent for shard in search.signed[: search.num_earlier]))
    with atomic(path, "wb") as handle, parquet.ParquetWriter(handle, CLUSTERS, compression="zstd") as writer:
        for number, shard, part in _shards(search):
            numbers = ranks[part]
            chosen = np.flatnonzero(listed[numbers])
            if not len(chosen):
                continue
            table = parquet.ParquetFile(shard).read(["row", *TEXTS], use_threads=False).take(pa.array(chosen))
            numbers = numbers[chosen]
            original = found.original[numbers]
            kinds = np.array(["original", *KINDS[1:]])[found.kind[numbers]]
            columns = {
                "cluster": _words(ids[1][original]),
                "size": sizes[original] + 1,
                "id": _words(ids[0][numbers]),
                "kind": kinds.tolist(),
                "similarity": found.similarity[numbers],
                "corpus": np.full(len(numbers), before.index(shard.parent) + 1 if number < search.num_earlier else 0),
                "shard": [shard.name] * len(numbers),
                **{name: table[name] for name in ("row", *TEXTS)},
            }
            writer.write_table(pa.table({name: columns[name] for name in CLUSTERS.names}, schema=CLUSTERS))


def _words(ids: np.ndarray) -> list[str]:
    return [f"{identity:016x}" for identity in ids.tolist()]
