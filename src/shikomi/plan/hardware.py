"""The machine: its processors and memory as this process may use them."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import sys
from pathlib import Path
from typing import Any

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Processors this process may use: its affinity, and the container's quota (rounded up)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def _quota() -> float:
    """CPUs a control group grants (version 2, then version 1); 0 where it grants all."""
    with contextlib.suppress(OSError, ValueError):
        granted, period = (_CGROUP / "cpu.max").read_text().split()
        return 0.0 if granted == "max" else int(granted) / int(period)
    with contextlib.suppress(OSError, ValueError):
        granted = int((_CGROUP / "cpu/cpu.cfs_quota_us").read_text())
        period = int((_CGROUP / "cpu/cpu.cfs_period_us").read_text())
        return granted / period if granted > 0 else 0.0
    return 0.0


def memory_bytes() -> int:
    """Memory this process may use: the machine's, or the container's limit if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return min(total, int((_CGROUP / name).read_text()))
    return total


def processor() -> str:
    """The processor's model as the kernel names it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    import platform

    return platform.processor() or platform.machine()


def accelerators() -> list[str]:
    """Names of NVIDIA devices the kernel driver knows, without loading any library."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("Model:"):
                    found.append(line.split(":", 1)[1].strip())
    return found


def own_peak_mb() -> float:
    """Most memory of this process so far, in megabytes (10⁶ bytes): its high-water mark on Linux, which ``getrusage``
    does not tell of a process whose parent was larger."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    scale = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def peak_flops(accelerator: str) -> float:
    """Dense bfloat16 peak of a device, FLOP/s, by its name (``accelerators.json``); 0 if it is not in the table."""
    table = json.loads((Path(__file__).parent / "accelerators.json").read_text(encoding="utf-8"))
    for row in table["peaks"]:
        if row["pattern"].casefold() in accelerator.casefold():
            return row["tflops"] * 1e12
    return 0.0


def describe() -> dict[str, Any]:
    """What of the machine bears on time and rounding; no host name."""
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "memory_mb": round(memory_bytes() / 1e6),
        "accelerators": accelerators(),
        "system": f"{os.uname().sysname} {os.uname().machine}",
    }
