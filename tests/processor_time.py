"""Processor time of commands, and how much slower than the one that limits are for this machine is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

OWN_SECONDS = 0.0125
"""Processor seconds of `python -c pass` on the machine that limits are for."""


def environment(folder: Path) -> dict[str, str]:
    """Nothing that measures coverage; bytecode is kept, as it is for a user."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHON", "SHIKOMI"))}
    return {**kept, "SHIKOMI_CACHE": str(folder)}


def start(folder: Path, *words: str) -> tuple[float, str]:
    """Run Python; returns its processor seconds (its children's too) and what it said."""
    said = folder / "said.txt"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [(os.POSIX_SPAWN_OPEN, 1, str(said), flags, 0o600), (os.POSIX_SPAWN_DUP2, 1, 2)]
    pid = os.posix_spawn(sys.executable, [sys.executable, *words], environment(folder), file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said.read_text(encoding="utf-8")
    return usage.ru_utime + usage.ru_stime, said.read_text(encoding="utf-8")


def slower(own_seconds: float) -> float:
    """How many times as long this machine may take, by what Python's own start takes; 1 at least."""
    return max(1.0, own_seconds / OWN_SECONDS)
