"""Pages that hang, eat memory or kill what reads them: the worker is ended, the shard tried again, the page put aside.

A worker marks the record it is at in a small file beside the shard, shared memory that outlives it. When a page takes
too long, a thread in C ends the process: it needs no interpreter lock, so code that never gives the lock back is ended
too. When a page takes too much memory, the system refuses it. Either way the parent finds the mark and counts a strike
against the record; with two strikes it is not read again but becomes a row: dropped, ``quarantined``, with its URL.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import mmap
import os
import resource
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from shikomi.compute.pool import Limits, limits
from shikomi.corpus.text.crawl import Record
from shikomi.errors import DataError
from shikomi.io import PARTIAL_SUFFIX, read_json, write_json

QUARANTINED = "quarantined"
"""The reason of a page that was put aside."""
STRIKES = 2
"""Workers a page may end before it is put aside: the first may have been the machine's fault."""
READING_STRIKES = 4
"""Workers that may end at a record, though it is put aside, before the file is read no further: reading it kills."""
MAX_POISONED = 100
"""Pages put aside in one file, above which it is no page's fault."""

_MARK = struct.Struct("<q32sd")
"""The number of the record a worker is at (-1: at none), its shard's fingerprint, the seconds a page may take."""
_NUMBER = struct.Struct("<q")
_TIME, _END = "time", "end"
_UNREADABLE = "reading this record ends its worker; the file is read no further"


class Watch:
    """Around the loop over a shard's records: marks each, ends this worker when one takes too much.

    In a process that is no pool's worker it puts aside what earlier workers died of, but ends nothing.

    Args:
        shard: the file that is made; what the watch keeps lies beside it, and goes when the loop has ended well.
        fingerprint: of what the shard is made from: strikes against other contents do not count.

    Attributes:
        quarantined: what was put aside: ``record`` (number in the file, from 0), ``url`` and ``why``.
    """

    def __init__(self, shard: Path, fingerprint: str = "") -> None:
        self.shard = shard
        self.fingerprint = fingerprint
        self.limits = limits()
        self.quarantined: list[dict[str, Any]] = []

    def __enter__(self) -> Watch:
        self.strikes = _read_strikes(self.shard, self.fingerprint)
        self.mark: mmap.mmap | None = None
        self.due = float("inf")
        if self.limits:
            self._guard(self.limits)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.limits:
            self._unguard()
        if kind is None:
            _beside(self.shard, ".strikes").unlink(missing_ok=True)

    def over(self, records: Iterator[Record]) -> Iterator[Record]:
        """The records, each marked while it is read and worked on; one put aside has ``problem`` set, for its row."""
        for number in itertools.count():
            self.number = number
            self._at(number)
            strikes = self.strikes.get(number, [])
            if len(strikes) >= READING_STRIKES:
                yield self._put_aside(Record("", "", 0, "", b"", 0), number, _UNREADABLE)
                break
            record = next(records, None)
            if record is None:
                break
            yield self._put_aside(record, number, self._why(strikes)) if len(strikes) >= STRIKES else record
        self._at(-1)

    def out_of_memory(self, record: Record) -> Record:
        """What stands for a record whose page raised ``MemoryError``: put aside at once, for it would do so again."""
        return self._put_aside(record, self.number, "more memory than a page may take")

    def _put_aside(self, record: Record, number: int, why: str) -> Record:
        self.quarantined.append({"record": number, "url": record.url, "why": why})
        return replace(record, problem=QUARANTINED, detail=why)

    def _why(self, strikes: list[str]) -> str:
        late = [strike.partition(" ")[2] for strike in strikes if strike.startswith(_TIME)]
        return f"not done in {late[-1]} s" if late else "ended its worker (memory, or a fault in a library)"

    def _at(self, number: int) -> None:
        if self.mark is None:
            return
        _NUMBER.pack_into(self.mark, 0, number)
        now = time.monotonic()
        if now >= self.due and self.limits:
            # Arming starts a thread (0.1 ms): once a second at most, so a page has up to a second more than its time.
            faulthandler.dump_traceback_later(self.limits.seconds, exit=True, file=self.trace)
            self.due = now + min(1.0, self.limits.seconds / 10)

    def _guard(self, allowed: Limits) -> None:
        if "pyarrow" in sys.modules:
            # Arrow's own allocator keeps what it once had (measured on real pages: 146 MB at most against 126 MB), and
            # reserves a gigabyte at a time, which the limit below would count.
            pyarrow = sys.modules["pyarrow"]
            pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        path = _beside(self.shard, ".mark")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a worker on a lost node may still live: it marks a file nobody sees
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            # Written, not only stretched: a full disk says so here, instead of killing whoever touches the memory.
            os.write(file, _MARK.pack(-1, _key(self.fingerprint), allowed.seconds))
            self.mark = mmap.mmap(file, _MARK.size)
        finally:
            os.close(file)
        # Where each thread was when the time was up: for people, and the sign that it was.
        self.trace: IO[str] = open(_beside(self.shard, ".trace"), "w")  # noqa: SIM115 - closed in _unguard
        self.due = 0.0
        self.memory = _limit_memory(allowed.memory_bytes)

    def _unguard(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        resource.setrlimit(resource.RLIMIT_DATA, self.memory)
        assert self.mark is not None
        self.mark.close()
        self.trace.close()
        for suffix in (".mark", ".trace"):
            _beside(self.shard, suffix).unlink(missing_ok=True)


def strike(shard: Path) -> bool:
    """Called in the parent when the worker that made a shard has died: count it against the record it was at.

    Returns:
        Whether it was at a record and the shard shall be tried again; the strikes are kept beside it.
    """
    try:
        number, key, seconds = _MARK.unpack(_beside(shard, ".mark").read_bytes())
    except (OSError, struct.error):
        return False
    if number < 0:
        return False
    trace = _beside(shard, ".trace")
    late = trace.exists() and trace.stat().st_size > 0
    for suffix in (".mark", ".trace"):  # a worker that dies before it marks anything is not this record's doing
        _beside(shard, suffix).unlink(missing_ok=True)
    strikes = _read_strikes(shard, key)
    strikes.setdefault(number, []).append(f"{_TIME} {seconds:g}" if late else _END)
    write_json(_beside(shard, ".strikes"), {"of": key.hex(), "strikes": {str(n): s for n, s in strikes.items()}})
    poisoned = sum(len(found) >= STRIKES for found in strikes.values())
    return poisoned <= MAX_POISONED and len(strikes[number]) <= READING_STRIKES


def _read_strikes(shard: Path, fingerprint: str | bytes) -> dict[int, list[str]]:
    key = fingerprint if isinstance(fingerprint, bytes) else _key(fingerprint)
    try:
        found = read_json(_beside(shard, ".strikes"))
    except DataError:
        return {}
    return {int(number): list(kinds) for number, kinds in found["strikes"].items()} if found["of"] == key.hex() else {}


def _key(fingerprint: str) -> bytes:
    return fingerprint.encode()[:32].ljust(32, b"\0")


def _beside(shard: Path, suffix: str) -> Path:
    return shard.with_name(shard.name + suffix + PARTIAL_SUFFIX)  # what is left of it is no part of a finished stage


def _limit_memory(more_bytes: int) -> tuple[int, int]:
    """Let this process take so much more private memory than it holds, where the system can; returns the old limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(OSError, ValueError, StopIteration):
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        held = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
        wanted = held + more_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if soft < 0 else min(soft, wanted), hard))
    return soft, hard
