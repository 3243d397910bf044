"""Asked to stop: SIGUSR1 and SIGTERM, or a file that whoever started the ranks puts down, end a run at a step's end.

Slurm sends a signal some time before it ends a job; a launcher far from the ranks cannot send one through every program
between, and leaves a file in their shared folder instead.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
STOP_FILE = "SHIKOMI_STOP_FILE"
"""Environment variable that names the file."""


class StopRequest:
    """Listens while it is entered; signals do then what they did before.

    Signals can be listened to in a process's main thread alone; elsewhere only the file counts.
    """

    def __init__(self) -> None:
        named = os.environ.get(STOP_FILE)
        self._file = Path(named) if named else None
        self._before: dict[signal.Signals, Any] = {}
        self._asked = False

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(self, *error: Any) -> None:
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        self._before = {}

    def _hear(self, number: int, frame: Any) -> None:
        self._asked = True

    @property
    def asked(self) -> bool:
        """Whether this process was asked to stop; ranks are asked one by one, so that they have to agree."""
        return self._asked or (self._file is not None and self._file.exists())
