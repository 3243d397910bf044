"""Work that ``test_crew`` sends to ranks."""

from __future__ import annotations

import os
import time
from typing import Any

import torch

from shikomi.compute.mesh import open_world
from shikomi.recipe.mesh import MeshPage


def pid() -> int:
    return os.getpid()


def places(mesh: dict[str, int]) -> dict[str, Any]:
    """Where each rank of a mesh is, and what it sums to."""
    world = open_world(MeshPage(**mesh))
    own = torch.tensor([10.0**world.rank])
    return {
        "data": (world.data_rank, world.data_size),
        "stage": (world.stage, world.stages),
        "context": (world.context_rank, world.context_size),
        "tensor": world.tensor_size,
        "main": world.main,
        "sum": world.sum(own).item(),
        "max": world.max(own).item(),
        "any": world.any(world.rank == 1),
        "none": world.any(False),
    }


def fails_on(rank: int) -> None:
    if open_world(MeshPage()).rank == rank:
        raise ValueError("a planted failure")
    time.sleep(60)
