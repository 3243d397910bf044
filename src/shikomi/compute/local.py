"""Work on this machine: one function over many items, in this process or in several, with the same results.

A worker is a fresh process (spawn) that holds one item at a time, so that when it dies, the item is known: it is tried
once more on a fresh worker, and a second death is an error that names it. Results come back in the order of the items.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from shikomi.errors import ShikomiError

Item = TypeVar("Item")
Result = TypeVar("Result")

TICK_SECONDS = 0.5
"""Longest time between two calls of ``on_tick``; progress is due once a second."""

_listener: Callable[[dict[str, float]], None] | None = None


def tick(**counts: float) -> None:
    """Tell, from inside the function a pool runs, how much was done since the last call (for example ``bytes=4096``).

    Outside a pool it does nothing.
    """
    if _listener is not None:
        _listener(counts)


class Pool:
    """Runs a function over items on ``workers`` processes; one worker means this process.

    Args:
        workers: processes to use, at least 1.
        attempts: how often an item is tried when its worker dies (an exception is not a death: it is final).
    """

    def __init__(self, workers: int = 1, *, attempts: int = 2) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, found {workers}")
        self.workers = workers
        self.attempts = attempts

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_tick: Callable[[dict[str, float]], None] | None = None,
    ) -> Iterator[Result]:
        """Yield ``function(item)`` for each item, in the order of the items, whatever the number of workers.

        Args:
            function: importable by name, as are its items and results (they travel between processes).
            items: what to work on.
            on_tick: called about twice a second with what ``tick`` reported meanwhile, summed by name.

        Raises:
            ShikomiError: a worker died on the same item as often as ``attempts`` allows; the item is named.
        """
        if self.workers == 1:
            return _here(function, items, on_tick)
        return _Crew(self, function, list(items), on_tick).results()


class _Ticker:
    """Sums what ``tick`` tells and passes it on at most every ``TICK_SECONDS``."""

    def __init__(self, send: Callable[[dict[str, float]], None]) -> None:
        self.send = send
        self.counts: dict[str, float] = {}
        self.due = time.monotonic() + TICK_SECONDS

    def add(self, counts: dict[str, float]) -> None:
        for name, value in counts.items():
            self.counts[name] = self.counts.get(name, 0) + value
        if time.monotonic() >= self.due:
            self.flush()

    def flush(self) -> None:
        counts, self.counts = self.counts, {}
        self.due = time.monotonic() + TICK_SECONDS
        self.send(counts)


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


def _here(
    function: Callable[[Item], Result], items: Iterable[Item], on_tick: Callable[[dict[str, float]], None] | None
) -> Iterator[Result]:
    global _listener
    ticker = _Ticker(on_tick) if on_tick else None
    for item in items:
        before, _listener = _listener, ticker.add if ticker else None
        try:
            result = function(item)
        finally:
            _listener = before
        if ticker:
            ticker.flush()
        yield result


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """A worker's life: take an item, send ticks and then its result or its exception, until told to stop."""
    global _listener
    end_with_parent()
    ticker = _Ticker(lambda counts: pipe.send(("tick", counts)))
    _listener = ticker.add
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
            pipe.send(("error", ShikomiError(f"a worker's answer cannot be sent back: {error}", where=repr(answer[1]))))


class _Worker:
    """One process and what it is working on (an index into the items, or None)."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
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


class _Crew:
    """The parent's side of one ``map``: hands out items, keeps order, replaces the dead."""

    def __init__(self, pool: Pool, function: Any, items: list, on_tick: Any) -> None:
        self.pool, self.function, self.items, self.on_tick = pool, function, items, on_tick
        self.waiting = list(range(len(items)))[::-1]
        self.tries = [0] * len(items)
        self.done: dict[int, Any] = {}
        self.workers: list[_Worker] = []

    def results(self) -> Iterator[Any]:
        try:
            for _ in range(min(self.pool.workers, len(self.items))):
                self.workers.append(_Worker(self.function))
            for number in range(len(self.items)):
                while number not in self.done:
                    self._hand_out(number)
                    self._listen()
                yield self.done.pop(number)
        finally:
            for worker in self.workers:
                worker.stop()

    def _hand_out(self, number: int) -> None:
        for worker in self.workers:
            # Results wait in memory for their turn; no worker runs further ahead than four rounds.
            if worker.index is None and self.waiting and self.waiting[-1] < number + 4 * self.pool.workers:
                worker.index = self.waiting.pop()
                self.tries[worker.index] += 1
                try:
                    worker.pipe.send((self.items[worker.index],))
                except OSError:
                    continue  # dead already: _listen sees the closed pipe and tries again

    def _listen(self) -> None:
        busy = {worker.pipe: worker for worker in self.workers if worker.index is not None}
        ready = wait(list(busy), timeout=TICK_SECONDS)
        counts: dict[str, float] = {}
        for pipe in ready:
            worker = busy[pipe]  # type: ignore[index]
            try:
                kind, value = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            if kind == "tick":
                for name, count in value.items():
                    counts[name] = counts.get(name, 0) + count
            elif kind == "error":
                worker.index = None
                raise value
            else:
                self.done[worker.index] = value  # type: ignore[index]
                worker.index = None
        if self.on_tick:
            self.on_tick(counts)

    def _bury(self, worker: _Worker) -> None:
        """Replace a worker that died and try its item again, or say which item kills workers."""
        index = worker.index
        assert index is not None
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        worker.stop()
        self.workers.remove(worker)
        if self.tries[index] >= self.pool.attempts:
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            raise ShikomiError(
                f"a worker died {self.tries[index]} times on the same item ({how})",
                where=str(self.items[index]),
                hint="signal 9 is most often too little memory: use fewer workers; else leave this input out",
            )
        self.waiting.append(index)
        self.workers.append(_Worker(self.function))
