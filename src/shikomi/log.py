"""What a run tells while it works: progress for people, a journal for machines."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """Told by a stage how far it is; what is shown of it is the caller's choice."""

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Report ``done`` of ``total`` ``unit`` (for example pages, tokens), with a short note such as a loss."""
        ...


def tell(progress: Progress, text: str) -> None:
    """Say one sentence beside the progress (a checkpoint that could not be written), where it has a place for it."""
    say = getattr(progress, "say", None)
    if say is not None:
        say(text)


def silent(done: float, total: float, unit: str, note: str = "") -> None:
    """A progress report that nobody reads."""


class Journal:
    """Append-only JSON lines of what happened, each with a Unix time in seconds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: str, **fields: object) -> None:
        """Append one event; a single ``write`` call, so that lines of several processes never mix."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        row = {"time": round(time.time(), 3), "event": event, **fields}
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")

    def read(self) -> list[dict]:
        """All events so far; a last line cut by a crash is left out."""
        if not self.path.exists():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows
