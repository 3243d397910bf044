"""Threads that fetch side by side: results in order, the first failure ends all, progress told while they work."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

from shikomi.corpus.fetch.download import full_disk_told
from shikomi.corpus.fetch.pace import Pace, Stopped
from shikomi.io import PARTIAL_SUFFIX, atomic, dumps
from shikomi.log import Progress
from shikomi.units import format_bytes, format_count

_TICK_SECONDS = 0.5

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def crew(pace: Pace, connections: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are called off, wherever they wait, once the body fails or is interrupted."""
    pool = ThreadPoolExecutor(connections, thread_name_prefix="fetch")
    try:
        yield pool
    except BaseException:
        pace.stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
    tick: Callable[[], None],
) -> Iterator[Result]:
    """Yield ``work(item)`` in the order of the items, at most ``ahead`` of them under way or waiting for their turn.

    Raises:
        Exception: the first that any of the work under way raises.
    """
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield _next(waiting, tick)
    while waiting:
        yield _next(waiting, tick)


def _next(waiting: deque[Future[Result]], tick: Callable[[], None]) -> Result:
    while not waiting[0].done():
        unfinished = [each for each in waiting if not each.done()]
        wait(unfinished, timeout=_TICK_SECONDS, return_when=FIRST_COMPLETED)
        tick()
        for each in waiting:
            error = each.exception() if each.done() else None
            if error and not isinstance(error, Stopped):
                raise error
    return waiting.popleft().result()


class Told:
    """Counts what is done and tells it, with the speed of the line and the waits that the server asked for."""

    def __init__(self, pace: Pace, progress: Progress) -> None:
        self._pace = pace
        self._progress = progress
        self._done, self._total, self._unit = 0, 1, "files"
        self._since, self._bytes_before = time.monotonic(), 0

    def total(self, done: int, total: int, unit: str) -> None:
        """A new count begins."""
        self._done, self._total, self._unit = done, total, unit
        self._since, self._bytes_before = time.monotonic(), self._pace.bytes
        self.tick()

    def add(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        self.tick()

    def tick(self) -> None:
        """Say how it stands."""
        seconds = max(time.monotonic() - self._since, 0.1)
        note = f"{format_bytes((self._pace.bytes - self._bytes_before) / seconds)}/s"
        if self._pace.waits:
            note += f", {format_count(self._pace.waits)} waits"
        self._progress(self._done, self._total, self._unit, note)


class Rows:
    """A journal of JSON lines that several threads add to; a line cut by a kill is as if it had not been written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def read(self) -> Iterator[dict[str, Any]]:
        """The rows so far, up to the first that is cut."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    yield json.loads(line.decode("utf-8"))
                except ValueError:
                    return

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        with self._lock, full_disk_told(self.path), open(self.path, "ab") as file:
            file.write((dumps(row) + "\n").encode("utf-8"))

    def replace(self, rows: list[dict[str, Any]]) -> None:
        """Put these rows in the place of all."""
        partial = self.path.with_name(self.path.name + PARTIAL_SUFFIX)
        with full_disk_told(self.path):
            partial.write_text("".join(dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
            os.replace(partial, self.path)


def write_ledger(out: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write ``fetch.jsonl``; what only served going on stays out of it."""
    with full_disk_told(out), atomic(out / "fetch.jsonl") as file:
        for row in rows:
            file.write(dumps({name: value for name, value in row.items() if name not in ("name", "end")}) + "\n")
