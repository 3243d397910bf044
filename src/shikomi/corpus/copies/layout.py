"""Where a search for copies works, and how candidates are laid out: by family, so that families are decided apart."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from shikomi.compute.local import LocalPool
from shikomi.compute.pool import Pool, tick
from shikomi.corpus.copies.bands import families, load_each
from shikomi.corpus.copies.clusters import JudgeTask
from shikomi.corpus.copies.signatures import read_column
from shikomi.io import atomic, read_json, write_json
from shikomi.log import Progress
from shikomi.recipe.copies import CopiesPage

BYTES_A_CANDIDATE = 4000
"""Memory of one candidate while its family is decided (measured: its groups in 40 bands, and pairs)."""


@dataclass(frozen=True)
class Search:
    """One search: what is read and where it is worked on.

    Attributes:
        signed: signed shards, those of earlier corpora first.
        num_earlier: how many of them are.
        counts: documents of each.
        page: the recipe's page of copies.
        folder: for what is worked on; files in it are whole.
        memory_bytes: budget of a worker's buffers.
        pool: where tasks run.
        progress: told the steps.
    """

    signed: list[Path]
    num_earlier: int
    counts: list[int]
    page: CopiesPage
    folder: Path
    memory_bytes: int
    pool: Pool
    progress: Progress

    @property
    def documents(self) -> int:
        """Documents, those of earlier corpora included."""
        return sum(self.counts)

    def by_rank(self, ranks: np.ndarray, name: str) -> np.ndarray:
        """A column of the signed shards, by rank; uint64 [documents].

        Args:
            ranks: the rank of every document.
            name: of the column.
        """
        values = np.empty(self.documents, dtype=np.uint64)
        at = 0
        for path in self.signed:
            column = read_column(path, name)
            values[ranks[at : at + len(column)]] = column
            at += len(column)
        return values

    @property
    def num_fixed(self) -> int:
        """Documents of earlier corpora; they have the lowest ranks."""
        return sum(self.counts[: self.num_earlier])

    def all(self, function: Callable[[Any], Any], tasks: list, note: str) -> None:
        """Run all tasks, telling how many are done."""
        done = 0

        def told(_: dict[str, float]) -> None:
            self.progress(done, len(tasks), "tasks", note)

        for _ in self.pool.map(function, tasks, on_tick=told):
            done += 1
            told({})

    def array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array of the scratch folder, made if it is not there; mapped, not read."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            made = make()
            with atomic(path, "wb") as handle:
                np.save(handle, made)
            del made
        return np.load(path, mmap_mode="r")


@dataclass(frozen=True)
class Plan:
    """Candidates laid out by position: families one after the other, in a family by rank.

    Attributes:
        folder: of the files.
        bounds: positions where the tasks start, and the end.
    """

    folder: Path
    bounds: list[int]

    @property
    def rank_of(self) -> Path:
        """File of the rank at each position; uint32 [positions]."""
        return self.folder / "rank_of.npy"

    @property
    def sets(self) -> Path:
        """File of the 5-grams of the candidates, if texts are to be compared."""
        return self.folder / "sets"

    def groups(self, number: int) -> tuple[Path, Path]:
        """Files of a task's groups, members and sizes, raw uint32."""
        return self.folder / f"{number:06d}.members", self.folder / f"{number:06d}.sizes"


def lay_out(search: Search, groups: list[Path]) -> Plan:
    """Lay out the candidates of all groups, unless that is done already.

    Args:
        search: the search.
        groups: files of groups by rank.
    """
    a_task = max(1, search.memory_bytes // BYTES_A_CANDIDATE)
    plan = Plan(search.folder / f"layout-{a_task}", [])
    done = plan.folder / "bounds.json"
    if done.exists():
        return Plan(plan.folder, read_json(done))
    shutil.rmtree(plan.folder, ignore_errors=True)
    plan.folder.mkdir()
    bounds = _positions(search, plan, groups, a_task)
    plan = Plan(plan.folder, bounds)
    if bounds[-1]:
        _gather(search, plan)
        if search.page.verify == "text":
            _gather_sets(search, plan)
        _scatter(plan, groups)
    write_json(done, bounds)
    return plan


def _positions(search: Search, plan: Plan, groups: list[Path], a_task: int) -> list[int]:
    """Order the candidates by family and rank; writes both ways between position and rank."""
    family = families(search.documents, groups)
    candidate = np.zeros(search.documents, dtype=bool)
    for some in load_each(groups):
        candidate[some.members] = True
    numbers = np.flatnonzero(candidate).astype(np.uint32)
    family = family[numbers]
    order = np.argsort(family, kind="stable")
    numbers, family = numbers[order], family[order]
    starts = np.flatnonzero(np.diff(family, prepend=np.uint32(0xFFFFFFFF)))
    position_of = np.full(search.documents, _NOWHERE, dtype=np.uint32)
    position_of[numbers] = np.arange(len(numbers), dtype=np.uint32)
    for name, array in (("rank_of", numbers), ("position_of", position_of), ("fixed", numbers < search.num_fixed)):
        np.save(plan.folder / f"{name}.npy", array)
    bounds = [0]
    while bounds[-1] < len(numbers):
        # As many whole families as fit; one that is too large for a task is a task of its own.
        end = int(np.searchsorted(starts, bounds[-1] + a_task, side="right")) - 1
        begin = int(np.searchsorted(starts, bounds[-1]))
        if bounds[-1] + a_task >= len(numbers):
            bounds.append(len(numbers))
        else:
            end = max(end, begin + 1)
            bounds.append(int(starts[end]) if end < len(starts) else len(numbers))
    return bounds


_NOWHERE = 0xFFFFFFFF
"""Position of a document that is no candidate."""


@dataclass(frozen=True)
class GatherTask:
    """What a worker needs to put the slots of one shard's candidates where they belong.

    Attributes:
        signed: a signed shard.
        first: number of its first document, in the order of the shards.
        ranks: file of ranks.
        position_of: file of positions by rank.
        slots: file of slots by position, of its full size already.
    """

    signed: Path
    first: int
    ranks: Path
    position_of: Path
    slots: Path

    def __str__(self) -> str:
        return str(self.signed)


def gather(task: GatherTask) -> None:
    """Put the slots of one shard's candidates where they belong."""
    ranks = np.load(task.ranks, mmap_mode="r")
    position_of = np.load(task.position_of, mmap_mode="r")
    file = parquet.ParquetFile(task.signed)
    at = task.first
    with open(task.slots, "r+b", buffering=0) as handle:
        for number in range(file.num_row_groups):
            count = file.metadata.row_group(number).num_rows
            positions = position_of[ranks[at : at + count]]
            at += count
            rows = np.flatnonzero(positions != _NOWHERE)
            if len(rows):
                column = file.read_row_group(number, columns=["slots"], use_threads=False)["slots"].combine_chunks()
                width = column.type.byte_width
                data = memoryview(column.buffers()[1])[column.offset * width :]
                for row in rows[np.argsort(positions[rows])].tolist():
                    os.pwrite(handle.fileno(), data[row * width : (row + 1) * width], int(positions[row]) * width)
            tick(documents=count)


def _gather(search: Search, plan: Plan) -> None:
    """All candidates' slots in one file, by position."""
    slots = plan.folder / "slots"
    with open(slots, "wb") as handle:
        handle.truncate(plan.bounds[-1] * search.page.slots)
    first, tasks = 0, []
    for path, count in zip(search.signed, search.counts, strict=True):
        tasks.append(GatherTask(path, first, search.folder / "ranks.npy", plan.folder / "position_of.npy", slots))
        first += count
    # One file written from several machines at once is not safe on every shared file system.
    here = search if isinstance(search.pool, LocalPool) else replace(search, pool=LocalPool(1))
    here.all(gather, tasks, "signatures of candidates")


def _gather_sets(search: Search, plan: Plan) -> None:
    """All candidates' 5-grams in one file, as the shards have them, with where each position's are."""
    ranks = np.load(search.folder / "ranks.npy", mmap_mode="r")
    position_of = np.load(plan.folder / "position_of.npy", mmap_mode="r")
    places = np.zeros((plan.bounds[-1], 2), dtype=np.int64)
    at, written = 0, 0
    with open(plan.sets, "wb") as handle:
        for path, count in zip(search.signed, search.counts, strict=True):
            positions = position_of[ranks[at : at + count]]
            at += count
            column = parquet.ParquetFile(path).read(["shingles"], use_threads=False)["shingles"]
            rows = np.flatnonzero(positions != _NOWHERE)
            chosen = column.take(rows)
            lengths = np.asarray([len(values) for values in chosen], dtype=np.int64)
            ends = written + np.cumsum(lengths)
            places[positions[rows]] = np.stack([ends - lengths, ends], axis=1)
            written += int(lengths.sum())
            for chunk in chosen.chunks:
                np.ascontiguousarray(chunk.flatten().to_numpy()).tofile(handle)
    np.save(plan.sets.with_name(plan.sets.name + ".npy"), places)


def _scatter(plan: Plan, groups: list[Path]) -> None:
    """Each group to the task of its family, by position."""
    position_of = np.load(plan.folder / "position_of.npy", mmap_mode="r")
    starts = np.array(plan.bounds[:-1], dtype=np.int64)
    for number in range(len(starts)):
        for path in plan.groups(number):
            path.touch()
    for some in load_each(groups):
        if not len(some.sizes):
            continue
        positions = position_of[some.members]
        task = np.searchsorted(starts, positions[some.starts], side="right") - 1
        order = np.argsort(task, kind="stable")
        sizes = some.sizes[order]
        # Members in the new order of their groups.
        ends = np.cumsum(sizes, dtype=np.int64)
        index = np.arange(ends[-1]) + np.repeat(some.starts[order] - (ends - sizes), sizes)
        positions = positions[index]
        task = task[order]
        firsts = np.flatnonzero(np.diff(task, prepend=-1))
        for first, last in zip(firsts, [*firsts[1:], len(task)], strict=True):
            members, lengths = plan.groups(int(task[first]))
            begin, end = int(ends[first] - sizes[first]), int(ends[last - 1])
            with open(members, "ab") as handle:
                positions[begin:end].astype(np.uint32).tofile(handle)
            with open(lengths, "ab") as handle:
                sizes[first:last].astype(np.uint32).tofile(handle)


def judge_tasks(search: Search, plan: Plan) -> list[JudgeTask]:
    """The tasks that decide over the families of a plan."""
    return [
        JudgeTask(
            *plan.groups(number),
            first,
            last,
            plan.folder / "fixed.npy",
            plan.folder / "slots",
            search.page.slots,
            search.page.jaccard,
            plan.folder / f"{number:06d}.judged.npz",
            plan.sets if search.page.verify == "text" else None,
        )
        for number, (first, last) in enumerate(zip(plan.bounds, plan.bounds[1:], strict=False))
    ]
