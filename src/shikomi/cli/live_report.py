"""The report while a build runs: written anew now and then as training goes on, so that an open page is live."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from shikomi.flow.runner import Watch
from shikomi.log import Progress, tell

REPORT_SECONDS = 15.0
"""Least time between two writings; the page of a build in work loads itself anew as often."""
LARGEST_SHARE = 0.01
"""Most of a build's time that goes into writing reports."""


class LiveReport:
    """A watch that shows what another one shows, and has the report written while training stages work.

    Args:
        inner: shows the build.
        write: writes the report.
    """

    def __init__(self, inner: Watch, write: Callable[[], Any]) -> None:
        self.inner, self._write = inner, write
        self.due = 0.0

    def say(self, text: str) -> None:
        """One line for the user."""
        self.inner.say(text)

    def begin(self, stage: str, number: int, of: int) -> Progress:
        """A stage starts."""
        return _Told(self, self.inner.begin(stage, number, of))

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        """A stage is finished."""
        self.inner.end(stage, seconds, cached)

    def refresh(self) -> None:
        """Write the report, if it is time; a disk that takes no report ends no build."""
        begun = time.monotonic()
        if begun < self.due:
            return
        with contextlib.suppress(OSError):
            self._write()
        now = time.monotonic()
        self.due = now + max(REPORT_SECONDS, (now - begun) / LARGEST_SHARE)


class _Told:
    """Progress of one stage; that of training counts in steps."""

    def __init__(self, watch: LiveReport, inner: Progress) -> None:
        self.watch, self.inner = watch, inner

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        self.inner(done, total, unit, note)
        if unit == "steps":
            self.watch.refresh()

    def say(self, text: str) -> None:
        tell(self.inner, text)
