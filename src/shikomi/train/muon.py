"""Muon's whole matrices: made orthogonal where they are, or, where ranks hold pieces of them, shared out among ranks.

Shape letters: N matrices, R rows, C columns. A rank's piece of a matrix is a block of rows and columns; every matrix
has one owner, who gets its pieces, makes it orthogonal, and sends every rank its piece of the result. Both exchanges
move each piece once, and no rank ever holds more whole matrices than its share.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from shikomi.compute.mesh import exchange, group_of
from shikomi.model.parallel import block, cut_dims

# Quintic Newton–Schulz coefficients that push singular values towards 1 in five steps (Jordan et al. 2024, Muon).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalise(matrices_NRC: Tensor) -> Tensor:
    """Replace each matrix by about U Vᵀ of its singular value decomposition; a stack [N, R, C], any R and C."""
    a, b, c = NEWTON_SCHULZ
    x = matrices_NRC
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def orthogonal(updates: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Each update made orthogonal, matrices of one shape together; multiplied in ``dtype`` if it is given."""
    shapes: dict[torch.Size, list[str]] = {}
    for name, update in updates.items():
        shapes.setdefault(update.shape, []).append(name)
    results: dict[str, Tensor] = {}
    for names in shapes.values():
        stacked = torch.stack([updates[name] for name in names])
        made = orthogonalise(stacked.to(dtype or stacked.dtype)).to(stacked.dtype)
        results |= dict(zip(names, made, strict=True))
    return results


def share_out(costs: Sequence[float], ranks: int) -> list[int]:
    """The owner of each of some tasks, so that ranks work about equally long (largest first, to the least busy)."""
    loads, owners = [0.0] * ranks, [0] * len(costs)
    for task in sorted(range(len(costs)), key=lambda index: (-costs[index], index)):
        owners[task] = min(range(ranks), key=lambda rank: (loads[rank], rank))
        loads[owners[task]] += costs[task]
    return owners


@dataclass(frozen=True)
class _Matrix:
    name: str
    shape: torch.Size
    owner: int
    blocks: list[tuple[slice, ...]]
    copy_of: list[tuple[int, ...]]
    """Which copy of the whole each rank's piece belongs to: the owner takes the pieces of its own copy."""

    def numel(self, rank: int) -> int:
        return math.prod(part.stop - part.start for part in self.blocks[rank])

    def sends(self, source: int) -> bool:
        return self.copy_of[source] == self.copy_of[self.owner]


class SharedMatrices:
    """Matrices in pieces over the ranks of one mesh.

    Args:
        mesh: the ranks that hold the pieces, copies included.
        matrices: by name, in the same order on every rank.
    """

    def __init__(self, mesh: DeviceMesh, matrices: Mapping[str, DTensor]) -> None:
        self.ranks, self.group = mesh.size(), group_of(mesh)
        self.me = mesh.mesh.flatten().tolist().index(mesh.get_rank())
        places = list(itertools.product(*(range(size) for size in mesh.shape)))
        costs = [min(m.shape) ** 2 * max(m.shape) for m in matrices.values()]
        self.matrices = []
        for (name, matrix), owner in zip(matrices.items(), share_out(costs, self.ranks), strict=True):
            dims = cut_dims(matrix)
            blocks = [block(matrix.shape, mesh.shape, dims, place) for place in places]
            copies = [tuple(n for n, dim in zip(place, dims, strict=True) if dim is None) for place in places]
            self.matrices.append(_Matrix(name, matrix.shape, owner, blocks, copies))

    def orthogonal(self, pieces: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """This rank's piece of each matrix made orthogonal; ``pieces`` are its pieces of the updates."""
        made = orthogonal(self._gather(pieces), dtype)
        return self._scatter(made, next(iter(pieces.values())))

    def _gather(self, pieces: Mapping[str, Tensor]) -> dict[str, Tensor]:
        like = next(iter(pieces.values()))
        mine = [matrix for matrix in self.matrices if matrix.owner == self.me]
        parts = [
            self._flat([pieces[m.name] for m in self.matrices if m.owner == rank and m.sends(self.me)], like)
            for rank in range(self.ranks)
        ]
        sizes = [sum(m.numel(rank) for m in mine if m.sends(rank)) for rank in range(self.ranks)]
        whole = {matrix.name: like.new_empty(matrix.shape) for matrix in mine}
        for rank, part in enumerate(exchange(parts, sizes, self.group)):
            for matrix, piece in self._cut(part, [m for m in mine if m.sends(rank)], rank):
                whole[matrix.name][matrix.blocks[rank]] = piece
        return whole

    def _scatter(self, made: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        mine = [matrix for matrix in self.matrices if matrix.owner == self.me]
        parts = [self._flat([made[m.name][m.blocks[rank]] for m in mine], like) for rank in range(self.ranks)]
        owned = [[m for m in self.matrices if m.owner == rank] for rank in range(self.ranks)]
        sizes = [sum(m.numel(self.me) for m in matrices) for matrices in owned]
        pieces: dict[str, Tensor] = {}
        for part, matrices in zip(exchange(parts, sizes, self.group), owned, strict=True):
            pieces |= {matrix.name: piece for matrix, piece in self._cut(part, matrices, self.me)}
        return pieces

    def _cut(self, part: Tensor, matrices: list[_Matrix], rank: int) -> list[tuple[_Matrix, Tensor]]:
        split = part.split([matrix.numel(rank) for matrix in matrices]) if matrices else ()
        shapes = [[side.stop - side.start for side in matrix.blocks[rank]] for matrix in matrices]
        return [(m, piece.view(shape)) for m, piece, shape in zip(matrices, split, shapes, strict=True)]

    def _flat(self, tensors: list[Tensor], like: Tensor) -> Tensor:
        return torch.cat([tensor.flatten() for tensor in tensors]) if tensors else like.new_empty(0)
