"""Where a process computes, and in which precision: apart from the loop, as who only asks a model needs no trainer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch


def device() -> torch.device:
    """Where this process computes: the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(where: torch.device, precision: str = "auto") -> Any:
    """Matrix products in a site's ``precision``; ``auto``: bfloat16 on CUDA, AVX-512 BF16 and AMX, else float32."""
    has = where.type == "cuda" or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    if precision == "float32" or (precision == "auto" and not has):
        return nullcontext()
    return torch.autocast(where.type, dtype=torch.bfloat16)
