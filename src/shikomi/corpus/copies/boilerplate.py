"""Lines that many documents of a host share: menus, notices and author boxes that single pages cannot tell from text.

Only such lines at the head and the foot of a text are taken off, up to the first line of its own: in the middle what
recurs is text (on real pages: the closing formulas of laws, headings, lines of code). Lines of fewer than four kana
and kanji are never counted.

Two passes over kept documents. The first counts, shard by shard, in how many documents of its host each line occurs;
what is kept of a line is 64 bits. Counts are then added up over all shards, one range of hosts at a time, and the lines
that reach the recipe's limits become one sorted table, with which the second pass takes them off.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from shikomi.compute.pool import tick
from shikomi.corpus.copies.found import load_found
from shikomi.data.document import KEPT
from shikomi.io import atomic
from shikomi.recipe.copies import CopiesPage

LINE = np.dtype([("host", "<u8"), ("line", "<u8"), ("documents", "<u4")])
"""A line of a host and in how many of its documents it occurs; ``line`` is a hash of both."""
HOST = np.dtype([("host", "<u8"), ("documents", "<u4")])
_LEAST = re.compile("(?:[ぁ-ゖァ-ヺ々〇〻㐀-鿿豈-﫿].*?){4}")
_BATCH = 256
_WAITING = 1 << 20
_MEMORY_BYTES = 96 << 20
_BYTES_A_LINE = 80
"""Memory of one line while counts are added up (measured: the row, its sort and what becomes of it)."""


@dataclass(frozen=True)
class CountTask:
    """What a worker needs to count the lines of one shard.

    Attributes:
        pages: a shard of the pages stage.
        decided: the decisions on it, a Parquet file with a column ``verdict``.
        found: what the search for copies found in it; None: nothing was searched.
        counted: folder for the counts, ``<shard>.lines.npy`` and ``<shard>.hosts.npy``.
    """

    pages: Path
    decided: Path
    found: Path | None
    counted: Path

    def __str__(self) -> str:
        return str(self.pages)


def count_lines(task: CountTask) -> None:
    """Count in how many kept documents of its host each line of a shard occurs; those without a host are left out."""
    kept = _kept(task)
    lines, hosts = np.zeros(0, dtype=LINE), np.zeros(0, dtype=HOST)
    waiting: list[bytes] = []
    some_hosts: list[int] = []
    at = 0
    file = parquet.ParquetFile(task.pages)
    for batch in file.iter_batches(_BATCH, columns=["host", "text"], use_threads=False):
        names, texts = batch["host"].to_pylist(), batch["text"].to_pylist()
        for row in np.flatnonzero(kept[at : at + len(names)]).tolist():
            if names[row]:
                host = host_key(names[row])
                some_hosts.append(host)
                first = host.to_bytes(8, "little")
                waiting += [first + digest for digest in {_digest(names[row], line) for line in _lines(texts[row])}]
        at += len(names)
        tick(pages=len(names))
        if len(waiting) >= _WAITING:
            lines, waiting = _added(lines, _as_lines(waiting)), []
            hosts, some_hosts = _added(hosts, _as_hosts(some_hosts)), []
    _save(task, "lines", _added(lines, _as_lines(waiting)))
    _save(task, "hosts", _added(hosts, _as_hosts(some_hosts)))


def _kept(task: CountTask) -> np.ndarray:
    """Which documents of a shard are kept so far; bool [documents]."""
    verdicts = parquet.read_table(task.decided, columns=["verdict"], use_threads=False)["verdict"]
    kept = np.array([verdict == KEPT for verdict in verdicts.to_pylist()], dtype=bool)
    if task.found:
        found = load_found(task.found)
        kept[found.rows[found.is_copy]] = False
    return kept


def _lines(text: str) -> Iterator[str]:
    return (line for part in text.split("\n") if _LEAST.search(line := part.strip()))


def host_key(host: str) -> int:
    """64 bits of a host's name."""
    return int.from_bytes(hashlib.blake2b(host.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _digest(host: str, line: str) -> bytes:
    return hashlib.blake2b(f"{host}\n{line}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _as_lines(pairs: list[bytes]) -> np.ndarray:
    numbers = np.frombuffer(b"".join(pairs), dtype="<u8").reshape(-1, 2)
    lines = np.ones(len(numbers), dtype=LINE)
    lines["host"], lines["line"] = numbers[:, 0], numbers[:, 1]
    return lines


def _as_hosts(keys: list[int]) -> np.ndarray:
    hosts = np.ones(len(keys), dtype=HOST)
    hosts["host"] = np.array(keys, dtype=np.uint64)
    return hosts


def _added(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Counts of both, sorted by host (and line), equal ones added up."""
    both = np.concatenate([one, other])
    if not len(both):
        return both
    keys = [name for name in both.dtype.names or () if name != "documents"]
    both = both[np.lexsort([both[name] for name in reversed(keys)])]
    first = np.ones(len(both), dtype=bool)
    first[1:] = np.logical_or.reduce([both[name][1:] != both[name][:-1] for name in keys])
    starts = np.flatnonzero(first)
    added = both[starts]
    added["documents"] = np.add.reduceat(both["documents"], starts)
    return added


def _save(task: CountTask, kind: str, counts: np.ndarray) -> None:
    with atomic(task.counted / f"{task.pages.stem}.{kind}.npy", "wb") as handle:
        np.save(handle, counts)


def find_boilerplate(
    counted: Path, page: CopiesPage, table: Path, *, memory_bytes: int = _MEMORY_BYTES
) -> dict[str, Any]:
    """Add up the counts of all shards and write the lines that are boilerplate.

    Args:
        counted: folder of counts.
        page: the recipe's page of copies; ``boilerplate_documents`` and ``boilerplate_share`` count.
        table: where the table goes: hashes in ascending order, uint64, as ``.npy``.
        memory_bytes: budget; the table does not depend on it.

    Returns:
        Facts: ``hosts`` counted, ``hosts_with_boilerplate``, ``lines`` of boilerplate.
    """
    hosts = np.zeros(0, dtype=HOST)
    for path in sorted(counted.glob("*.hosts.npy")):
        hosts = _added(hosts, np.load(path))
    least = np.maximum(page.boilerplate_documents, np.ceil(page.boilerplate_share * hosts["documents"] - 1e-9))
    paths = sorted(counted.glob("*.lines.npy"))
    total = sum(np.load(path, mmap_mode="r").shape[0] for path in paths)
    found = [np.zeros(0, dtype=np.uint64)]
    concerned = 0
    for low, high in _ranges(max(1, -(-total * _BYTES_A_LINE // memory_bytes))):
        lines = np.zeros(0, dtype=LINE)
        parts = []
        for path in paths:
            counts = np.load(path, mmap_mode="r")
            begin = np.searchsorted(counts["host"], low)
            end = len(counts) if high is None else np.searchsorted(counts["host"], high)
            parts.append(counts[begin:end])
            tick(lines=end - begin)
        lines = _added(lines, np.concatenate(parts)) if parts else lines
        often = lines[lines["documents"] >= least[np.searchsorted(hosts["host"], lines["host"])]]
        found.append(often["line"])
        concerned += len(np.unique(often["host"]))
    keys = np.unique(np.concatenate(found))
    with atomic(table, "wb") as handle:
        np.save(handle, keys)
    return {"hosts": len(hosts), "hosts_with_boilerplate": concerned, "lines": len(keys)}


def _ranges(parts: int) -> list[tuple[Any, Any]]:
    """First key and key after the last of ranges of hosts; the last range has no end."""
    edges = [np.uint64((number << 64) // parts) for number in range(parts)]
    return list(zip(edges, [*edges[1:], None], strict=True))


@dataclass(frozen=True)
class Stripped:
    """A text without its boilerplate; how many lines and characters went."""

    text: str
    lines: int
    characters: int


class Boilerplate:
    """Takes boilerplate off texts; travels between processes as the path of its table.

    Args:
        table: written by ``find_boilerplate``.
    """

    def __init__(self, table: Path) -> None:
        self.table = table
        self._keys: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"table": self.table, "_keys": None}

    def strip(self, host: str, text: str) -> Stripped:
        """Take the lines off its head and foot that many documents of the host share, and blank lines there."""
        keys = self._keys
        if keys is None:
            keys = self._keys = np.load(self.table, mmap_mode="r")
        if not host or not len(keys):
            return Stripped(text, 0, 0)
        lines = text.split("\n")
        first, last = 0, len(lines)
        while first < last and self._is_boilerplate(keys, host, lines[first]):
            first += 1
        while last > first and self._is_boilerplate(keys, host, lines[last - 1]):
            last -= 1
        if last - first == len(lines):
            return Stripped(text, 0, 0)
        kept = "\n".join(lines[first:last]).strip("\n")
        return Stripped(kept, len(lines) - (last - first), len(text) - len(kept))

    def _is_boilerplate(self, keys: np.ndarray, host: str, line: str) -> bool:
        line = line.strip()
        if not line:
            return True
        key = np.uint64(int.from_bytes(_digest(host, line), "little"))
        place = int(np.searchsorted(keys, key))
        return place < len(keys) and bool(keys[place] == key)
