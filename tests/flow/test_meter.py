"""What a stage takes is measured: memory of this process and of its children, CPU, wall."""

from __future__ import annotations

import subprocess
import sys

from shikomi.flow.meter import SAMPLE_SECONDS, Meter

HUNGRY = f"import time; block = b'x' * 150_000_000; time.sleep({4 * SAMPLE_SECONDS})"


def test_memory_of_this_process_counts() -> None:
    meter = Meter().start()
    block = bytearray(80_000_000)
    block[::4096] = b"x" * len(block[::4096])
    meter.stop()
    assert meter.peak_mb > 80
    del block


def test_memory_of_children_counts() -> None:
    meter = Meter().start()
    subprocess.run([sys.executable, "-c", HUNGRY], check=True)
    meter.stop()
    assert meter.peak_mb > 150


def test_work_takes_cpu_and_sleep_takes_none() -> None:
    meter = Meter().start()
    sum(number * number for number in range(400_000))
    meter.stop()
    assert meter.cpu > 0
    assert meter.seconds > 0
