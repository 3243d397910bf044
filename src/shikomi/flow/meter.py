"""What a stage takes: wall and CPU seconds, and the most memory its processes held at once."""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time
from pathlib import Path

from shikomi.plan.hardware import own_peak_mb

SAMPLE_SECONDS = 0.5


class Meter:
    """Measures from ``start`` on; a thread samples the memory of this process and its descendants."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="meter", daemon=True)
        self._begun = 0.0
        self._cpu_begun = 0.0

    def start(self) -> Meter:
        """Begin; the process's own high-water mark is set back where the kernel lets us (Linux)."""
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._begun, self._cpu_begun = time.perf_counter(), cpu_seconds()
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the sampling; ``peak_mb`` then holds the peak in megabytes (10⁶ bytes)."""
        self._stop.set()
        self._thread.join()
        self.peak_mb = max(self.peak_mb, _tree_mb(), own_peak_mb())

    @property
    def seconds(self) -> float:
        """Wall seconds since the start."""
        return time.perf_counter() - self._begun

    @property
    def cpu(self) -> float:
        """CPU seconds since the start, of this process and of children that have ended."""
        return cpu_seconds() - self._cpu_begun

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.peak_mb = max(self.peak_mb, _tree_mb())


def cpu_seconds() -> float:
    """CPU seconds of this process and its ended children, user and system."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def _tree_mb() -> float:
    """Resident memory of this process and all its descendants (shared pages counted in each); 0 without /proc."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    waiting, total = [os.getpid()], 0
    while waiting:
        process = Path("/proc") / str(waiting.pop())
        try:
            total += int((process / "statm").read_text().split()[1]) * page_bytes
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, ValueError, IndexError):
            continue
    return total / 1e6
