"""Runs peers side by side: each a process of its own, interleaved; CPU time and memory are taken from the kernel."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent


@dataclass(frozen=True)
class Peer:
    """A program to measure: ``python script ARGS`` must print one JSON object as its last line.

    Attributes:
        name: how it is called in results.
        environment: folder with its virtual environment, from the repository's root.
        script: its script, from ``bench/peers``.
    """

    name: str
    environment: str
    script: str

    @property
    def python(self) -> Path:
        return ROOT / self.environment / "bin" / "python"


@dataclass(frozen=True)
class Run:
    """One run of a peer: CPU and wall time in seconds, peak resident memory in MB (10⁶ bytes), what it printed."""

    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    said: dict[str, Any]


class BenchError(Exception):
    """A bench that cannot be completed; its message says what to do."""


def use_own_environment() -> None:
    """Start this script again with the repository's .venv where it was started with another Python."""
    python = ROOT / ".venv" / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        os.execv(python, [str(python), *sys.argv])


def run(
    peer: Peer, arguments: list[str], timeout_seconds: float = 3600, environment: dict[str, str] | None = None
) -> Run:
    """Run a peer once and measure it; ``environment`` is added to that of this process, for more than one thread.

    Raises:
        BenchError: it is not installed, failed, took too long, or did not end with a JSON object.
    """
    if not peer.python.exists():
        raise BenchError(f"{peer.name}: no {peer.environment}; run make bench-setup")
    command = [str(peer.python), str(BENCH / "peers" / peer.script), *arguments]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", **(environment or {})}
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=variables)
        timer = threading.Timer(timeout_seconds, process.kill)
        timer.daemon = True
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        timer.cancel()
        wall = time.monotonic() - start
        output.seek(0)
        errors.seek(0)
        lines = output.read().decode().strip().splitlines()
        if process.returncode:
            raise BenchError(f"{peer.name} failed ({process.returncode}): {errors.read().decode()[-2000:]}")
    try:
        said = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError) as error:
        raise BenchError(f"{peer.name} did not end with a JSON object") from error
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * unit / 1e6, said)


def interleave(peers: list[Peer], arguments: list[str], repeats: int, tell) -> dict[str, list[Run]]:
    """Run every peer ``repeats`` times, one after the other in rounds, each with a fresh folder after ``--out``."""
    runs: dict[str, list[Run]] = {peer.name: [] for peer in peers}
    for number in range(repeats):
        for peer in peers:
            with tempfile.TemporaryDirectory() as folder:
                done = run(peer, ["--out", folder, *arguments])
            runs[peer.name].append(done)
            tell(
                f"{peer.name} {number + 1}/{repeats}: {done.cpu_seconds:.1f} s CPU, {done.peak_mb:.0f} MB, {done.said}"
            )
    return runs


def ratios(numerator: list[float], denominator: list[float]) -> dict[str, float]:
    """Median and range of the ratios of paired runs."""
    values = [one / other for one, other in zip(numerator, denominator, strict=True)]
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def machine() -> dict[str, Any]:
    """What a number was measured on."""
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        model = platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write a result under bench/results/, named by bench and date."""
    path = BENCH / "results" / f"{name}-{datetime.date.today().isoformat()}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path
