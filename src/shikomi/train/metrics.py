"""What a run tells of itself at every step: speed, share of the hardware's peak, memory; and the line it shows.

    MFU = model FLOPs a token · tokens a second / (peak FLOP/s of a device · devices)

Model FLOPs are ``ModelConfig.flops_per_token``: 6 a matrix parameter and the causal half of attention; recomputed
activations, the embedding lookup and fill-up rows do not count. The peak is the data sheet's dense bfloat16 one, or,
on a CPU or a device without one, that of the best of a few large matrix products measured here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from shikomi.model.halves import multiply
from shikomi.plan.hardware import own_peak_mb, peak_flops
from shikomi.units import format_bytes, format_count

WINDOW_STEPS = 20
"""Steps over which the speed of a row is a mean: short enough to show a slow node, long enough to be read."""
GEMM_SIZE = 1024
"""Rows and columns of the matrices measured on a CPU. Measured (Zen 4, 2 threads): within 5 % of 2048."""
GEMM_TRIES = 5


@cache
def device_peak(kind: str, name: str, bfloat16: bool) -> tuple[float, str]:
    """(peak FLOP/s of one device, where the number comes from, in words).

    Args:
        kind: type of the torch device, ``cpu`` or ``cuda``.
        name: of the accelerator; not looked at for a CPU.
        bfloat16: whether matrix products are in bfloat16, where it has to be measured.
    """
    known = peak_flops(name) if kind == "cuda" else 0.0
    if known:
        return known, f"data sheet of {name}, dense bfloat16"
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    size = GEMM_SIZE if kind == "cpu" else 8 * GEMM_SIZE
    left = torch.ones(size, size, dtype=dtype, device=kind)
    seconds = min(_product_seconds(left) for _ in range(GEMM_TRIES))
    told = f"measured: best of {GEMM_TRIES} products of {size} x {size}, {str(dtype).removeprefix('torch.')}"
    return 2 * size**3 / seconds, told


def _product_seconds(left: torch.Tensor) -> float:
    if left.device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    multiply(left, left)
    if left.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def memory_mb(device: torch.device) -> float:
    """Most memory so far, in megabytes (10⁶ bytes): tensors on a CUDA device, else this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return own_peak_mb()


class Gauge:
    """Measures a run from step to step.

    Args:
        flops_per_token: training FLOPs of the model a token; 0: no MFU.
        devices: how many work together.
        device: this rank's.
        bfloat16: whether matrix products are in bfloat16.
    """

    def __init__(self, flops_per_token: float, devices: int, device: torch.device, bfloat16: bool) -> None:
        self.flops_per_token, self.devices, self.device = flops_per_token, devices, device
        self.bfloat16 = bfloat16
        self._seen: deque[tuple[float, int]] = deque(maxlen=WINDOW_STEPS + 1)

    @property
    def peak(self) -> tuple[float, str]:
        """(peak FLOP/s of one device, where the number comes from)."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        return device_peak(self.device.type, name, self.bfloat16)

    def start(self, tokens: int) -> None:
        """The first step of this attempt begins, ``tokens`` having been seen in earlier ones."""
        if self.flops_per_token:
            _ = self.peak
        self._seen.append((time.perf_counter(), tokens))

    def read(self, tokens: int) -> dict[str, float]:
        """What stands at the end of a step: ``tokens_per_second`` (mean of the last steps), ``mfu`` (a share; absent
        where FLOPs are not known) and ``memory_mb``, ``tokens`` having been seen so far."""
        self._seen.append((time.perf_counter(), tokens))
        seconds = self._seen[-1][0] - self._seen[0][0]
        speed = (tokens - self._seen[0][1]) / seconds if seconds > 0 else 0.0
        found = {"tokens_per_second": round(speed, 1)}
        if self.flops_per_token:
            found["mfu"] = round(self.mfu(speed), 4)
        return found | {"memory_mb": round(memory_mb(self.device), 1)}

    def mfu(self, tokens_per_second: float) -> float:
        """Share of the peak of all devices that goes into the model's FLOPs."""
        return self.flops_per_token * tokens_per_second / (self.peak[0] * self.devices)

    def facts(self, tokens_per_second: float) -> dict[str, Any]:
        """For the manifest: MFU of the whole attempt, and against which peak."""
        if not self.flops_per_token:
            return {}
        flops, basis = self.peak
        return {"mfu": round(self.mfu(tokens_per_second), 4), "peak_flops": float(f"{flops:.4g}"), "peak_basis": basis}


def note(row: Mapping[str, Any]) -> str:
    """A step's row in a few words for the terminal, most wanted first (the end is cut where there is no room)."""
    parts = [f"loss {row['loss']:.3f}"]
    if "tokens_per_second" in row:
        parts.append(f"{format_count(round(row['tokens_per_second']))} tok/s")
    if "mfu" in row:
        parts.append(f"MFU {row['mfu']:.0%}" if row["mfu"] >= 0.1 else f"MFU {row['mfu']:.1%}")
    parts.append(f"norm {row['grad_norm']:.2g}")
    if "rate" in row:
        parts.append(f"rate {row['rate']:.0%}")
    if "tokens" in row:
        parts.append(f"{format_count(row['tokens'])} tokens")
    if "memory_mb" in row:
        parts.append(format_bytes(row["memory_mb"] * 1e6))
    return "  ".join(parts)
