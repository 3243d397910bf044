"""Where a process computes, and in which precision: apart from the loop, as who only asks a model needs no trainer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch

from shikomi.model import halves


def device() -> torch.device:
    """Where this process computes: the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def takes_bfloat16(where: torch.device, precision: str = "auto") -> bool:
    """Whether a site's ``precision`` means bfloat16 products; ``auto``: on CUDA, and on processors whose instructions
    for them are the faster way (AVX-512 BF16 of AMD's, AMX)."""
    there = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    has = where.type == "cuda" or (there and halves.HALF_PRODUCTS)
    return precision != "float32" and (precision != "auto" or has)


def autocast(where: torch.device, precision: str = "auto") -> Any:
    """Matrix products in a site's ``precision``: see ``takes_bfloat16``; else float32."""
    return torch.autocast(where.type, dtype=torch.bfloat16) if takes_bfloat16(where, precision) else nullcontext()
