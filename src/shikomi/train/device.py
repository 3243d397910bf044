"""Where a process computes, and in which precision: apart from the loop, as who only asks a model needs no trainer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch


def device() -> torch.device:
    """Where this process computes: the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def takes_bfloat16(where: torch.device, precision: str = "auto") -> bool:
    """Whether a site's ``precision`` means bfloat16 products; ``auto``: on CUDA, AVX-512 BF16 and AMX."""
    has = where.type == "cuda" or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return precision != "float32" and (precision != "auto" or has)


def autocast(where: torch.device, precision: str = "auto") -> Any:
    """Matrix products in a site's ``precision``: see ``takes_bfloat16``; else float32."""
    return torch.autocast(where.type, dtype=torch.bfloat16) if takes_bfloat16(where, precision) else nullcontext()
