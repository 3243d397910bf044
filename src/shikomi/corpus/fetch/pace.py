"""How fast a server is asked: requests and bytes a second over all threads, and waits that hold for everybody."""

from __future__ import annotations

import random
import threading
import time

BACKOFF_CAP_SECONDS = 60.0
"""Longest back-off of our own. Common Crawl calls one retry a second polite (status.commoncrawl.org, 2024-05)."""
_SLOWEST_SECONDS = 60.0
_RECOVERY = 0.95
"""After a server said that it is asked too much, requests come at half the rate; each answer gives a twentieth back."""
_BURST_SECONDS = 0.25
"""Bytes of this long may come ahead of the byte limit, so that small answers are not slept over one by one."""


class Stopped(Exception):
    """Fetching was called off while this thread waited."""


class Pace:
    """Shared by all threads that ask one server.

    Args:
        requests_per_second: over all threads.
        bytes_per_second: over all threads; 0: no limit.
        backoff: seconds to wait after a first failure.
    """

    def __init__(self, requests_per_second: float, bytes_per_second: float, backoff: float) -> None:
        self.stop = threading.Event()
        self.requests = 0
        self.bytes = 0
        self.waits = 0
        self._agreed_gap = self._gap = 1.0 / requests_per_second
        self._bytes_per_second = bytes_per_second
        self._backoff = backoff
        self._lock = threading.Lock()
        self._next_request = 0.0
        self._bytes_until = 0.0
        self._paused_until = 0.0

    def request(self) -> None:
        """Wait until one more request may be sent.

        Raises:
            Stopped: fetching was called off.
        """
        with self._lock:
            at = max(time.monotonic(), self._next_request)
            self._next_request = at + self._gap
            self.requests += 1
        self._sleep_until(at)
        while (paused := self._paused_until) > time.monotonic():
            self._sleep_until(paused)

    def received(self, count: int) -> None:
        """Count ``count`` bytes, and wait where they came faster than agreed.

        Raises:
            Stopped: fetching was called off.
        """
        if self.stop.is_set():
            raise Stopped
        with self._lock:
            self.bytes += count
            if not self._bytes_per_second:
                return
            self._bytes_until = max(time.monotonic(), self._bytes_until) + count / self._bytes_per_second
            until = self._bytes_until
        self._sleep_until(until - _BURST_SECONDS)

    def succeed(self) -> None:
        """An answer came whole: where requests had become slower than agreed, they become a little faster again."""
        with self._lock:
            self._gap = max(self._agreed_gap, self._gap * _RECOVERY)

    def fail(self, failures: int, asked: float | None, *, everybody: bool) -> None:
        """Wait after a failure: as long as the server asked, or longer with each failure in a row.

        Args:
            failures: in a row, from 1.
            asked: seconds the server asked for, if it did.
            everybody: no other thread sends a request either until then, and afterwards at half the rate.

        Raises:
            Stopped: fetching was called off.
        """
        longest = min(BACKOFF_CAP_SECONDS, self._backoff * 2.0 ** min(failures - 1, 16))
        # The random half keeps clients that failed together from coming back together.
        seconds = asked if asked is not None else longest * random.uniform(0.5, 1.0)
        until = time.monotonic() + seconds
        with self._lock:
            self.waits += 1
            if everybody:
                self._paused_until = max(self._paused_until, until)
                self._gap = min(self._gap * 2.0, max(self._agreed_gap, _SLOWEST_SECONDS))
        self._sleep_until(until)

    def _sleep_until(self, until: float) -> None:
        seconds = until - time.monotonic()
        if self.stop.wait(seconds) if seconds > 0 else self.stop.is_set():
            raise Stopped
