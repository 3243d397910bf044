"""A trace of a few steps, for ``chrome://tracing`` or https://ui.perfetto.dev: what runs when, on CPU and GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FOLDER = "profile"
"""Below a stage's folder: where its traces are."""


class Trace:
    """A writer that records steps ``first`` to ``last`` (from 1) of the run and writes one Chrome trace of them.

    Where an attempt begins behind ``first``, as many steps are recorded from its second one on: the first is slower.

    Args:
        first, last: steps, both included.
        out: the stage's folder.
        say: told in one sentence where the trace is.
    """

    def __init__(self, first: int, last: int, out: Path, say: Callable[[str], None]) -> None:
        self.first, self.count, self.out, self.say = max(first, 2), last - first + 1, out, say
        self._profiler: Any = None
        self._begun = 0
        self._is_done = False

    def row(self, row: dict[str, Any]) -> None:
        """A step has ended: the recording starts or stops with the next."""
        step = row["step"]
        if self._profiler is not None and step >= self._begun + self.count - 1:
            self._write(step)
        elif self._profiler is None and not self._is_done and step >= self.first - 1:
            activities = [torch.profiler.ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(torch.profiler.ProfilerActivity.CUDA)
            self._begun = step + 1
            self._profiler = torch.profiler.profile(activities=activities, record_shapes=True)
            self._profiler.start()

    def close(self) -> None:
        """The run has ended: what was recorded so far is written."""
        if self._profiler is not None:
            self._write(0)

    def _write(self, last: int) -> None:
        profiler, self._profiler, self._is_done = self._profiler, None, True
        profiler.stop()
        folder = self.out / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"steps-{self._begun}-{last or 'end'}.json.gz"
        profiler.export_chrome_trace(str(path))
        steps = f"steps {self._begun} to {last or 'the end'}"
        self.say(f"trace of {steps}, for https://ui.perfetto.dev: {path} (it moves with the finished stage's folder)")
