"""Where shard functions run: one protocol, whether the work is done here, by processes here, or on a cluster.

What every pool does alike, so that a stage gives the same bytes wherever it runs: results come in the order of the
items; no worker runs further ahead of the result that is due than four rounds; an item whose worker died is tried
again on a fresh worker; an exception is final and comes home as it was raised; progress is told about twice a second.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from shikomi.errors import ShikomiError

Item = TypeVar("Item")
Result = TypeVar("Result")

TICK_SECONDS = 0.5
"""Longest time between two calls of ``on_tick``; progress is due once a second."""
ROUNDS_AHEAD = 4
"""Results wait in the parent's memory for their turn; no worker runs further ahead than this many rounds."""

OnTick = Callable[[dict[str, float]], None]
OnDeath = Callable[[Any], bool]


class Pool(Protocol):
    """Runs a function over items on several workers."""

    @property
    def workers(self) -> int:
        """How many items are worked on at once."""
        ...

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_tick: OnTick | None = None,
        on_death: OnDeath | None = None,
    ) -> Iterator[Result]:
        """Yield ``function(item)`` for each item, in the order of the items, whatever the number of workers.

        Args:
            function: importable by name, as are its items and results (they travel between processes).
            items: what to work on.
            on_tick: called about twice a second with what ``tick`` reported meanwhile, summed by name. What a worker
                told of an item before it died is taken back (a negative count).
            on_death: called here with the item a worker died on; true: it is tried again, whatever the tries so far.

        Raises:
            ShikomiError: a worker died on the same item as often as the pool's attempts allow; the item is named.
        """
        ...


@dataclass(frozen=True)
class Limits:
    """What one item's part (a page) may take in a worker, before the worker is ended.

    Attributes:
        seconds: wall time of one page.
        memory_bytes: memory on top of what the worker holds when it begins.
    """

    seconds: float = 60.0
    memory_bytes: int = 1_000_000_000


_listener: OnTick | None = None
_limits: Limits | None = None


def tick(**counts: float) -> None:
    """Tell, from inside the function a pool runs, how much was done since the last call (for example ``bytes=4096``).

    Outside a pool it does nothing.
    """
    if _listener is not None:
        _listener(counts)


def limits() -> Limits | None:
    """What a page may take, or None where this process is no worker that may be ended."""
    return _limits


@contextlib.contextmanager
def listening(listener: OnTick | None, allowed: Limits | None = None) -> Iterator[None]:
    """While it lasts, ``tick`` tells ``listener``; and ``allowed``, if given, is what ``limits`` says."""
    global _listener, _limits
    before, _listener, _limits = (_listener, _limits), listener, allowed or _limits
    try:
        yield
    finally:
        _listener, _limits = before


class Ticker:
    """Sums what ``tick`` tells and passes it on at most every ``TICK_SECONDS``."""

    def __init__(self, send: OnTick) -> None:
        self.send = send
        self.counts: dict[str, float] = {}
        self.due = time.monotonic() + TICK_SECONDS

    def add(self, counts: dict[str, float]) -> None:
        """Take counts, and send the sum if it is due."""
        add_counts(self.counts, counts)
        if time.monotonic() >= self.due:
            self.flush()

    def flush(self) -> None:
        """Send the sum now."""
        counts, self.counts = self.counts, {}
        self.due = time.monotonic() + TICK_SECONDS
        self.send(counts)


def add_counts(total: dict[str, float], counts: dict[str, float]) -> None:
    """Add counts to a total, name by name."""
    for name, value in counts.items():
        total[name] = total.get(name, 0) + value


class Crew:
    """The parent's side of one ``map``: which item is handed out next, what is done, how often each was tried.

    A pool's own crew says how workers are started, given an item, listened to and stopped.
    """

    def __init__(
        self, items: Iterable[Any], size: int, attempts: int, on_tick: OnTick | None, on_death: OnDeath | None
    ) -> None:
        self.items = list(items)
        self.size = min(size, len(self.items))
        self.attempts = attempts
        self.on_tick = on_tick
        self.on_death = on_death
        self.waiting = list(range(len(self.items)))[::-1]
        self.tries = [0] * len(self.items)
        self.done: dict[int, Any] = {}
        self.told: dict[int, dict[str, float]] = {}
        self.untold: dict[str, float] = {}

    def start(self) -> None:
        """Start ``size`` workers."""
        raise NotImplementedError

    def give(self) -> bool:
        """Give ``waiting.pop()`` to a worker that has nothing to do; false if there is none."""
        raise NotImplementedError

    def listen(self) -> None:
        """Wait up to ``TICK_SECONDS`` for workers, and call ``finish``, ``died`` and ``hear`` with what they tell."""
        raise NotImplementedError

    def stop(self) -> None:
        """End all workers."""
        raise NotImplementedError

    def results(self) -> Iterator[Any]:
        """What ``map`` yields."""
        try:
            self.start()
            for number in range(len(self.items)):
                while number not in self.done:
                    while self.waiting and self.waiting[-1] < number + ROUNDS_AHEAD * self.size and self.give():
                        pass
                    self.listen()
                    if self.on_tick:
                        counts, self.untold = self.untold, {}
                        self.on_tick(counts)
                yield self.done.pop(number)
        finally:
            self.stop()

    def take(self) -> int:
        """The index of the next item to work on."""
        index = self.waiting.pop()
        self.tries[index] += 1
        self.told[index] = {}
        return index

    def hear(self, index: int, counts: dict[str, float]) -> None:
        """A worker told what it did of an item."""
        add_counts(self.told[index], counts)
        add_counts(self.untold, counts)

    def finish(self, index: int, value: Any) -> None:
        """A worker has an item's result."""
        self.told.pop(index)
        self.done[index] = value

    def died(self, index: int, how: str, *, counts: bool = True) -> None:
        """A worker died on an item: try it again, or say which item kills workers.

        Args:
            index: of the item.
            how: its death, for people.
            counts: false where the item cannot be at fault.
        """
        add_counts(self.untold, {name: -value for name, value in self.told.pop(index).items()})
        if not counts:
            self.tries[index] -= 1
        elif not (self.on_death and self.on_death(self.items[index])) and self.tries[index] >= self.attempts:
            raise ShikomiError(
                f"a worker died {self.tries[index]} times on the same item ({how})",
                where=str(self.items[index]),
                hint="signal 9 is most often too little memory: use fewer workers; else leave this input out",
            )
        self.waiting.append(index)
