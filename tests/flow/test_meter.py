"""The meter: seconds and memory of this process and its children."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shikomi.flow import meter
from shikomi.flow.meter import Meter

CHILD = "import sys; held = b'x' * 60_000_000; print('held', flush=True); sys.stdin.read()"


def test_time_and_cpu_of_ended_children_are_counted():
    measured = Meter().start()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    measured.stop()
    assert measured.cpu > 0
    assert measured.seconds > 0
    assert measured.peak_mb > 5


def test_memory_of_a_child_is_seen_while_it_lives(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(meter, "SAMPLE_SECONDS", 0.01)
    measured = Meter().start()
    before = meter._tree_mb()
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert meter._tree_mb() > before + 40
        due = time.monotonic() + 60
        while measured.peak_mb <= before + 40 and time.monotonic() < due:
            time.sleep(0.01)
        child.communicate(b"")
    measured.stop()
    assert measured.peak_mb > before + 40


def test_without_proc_the_process_s_own_peak_is_told(monkeypatch: pytest.MonkeyPatch):
    def nothing(path: Path, *given: Any, **named: Any) -> str:
        raise FileNotFoundError(2, "No such file", str(path))

    monkeypatch.setattr(Path, "read_text", nothing)
    monkeypatch.setattr(Path, "write_text", nothing)
    measured = Meter().start()
    measured.stop()
    assert measured.peak_mb > 5
