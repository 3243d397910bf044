"""From signed shards to groups of candidates: which documents share a key, found by sorting, one key range at a time.

Documents are numbered by *rank*: those of earlier corpora first, then by date, then by id. Ranks depend on nothing but
the documents, so whatever is decided by rank is the same for every order of the shards and number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shikomi.compute.pool import tick
from shikomi.corpus.copies.signatures import band_column, read_column
from shikomi.io import atomic

BYTES_A_KEY = 48
"""Memory of one key while it is sorted (measured: key, rank, order and what the sort takes)."""


@dataclass(frozen=True)
class Groups:
    """Groups of documents, one after the other.

    Attributes:
        members: documents, those of a group in ascending order; uint32 [members].
        sizes: members of each group, at least 2; uint32 [groups].
    """

    members: np.ndarray
    sizes: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where each group starts; int64 [groups]."""
        return np.cumsum(self.sizes, dtype=np.int64) - self.sizes

    def save(self, path: Path) -> None:
        """Write the groups, whole or not at all."""
        with atomic(path, "wb") as handle:
            np.savez(handle, members=self.members, sizes=self.sizes)

    @staticmethod
    def load(path: Path) -> Groups:
        """Read groups that were saved."""
        with np.load(path, allow_pickle=False) as arrays:
            return Groups(arrays["members"], arrays["sizes"])


def rank(signed: list[Path], num_earlier: int) -> np.ndarray:
    """The rank of every document; uint32 [documents], in the order of the shards and their rows.

    Args:
        signed: signed shards, those of earlier corpora first.
        num_earlier: how many of them are; their documents keep their order among each other by corpus, date and id.
    """
    order = np.zeros(0, dtype=np.int64)
    for shards in (signed[:num_earlier], signed[num_earlier:]):
        columns = [_whole(shards, name) for name in ("exact_low", "exact_high", "id", "date_key")]
        order = np.concatenate([order, np.lexsort(columns) + len(order)])
    ranks = np.empty(len(order), dtype=np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    return ranks


def _whole(signed: list[Path], name: str) -> np.ndarray:
    return np.concatenate([read_column(path, name) for path in signed] or [np.zeros(0, dtype=np.uint64)])


def num_parts(documents: int, memory_bytes: int) -> int:
    """Key ranges that a column of keys is sorted in, to stay within a memory budget."""
    return max(1, -(-documents * BYTES_A_KEY // memory_bytes))


def same_key(
    signed: list[Path], ranks: np.ndarray, column: str, part: int, parts: int, wanted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Keys of one range that more than one document may have, sorted by key and rank.

    Args:
        signed: signed shards.
        ranks: the rank of every document, in the order of the shards.
        column: the column of keys.
        part: which of ``parts`` ranges of the upper 32 bits.
        parts: number of ranges.
        wanted: which documents take part, by rank; bool or uint8 [documents]; None: all.

    Returns:
        ``(keys, ranks)``, uint64 and uint32.
    """
    keys, found = [], []
    at = 0
    for path in signed:
        values = read_column(path, column)
        numbers = ranks[at : at + len(values)]
        at += len(values)
        inside = np.ones(len(values), dtype=bool) if wanted is None else wanted[numbers].astype(bool)
        if parts > 1:
            inside &= (values >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32) == np.uint64(part)
        keys.append(values[inside])
        found.append(numbers[inside])
        tick(keys=len(values))
    key = np.concatenate(keys or [np.zeros(0, dtype=np.uint64)])
    number = np.concatenate(found or [np.zeros(0, dtype=np.uint32)])
    del keys, found
    order = np.argsort(key)
    key, number = key[order], number[order]
    del order
    several = _several(key)
    key, number = key[several], number[several]
    order = np.lexsort((number, key))
    return key[order], number[order]


def _several(sorted_keys: np.ndarray) -> np.ndarray:
    """Which of some sorted keys stand more than once; bool [keys]."""
    several = np.zeros(len(sorted_keys), dtype=bool)
    same = sorted_keys[1:] == sorted_keys[:-1]
    several[1:] |= same
    several[:-1] |= same
    return several


def bounds(*sorted_keys: np.ndarray) -> np.ndarray:
    """Where groups of equal keys start; int64 [groups]."""
    count = len(sorted_keys[0])
    first = np.zeros(count, dtype=bool)
    first[:1] = True
    for keys in sorted_keys:
        first[1:] |= keys[1:] != keys[:-1]
    return np.flatnonzero(first)


@dataclass(frozen=True)
class MergeTask:
    """What a worker needs to find the groups of one band and key range.

    Attributes:
        signed: signed shards, those of earlier corpora first.
        ranks: file of ``rank``'s array.
        wanted: file of which documents take part, by rank; uint8.
        num_fixed: documents of earlier corpora; a group of nothing else is left out.
        band: which band.
        part: which key range.
        parts: number of key ranges.
        groups: where the groups go.
    """

    signed: list[Path]
    ranks: Path
    wanted: Path
    num_fixed: int
    band: int
    part: int
    parts: int
    groups: Path

    def __str__(self) -> str:
        return f"{self.groups.name} of {len(self.signed)} signed shards"


def merge_band(task: MergeTask) -> None:
    """Find the groups of one band and key range, unless that is done already."""
    if task.groups.exists():
        return
    ranks = np.load(task.ranks, mmap_mode="r")
    wanted = np.load(task.wanted, mmap_mode="r")
    keys, numbers = same_key(task.signed, ranks, band_column(task.band), task.part, task.parts, wanted)
    starts = bounds(keys)
    sizes = np.diff(starts, append=len(keys))
    if task.num_fixed and len(starts):
        new = np.maximum.reduceat(numbers, starts) >= task.num_fixed
        numbers, sizes = numbers[np.repeat(new, sizes)], sizes[new]
    Groups(numbers, sizes.astype(np.uint32)).save(task.groups)


def families(count: int, files: list[Path]) -> np.ndarray:
    """Join documents that hang together by groups (union-find over arrays); uint32 [documents].

    Args:
        count: number of documents.
        files: groups that were saved.

    Returns:
        For each document the lowest one of its family; a document in no group is its own.
    """
    parents = np.arange(count, dtype=np.uint32)
    changed = True
    while changed:
        changed = False
        for groups in load_each(files):
            if not len(groups.sizes):
                continue
            roots = parents[groups.members]
            lowest = np.repeat(np.minimum.reduceat(roots, groups.starts), groups.sizes)
            worse = roots != lowest
            if worse.any():
                changed = True
                np.minimum.at(parents, roots[worse], lowest[worse])
                _flatten(parents)
    return parents


def _flatten(parents: np.ndarray) -> None:
    """Point every document at the root of its tree, in place."""
    while True:
        above = parents[parents]
        if np.array_equal(above, parents):
            return
        parents[:] = above


def load_each(files: list[Path]) -> Iterator[Groups]:
    """Load saved groups one file after the other."""
    return (Groups.load(path) for path in files)
