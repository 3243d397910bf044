"""Keys and values of earlier positions, for generation.

Shape letters: R rows, K key-value heads, S slots, E head dim, N tokens.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shikomi.model.config import ModelConfig

SLOT_BLOCK = 16
"""Slots are allotted in multiples of this; where shapes must change seldom (recorded steps), so many are attended to at
once, and what lies beyond a row's length is masked."""


MEMORY_SHARE = 0.5
"""Share of the free memory that the cache may take: when it grows, old and new are there for a moment."""


class KeyValueCache:
    """Per layer one tensor [2, R, K, S, E] (keys, then values), written in place; slot s of a row is position s.

    Rows of different length lie side by side without padding in front. Fresh memory is zero, so that a masked slot
    never holds what is not a number. On a CPU, memory that is not written is not occupied.
    """

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.config, self.device, self.dtype = config, device, dtype
        self.rows = self.slots = 0
        self.layers: list[Tensor] = []
        free = free_bytes(device)
        self._room = None if free is None else int(free * MEMORY_SHARE)

    def affordable(self, slots: int) -> int:
        """Rows of so many slots for which there was memory when the cache was made; 1 at least."""
        config = self.config
        slot = 2 * config.layers * config.kv_heads * config.head_dim * self.dtype.itemsize
        return sys.maxsize if self._room is None else max(1, self._room // (slot * _padded(slots)))

    def reserve(self, rows: int, slots: int) -> bool:
        """Have room for so many rows and slots, what is there being kept; whether memory was allotted anew.

        There is always one slot more than asked for: one that may be written without being anybody's.
        """
        slots = _padded(slots)
        if rows <= self.rows and slots <= self.slots:
            return False
        config, old, kept = self.config, self.layers, (self.rows, self.slots)
        self.rows, self.slots = max(rows, self.rows), max(slots, self.slots)
        shape = (2, self.rows, config.kv_heads, self.slots, config.head_dim)
        self.layers = []
        for number in range(config.layers):
            fresh = _zeros(shape, self.device, self.dtype)
            if old:
                fresh[:, : kept[0], :, : kept[1]] = old[number]
            self.layers.append(fresh)
        return True

    def places(self, rows_N: Tensor, positions_N: Tensor) -> Tensor:
        """Where the keys and values of N tokens belong, [N·2·K]: for ``write``, the same in every layer."""
        K, device = self.config.kv_heads, rows_N.device
        lane_2K = (torch.arange(2, device=device)[:, None] * (self.rows * K) + torch.arange(K, device=device)).flatten()
        return ((lane_2K + rows_N[:, None] * K) * self.slots + positions_N[:, None]).flatten()

    def write(self, layer: int, places: Tensor, fresh: Tensor) -> None:
        """Store keys and values of N tokens, [N, 2·K·E], at ``places``."""
        E = self.config.head_dim
        self.layers[layer].view(-1, E).index_copy_(0, places, fresh.reshape(-1, E))

    def seen(self, layer: int, rows: slice, slots: slice) -> tuple[Tensor, Tensor]:
        """Keys and values of some rows and slots, each [rows, K, slots, E], without a copy."""
        keys, values = self.layers[layer][:, rows, :, slots].unbind(0)
        return keys, values

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Let a row begin with another row's first ``tokens`` tokens."""
        for layer in self.layers:
            layer[:, target, :, :tokens] = layer[:, source, :, :tokens]

    def swap(self, one: int, other: int, tokens: int) -> None:
        """Exchange two rows of which neither is longer than ``tokens``."""
        for layer in self.layers:
            kept = layer[:, one, :, :tokens].clone()
            layer[:, one, :, :tokens] = layer[:, other, :, :tokens]
            layer[:, other, :, :tokens] = kept


def free_bytes(device: torch.device) -> int | None:
    """Memory that a device could still give, in bytes; None where it does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def _padded(slots: int) -> int:
    return -(-(slots + 1) // SLOT_BLOCK) * SLOT_BLOCK


def _zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    if device.type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    # PyTorch writes its zeros; NumPy takes fresh pages from the system, which exist once they are written to.
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(shape)
