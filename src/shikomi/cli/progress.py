"""The live line of a stage: what, how much of how much, how fast, how long still; on stderr."""

from __future__ import annotations

import shutil
import sys
import time
from typing import IO

from shikomi.cli.screen import clip, coloured, paint
from shikomi.log import Progress
from shikomi.units import format_count, format_seconds

LIVE_SECONDS = 0.1
"""Least time between two renewals of a live line."""
PLAIN_SECONDS = 10.0
"""Least time between two lines where there is no terminal."""


class Screen:
    """Shows a build: one live line for the stage at work on a terminal, plain lines now and then elsewhere."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.stream = stream or sys.stderr
        self.is_live = self.stream.isatty()
        self.head = ""
        self.width = 1
        self.is_open = False

    def say(self, text: str) -> None:
        """One line, above the live one."""
        self.close()
        print(text, file=self.stream, flush=True)

    def begin(self, stage: str, number: int, of: int) -> Progress:
        """A stage starts."""
        self.head = f"[{number:>{len(str(of))}}/{of}] {stage:<12}"
        if self.is_live:
            self._live(self.head)
        return Line(self)

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        """A stage is finished."""
        how = (
            paint("cached", "dim", self.stream)
            if cached
            else f"{paint('done', 'green', self.stream)} in {format_seconds(seconds)}"
        )
        self.say(f"{self.head} {how}")

    def show(self, text: str) -> None:
        """The stage's line anew."""
        if self.is_live:
            self._live(f"{self.head} {text}")
        else:
            print(f"{self.head} {text}", file=self.stream, flush=True)

    def _live(self, text: str) -> None:
        columns = shutil.get_terminal_size((100, 24)).columns
        self.stream.write("\r" + clip(text, columns - 1) + "\x1b[K")
        self.stream.flush()
        self.is_open = True

    def close(self) -> None:
        """Take the live line away."""
        if self.is_open:
            self.stream.write("\r\x1b[K")
            self.is_open = False

    @property
    def every_seconds(self) -> float:
        """Least time between two showings."""
        return LIVE_SECONDS if self.is_live else PLAIN_SECONDS


class Line:
    """The progress of one stage, shown no more often than the screen takes it."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.begun = time.monotonic()
        self.first = 0.0
        self.counted: tuple[float, str] | None = None
        self.due = self.begun + (0 if screen.is_live else PLAIN_SECONDS)

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Told by the stage how far it is."""
        now = time.monotonic()
        if self.counted != (total, unit):  # a new count: the first call of a stage, or of a part of it
            self.counted, self.first, self.begun = (total, unit), done, now
        if now < self.due:
            return
        self.due = now + self.screen.every_seconds
        self.screen.show(progress_text(done, total, unit, note, done - self.first, now - self.begun))

    def say(self, text: str) -> None:
        """Told by the stage something to keep in view."""
        self.screen.say(f"{self.screen.head} {text}")


def progress_text(done: float, total: float, unit: str, note: str, fresh: float, seconds: float) -> str:
    """Say how far a stage is.

    Args:
        done: how much is done, of ``total`` (0: unknown), in ``unit``.
        note: a word of the stage's own.
        fresh: how much of it was done in the last ``seconds``: what was found done when resuming is no speed.
    """
    parts = [f"{done / total:4.0%}" if total else "    ", f"{format_count(done)}/{format_count(total)} {unit}"]
    if not total:
        parts = [f"{format_count(done)} {unit}"]
    rate = fresh / seconds if seconds > 0 else 0.0
    if rate > 0:
        if not (unit == "steps" and note):  # training tells tokens a second, which layouts can be compared by
            parts.append(f"{format_count(round(rate, 2))} {unit}/s")
        if total:
            parts.append(f"{format_seconds(max(0.0, total - done) / rate)} left")
    return "  ".join([*parts, note] if note else parts)


def bar(share: float, columns: int = 24) -> str:
    """A bar of a share from 0 to 1, for tables on a terminal."""
    filled = round(min(max(share, 0.0), 1.0) * columns)
    return "█" * filled + "░" * (columns - filled) if coloured(sys.stdout) else "#" * filled + "." * (columns - filled)
