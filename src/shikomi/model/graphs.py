"""Steps recorded once and replayed: on a GPU a decoding step is then one launch instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

KEPT = 64
"""Recordings kept; the oldest goes first. One costs little memory besides its outputs: all share a pool."""


class Graphs:
    """Runs a function of tensors, on CUDA as a recording for each key; elsewhere as it is.

    A function must do the same operators for the same key, and read and write the same memory besides its inputs.
    """

    def __init__(self, device: torch.device) -> None:
        self.records = device.type == "cuda"
        self._kept: dict[Hashable, tuple[Callable[[], None], tuple[Tensor, ...], Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle() if self.records else None

    def run(self, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """What the function gives for the inputs; with a recording, valid until the next call with that key."""
        if not self.records:
            return function(*inputs)
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = self._record(function, inputs)
        replay, held, found = self._kept[key]
        for own, given in zip(held, inputs, strict=True):
            own.copy_(given)
        replay()
        return found

    def forget(self) -> None:
        """Drop all recordings: the memory they read has moved."""
        self._kept.clear()

    def _record(
        self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]
    ) -> tuple[Callable[[], None], tuple[Tensor, ...], Tensor]:
        held = tuple(given.clone() for given in inputs)
        # Twice beside the main stream first: libraries allot their workspaces there, not inside the recording.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                function(*held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            found = function(*held)
        return graph.replay, held, found
