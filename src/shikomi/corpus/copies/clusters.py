"""Which of some candidates stay: in the order of rank, a document goes if it is like one that stays.

That is said of single pairs (they share a band and are similar enough), so it depends on nothing but the documents and
their order. It is computed for all groups at once, in rounds: a document that stands first in all of its groups stays,
the members of its groups are compared with it, those that are like it go, and the next round sees what is left.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shikomi.compute.pool import tick
from shikomi.corpus.copies.bands import Groups
from shikomi.io import atomic

CHANCE = 1 / 256
"""Share of slots that agree by chance, a slot being kept as its lowest 8 bits."""
COMPARED = 64
"""Of the documents of one group that stay, the first so many are compared with the rest: a host with a million pages of
one form, a fifth of each its own, would else be compared pair by pair. A near copy of a later one goes unseen only if
they share no other band."""
_PAIRS = 4096
"""Pairs compared at once (6.5 MB of slots)."""

Similarity = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Jaccard similarities of pairs of documents, float64 [pairs], from two arrays of documents."""


def greedy(
    groups: Groups, count: int, fixed: np.ndarray, similarity: Similarity, jaccard: float
) -> tuple[np.ndarray, np.ndarray]:
    """Decide which documents stay.

    Args:
        groups: candidates, in the order of rank: a member with a lower number comes first.
        count: number of documents.
        fixed: documents that stay whatever they are like, bool [count]; in each group they come first.
        similarity: see ``Similarity``.
        jaccard: least similarity of a near copy.

    Returns:
        ``(original, similarity)``: the first document that stays and that each is like, or the document itself,
        int64 [count]; and how like, 1.0 for itself, float64 [count].
    """
    groups = _once(groups)
    gone = np.zeros(count, dtype=bool)
    members, sizes = groups.members.astype(np.int64), groups.sizes.astype(np.int64)
    compared = np.zeros(len(sizes), dtype=np.int64)
    while len(sizes):
        starts = np.cumsum(sizes) - sizes
        leaders = members[starts]
        leads = np.bincount(leaders, minlength=count)
        free = (leads == np.bincount(members, minlength=count)) | fixed
        chosen = free[leaders]
        entries = np.repeat(chosen, sizes)
        entries[starts] = False
        entries &= ~fixed[members]
        pairs = np.unique(np.repeat(leaders, sizes)[entries] * count + members[entries])
        for at in range(0, len(pairs), _PAIRS):
            first, second = np.divmod(pairs[at : at + _PAIRS], count)
            open_ = ~gone[second]
            first, second = first[open_], second[open_]
            gone[second[similarity(first, second) >= jaccard]] = True
            tick(pairs=len(first))
        compared += chosen
        stay = ~gone[members]
        stay[starts[chosen]] = False
        left = np.add.reduceat(stay, starts, dtype=np.int64)
        new = np.add.reduceat(stay & ~fixed[members], starts, dtype=np.int64)
        alive = (left > 1) & (new > 0) & (compared < COMPARED)
        members = members[stay & np.repeat(alive, sizes)]
        sizes, compared = left[alive], compared[alive]
    return _originals(groups, gone, similarity, jaccard)


def _once(groups: Groups) -> Groups:
    """Every group once: most groups are found in several bands."""
    if not len(groups.sizes):
        return groups
    mixed = (groups.members.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    hashes = np.add.reduceat(mixed, groups.starts) + groups.sizes
    _, first = np.unique(hashes, return_index=True)
    kept = np.zeros(len(groups.sizes), dtype=bool)
    kept[first] = True
    return Groups(groups.members[np.repeat(kept, groups.sizes)], groups.sizes[kept])


def _originals(
    groups: Groups, gone: np.ndarray, similarity: Similarity, jaccard: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each document that goes, the first one that stays and that it is like, of those it was compared with."""
    count = len(gone)
    original, how = np.arange(count), np.ones(count)
    members, sizes = groups.members.astype(np.int64), groups.sizes.astype(np.int64)
    if not gone.any():
        return original, how
    owner = np.repeat(np.arange(len(sizes)), sizes)
    stays = ~gone[members]
    # The number of a group's stayers up to each entry.
    nth = np.cumsum(stays)
    nth -= np.repeat((nth - stays)[groups.starts], sizes)
    original[gone] = count
    for number in range(1, COMPARED + 1):
        leads = np.flatnonzero(stays & (nth == number))
        if not len(leads):
            break
        leader = np.full(len(sizes), count)
        leader[owner[leads]] = members[leads]
        entries = ~stays & (nth >= number)
        first, second = leader[owner[entries]], members[entries]
        better = first < original[second]
        pairs = np.unique(first[better] * count + second[better])
        for at in range(0, len(pairs), _PAIRS):
            first, second = np.divmod(pairs[at : at + _PAIRS], count)
            better = first < original[second]
            first, second = first[better], second[better]
            found = similarity(first, second)
            hit = found >= jaccard
            # Pairs are in the order of the first: written backwards, the earliest stands last and stays.
            original[second[hit][::-1]] = first[hit][::-1]
            how[second[hit][::-1]] = found[hit][::-1]
            tick(pairs=len(first))
    assert (original < count).all()
    return original, how


def agreement(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Jaccard similarities estimated from slots of 8 bits, without bias; float64 [pairs].

    Args:
        one: uint8 [pairs, slots].
        other: uint8 [pairs, slots].
    """
    slots = one.shape[1]
    equal = (one == other).view(np.uint8)
    if slots % 8 == 0 and slots < 8 * 256:
        # Eight columns are added up at once, as the bytes of one word; no byte runs over.
        lanes = equal.view(np.uint64).sum(axis=1, dtype=np.uint64)
        same = lanes.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64)
    else:
        same = equal.sum(axis=1, dtype=np.int64)
    return (same / slots - CHANCE) / (1 - CHANCE)


class SlotFile:
    """Slots of candidates in one flat file, by position; read through a memory map that is let go of as it fills.

    Args:
        path: uint8 [positions, slots].
        slots: slots of a signature.
        first: position that document 0 of the caller stands at.
    """

    def __init__(self, path: Path, slots: int, first: int = 0) -> None:
        self.rows = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, slots)
        self.first = first
        self.touched = 0

    def similarity(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """See ``Similarity``."""
        found = agreement(self.rows[one + self.first], self.rows[other + self.first])
        self.touched += 2 * len(one)
        if self.touched > 8 * _PAIRS:
            self.rows._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
            self.touched = 0
        return found


class SetFile:
    """5-grams of candidates in one flat file, those of a document sorted and each once, by position.

    Args:
        path: raw uint32; beside it ``<path>.npy`` with the first and the last number of each position, int64.
        first: position that document 0 of the caller stands at.
    """

    def __init__(self, path: Path, first: int = 0) -> None:
        self.values = np.memmap(path, dtype=np.uint32, mode="r")
        self.bounds = np.load(path.with_name(path.name + ".npy"), mmap_mode="r")
        self.first = first

    def similarity(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """See ``Similarity``; counted, not estimated."""
        return np.array([self._jaccard(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True)])

    def _jaccard(self, one: int, other: int) -> float:
        a, b = (self.values[slice(*self.bounds[number + self.first])] for number in (one, other))
        shared = len(np.intersect1d(a, b, assume_unique=True))
        return shared / (len(a) + len(b) - shared)


def verified(estimate: Similarity, count: Similarity, jaccard: float, slots: int) -> Similarity:
    """Similarities that are counted where the estimate comes within four standard deviations of ``jaccard``."""
    least = jaccard - 4 * (0.25 / slots) ** 0.5

    def similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        found = estimate(one, other)
        near = found >= least
        found[near] = count(one[near], other[near])
        return found

    return similarity


@dataclass(frozen=True)
class JudgeTask:
    """What a worker needs to decide over some families.

    Attributes:
        groups: their groups, a file of members and one of sizes, raw uint32, by position.
        sizes: see ``groups``.
        first: their first position.
        last: the position after their last.
        fixed: which documents belong to earlier corpora, by position; a file of bool.
        slots: file of slots by position.
        num_slots: slots of a signature.
        jaccard: least similarity of a near copy.
        judged: where the decisions go.
        sets: file of 5-grams by position, to verify with; None: the slots decide.
    """

    groups: Path
    sizes: Path
    first: int
    last: int
    fixed: Path
    slots: Path
    num_slots: int
    jaccard: float
    judged: Path
    sets: Path | None = None

    def __str__(self) -> str:
        return f"documents {self.first} to {self.last - 1} of {self.slots}"


def judge(task: JudgeTask) -> None:
    """Decide over some families, unless that is done already."""
    if task.judged.exists():
        return
    members = np.fromfile(task.groups, dtype=np.uint32) - np.uint32(task.first)
    groups = Groups(members, np.fromfile(task.sizes, dtype=np.uint32))
    fixed = np.load(task.fixed, mmap_mode="r")[task.first : task.last].astype(bool)
    similarity = SlotFile(task.slots, task.num_slots, task.first).similarity
    if task.sets:
        similarity = verified(similarity, SetFile(task.sets, task.first).similarity, task.jaccard, task.num_slots)
    original, how = greedy(groups, task.last - task.first, fixed, similarity, task.jaccard)
    with atomic(task.judged, "wb") as handle:
        np.savez(handle, original=(original + task.first).astype(np.uint32), similarity=how.astype(np.float32))
