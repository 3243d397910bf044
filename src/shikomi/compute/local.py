"""Work on this machine: one function over many items, in this process or in several, with the same results.

A worker is a fresh process (spawn) that holds one item at a time, so that when it dies, the item is known: it is tried
once more on a fresh worker, and a second death is an error that names it. Results come back in the order of the items.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from shikomi.compute.pool import TICK_SECONDS, Crew, Item, Limits, OnDeath, OnTick, Result, Ticker, listening
from shikomi.errors import ShikomiError


class LocalPool:
    """Runs a function over items on ``workers`` processes of this machine; see ``compute.pool.Pool``.

    Args:
        workers: processes to use, at least 1.
        attempts: how often an item is tried when its worker dies (an exception is not a death: it is final).
        limits: what a page may take in a worker process.
        apart: use a process of its own for one worker too; otherwise one worker is this process, which is not ended
            whatever a page takes.
    """

    def __init__(
        self, workers: int = 1, *, attempts: int = 2, limits: Limits | None = None, apart: bool = False
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, found {workers}")
        self.workers = workers
        self.attempts = attempts
        self.limits = limits or Limits()
        self.apart = apart

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_tick: OnTick | None = None,
        on_death: OnDeath | None = None,
    ) -> Iterator[Result]:
        """See ``compute.pool.Pool.map``."""
        if self.workers == 1 and not self.apart:
            return _here(function, items, on_tick)
        return _LocalCrew(self, function, items, on_tick, on_death).results()


def end_with_parent() -> None:
    """Called in a worker process as it starts: from now on it ends when its parent does, however that ended.

    A worker that outlives a killed parent would go on writing into the files of the next attempt, or wait for work
    for ever. In a process that has no parent of its own kind it does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), name="end-with-parent", daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _here(function: Callable[[Item], Result], items: Iterable[Item], on_tick: OnTick | None) -> Iterator[Result]:
    ticker = Ticker(on_tick) if on_tick else None
    for item in items:
        with listening(ticker.add if ticker else None):
            result = function(item)
        if ticker:
            ticker.flush()
        yield result


def _serve(function: Callable[[Any], Any], allowed: Limits, pipe: Connection) -> None:
    """A worker's life: take an item, send ticks and then its result or its exception, until told to stop."""
    end_with_parent()
    ticker = Ticker(lambda counts: pipe.send(("tick", counts)))
    with listening(ticker.add, allowed):
        while True:
            try:
                message = pipe.recv()
            except (EOFError, OSError, KeyboardInterrupt):
                return
            if message is None:
                return
            try:
                answer = ("result", function(message[0]))
            except Exception as error:
                answer = ("error", error)
            ticker.flush()
            try:
                pipe.send(answer)
            except (BrokenPipeError, OSError):
                return
            except Exception as error:  # an answer that cannot be sent home is told as an error
                what = f"a worker's answer cannot be sent back: {error}"
                pipe.send(("error", ShikomiError(what, where=repr(answer[1]))))


class _Worker:
    """One process and what it is working on (an index into the items, or None)."""

    def __init__(self, function: Callable[[Any], Any], allowed: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, allowed, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.index: int | None = None

    def stop(self) -> None:
        if self.index is None and self.process.is_alive():
            try:
                self.pipe.send(None)
            except OSError:
                pass
            else:
                self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()
        self.pipe.close()


class _LocalCrew(Crew):
    """Workers that are processes of this machine."""

    def __init__(
        self, pool: LocalPool, function: Any, items: Iterable, on_tick: OnTick | None, on_death: OnDeath | None
    ) -> None:
        super().__init__(items, pool.workers, pool.attempts, on_tick, on_death)
        self.function, self.allowed = function, pool.limits
        self.workers: list[_Worker] = []

    def start(self) -> None:
        for _ in range(self.size):
            self.workers.append(_Worker(self.function, self.allowed))

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()

    def give(self) -> bool:
        worker = next((worker for worker in self.workers if worker.index is None), None)
        if worker is None:
            return False
        worker.index = self.take()
        with contextlib.suppress(OSError):  # dead already: listen sees the closed pipe and tries again
            worker.pipe.send((self.items[worker.index],))
        return True

    def listen(self) -> None:
        busy = {worker.pipe: worker for worker in self.workers if worker.index is not None}
        for pipe in wait(list(busy), timeout=TICK_SECONDS):
            worker = busy[pipe]  # type: ignore[index]
            assert worker.index is not None
            try:
                kind, value = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker, worker.index)
                continue
            if kind == "tick":
                self.hear(worker.index, value)
            elif kind == "error":
                worker.index = None
                raise value
            else:
                self.finish(worker.index, value)
                worker.index = None

    def _bury(self, worker: _Worker, index: int) -> None:
        """Replace a worker that died."""
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        worker.stop()
        self.workers.remove(worker)
        self.died(index, f"signal {-code}" if code is not None and code < 0 else f"exit code {code}")
        self.workers.append(_Worker(self.function, self.allowed))
