"""The one door to collectives: the ranks that train one model together, how they are laid out, and what they exchange.

A world is opened once in a process (``open_world``); later stages of the same process lay the same ranks out anew.
Without ``WORLD_SIZE`` in the environment the world is this process alone, and nothing here starts anything.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from shikomi.errors import MachineError, UsageError
from shikomi.recipe.mesh import MeshPage

AXES = ("pipeline", "replicate", "shard", "context", "tensor")
"""Axes of every mesh, from the one whose ranks talk least to the one whose ranks talk most: neighbours in rank share a
machine, so the last axis stays inside one (the order of torchtitan and Megatron-LM)."""
DATA_AXES = ("replicate", "shard")
"""Ranks that see other rows."""
JOIN_SECONDS = 300.0
"""How long ranks wait for each other at the start: loading torch from a cold shared disk takes minutes at worst."""
COLLECTIVE_SECONDS = 1800.0
"""Longest wait inside one collective (PyTorch's own default for gloo): a rank may be compiling or saving."""


@dataclass(frozen=True)
class World:
    """The ranks that train one model together; this process is one of them.

    Attributes:
        rank, size: this rank's number and how many there are.
        device: where this rank computes.
        mesh: all ranks by ``AXES``; None when this process is alone.
        degrees: ranks along each axis.
    """

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None
    degrees: dict[str, int]

    def place(self, axis: str) -> int:
        """This rank's number along an axis."""
        return 0 if self.mesh is None else self.mesh.get_local_rank(axis)

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes and tells (rank 0)."""
        return self.rank == 0

    @property
    def data_rank(self) -> int:
        """Which part of each step's rows this rank sees, of ``data_size``."""
        return self.place("replicate") * self.degrees["shard"] + self.place("shard")

    @property
    def data_size(self) -> int:
        """Parts into which each step's rows are split."""
        return self.degrees["replicate"] * self.degrees["shard"]

    @property
    def context_rank(self) -> int:
        """Which part of each sequence this rank sees, of ``context_size``."""
        return self.place("context")

    @property
    def context_size(self) -> int:
        """Ranks that share each sequence."""
        return self.degrees["context"]

    @property
    def tensor_size(self) -> int:
        """Ranks that share each matrix product."""
        return self.degrees["tensor"]

    @property
    def stage(self) -> int:
        """Which consecutive layers this rank holds, of ``stages``."""
        return self.place("pipeline")

    @property
    def stages(self) -> int:
        """Ranks that hold consecutive layers each."""
        return self.degrees["pipeline"]

    def sum(self, tensor: Tensor, axes: Sequence[str] = (*DATA_AXES, "context")) -> Tensor:
        """The sum of a tensor over the ranks along ``axes``, the same bits on all of them; a new tensor."""
        return self._reduce(tensor, axes, dist.ReduceOp.SUM)

    def max(self, tensor: Tensor, axes: Sequence[str] = (*DATA_AXES, "context")) -> Tensor:
        """The largest of a tensor's elements over the ranks along ``axes``; a new tensor."""
        return self._reduce(tensor, axes, dist.ReduceOp.MAX)

    def gather_context(self, local: Tensor) -> Tensor:
        """What the ranks that share a sequence hold, [...] each, stacked to [context_size, ...]; with gradients: that
        of a rank's part is summed over the ranks."""
        if self.mesh is None or self.context_size == 1:
            return local[None]
        return _Gather.apply(local, self.mesh.get_group("context"), self.context_size)  # type: ignore[return-value]

    def sum_ends(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over the first and the last stage, which alone call it; a new tensor."""
        result = tensor.clone()
        if self.mesh is not None and self.stages > 1:
            line = dist.get_process_group_ranks(self.mesh.get_group("pipeline"))
            dist.all_reduce(result, group=_group((line[0], line[-1])))
        return result

    def any(self, flag: bool) -> bool:
        """Whether a flag is raised on any rank: all ranks get the same answer."""
        if self.size == 1:
            return flag
        return bool(self.max(torch.tensor(int(flag)), AXES))

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            self.any(False)

    def _reduce(self, tensor: Tensor, axes: Sequence[str], how: Any) -> Tensor:
        result = tensor.clone()
        for axis in axes:
            if self.mesh is not None and self.degrees[axis] > 1:
                dist.all_reduce(result, how, group=self.mesh.get_group(axis))
        return result


# PyTorch 2.13 gives these new names, and warns of the old ones.
_all_gather: Any = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter: Any = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class _Gather(torch.autograd.Function):
    """Gather forward, sum and scatter back. Gradients are made contiguous first: gloo reads them as if they were, and
    ``torch.distributed.nn.functional.all_gather`` so gives wrong ones without a word (torch 2.13)."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, group: dist.ProcessGroup, size: int) -> Tensor:
        ctx.group = group
        gathered = local.new_empty((size * local.shape[0], *local.shape[1:]))
        _all_gather(gathered, local.contiguous(), group=group)
        return gathered.view(size, *local.shape)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        gradient = grad_outputs[0].contiguous()
        own = torch.empty_like(gradient[0])
        _reduce_scatter(own, gradient.flatten(0, 1), group=ctx.group)
        return own, None, None


_worlds: dict[tuple[int, ...], World] = {}
_groups: dict[tuple[int, ...], Any] = {}


def open_world(page: MeshPage, *, join_seconds: float = JOIN_SECONDS) -> World:
    """The world that ``RANK`` and ``WORLD_SIZE`` of the environment describe (as torchrun sets them), laid out.

    Args:
        page: the degrees; ``shard = 0`` takes all ranks that the other degrees leave.
        join_seconds: how long to wait for ranks that have not started.

    Raises:
        UsageError: the degrees do not multiply to the number of ranks.
        MachineError: a rank never joined (named), the port is taken, or there are fewer devices than ranks.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    degrees = resolve_degrees(page, size)
    key = tuple(degrees.values())
    if key not in _worlds:
        rank = int(os.environ.get("RANK", "0"))
        device = _device()
        mesh = None
        if size > 1:
            if not dist.is_initialized():
                _join(rank, size, device, join_seconds)
            mesh = init_device_mesh(device.type, key, mesh_dim_names=AXES)
        _worlds[key] = World(rank, size, device, mesh, degrees)
    return _worlds[key]


def close_world() -> None:
    """Leave the process group; the next ``open_world`` joins anew. Without one it does nothing."""
    _worlds.clear()
    _groups.clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def resolve_degrees(page: MeshPage, size: int) -> dict[str, int]:
    """Ranks along each of ``AXES`` in a world of ``size``.

    Raises:
        UsageError: the degrees do not multiply to ``size``.
    """
    others, shard = page.sharers, page.shard_of(size)
    if shard * others != size:
        asked = " x ".join(f"{axis} {getattr(page, axis)}" for axis in AXES if getattr(page, axis) > 1) or "all 1"
        need = f"{others * page.shard}" if page.shard else f"a multiple of {others}"
        raise UsageError(
            f"the mesh ({asked}) needs {need} rank{'s' if need != '1' else ''}, and there {_are(size)}",
            where="site: [training.mesh]",
            hint=f"start {need} (shikomi build --launch torchrun), or make the degrees' product divide {size}",
        )
    return {axis: shard if axis == "shard" else getattr(page, axis) for axis in AXES}


def group_of(mesh: DeviceMesh) -> dist.ProcessGroup:
    """One process group over all ranks of a mesh of any number of axes, in the order of ``mesh.mesh.flatten()``."""
    if mesh.ndim == 1:
        return mesh.get_group()
    return _group(tuple(int(rank) for rank in mesh.mesh.flatten()))


def _group(ranks: tuple[int, ...]) -> dist.ProcessGroup:
    if ranks not in _groups:
        _groups[ranks] = dist.new_group(list(ranks), use_local_synchronization=True)
    return _groups[ranks]


def side_group(world: World) -> dist.ProcessGroup | None:
    """A gloo group of all ranks for what goes on beside the steps (checkpoints), whose messages never mix with theirs.

    Every rank calls it at the same point; None when this process is alone.
    """
    if world.size == 1:
        return None
    if () not in _groups:
        _groups[()] = dist.new_group(backend="gloo", timeout=timedelta(seconds=COLLECTIVE_SECONDS))
    return _groups[()]


def exchange(parts: Sequence[Tensor], sizes: Sequence[int], group: dist.ProcessGroup) -> list[Tensor]:
    """Send part i to rank i of a group and get what every rank has for this one.

    Args:
        parts: flat tensors of one type on one device, one for each rank; empty ones cost nothing.
        sizes: elements to expect of each rank.
    """
    sent = torch.cat(list(parts))
    got = sent.new_empty(sum(sizes))
    dist.all_to_all_single(got, sent, list(sizes), [part.numel() for part in parts], group=group)
    return list(got.split(list(sizes)))


def _are(size: int) -> str:
    return "is 1" if size == 1 else f"are {size}"


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= count:
        raise MachineError(
            f"local rank {local} has no GPU of its own: this machine shows {count}",
            where=f"rank {os.environ.get('RANK', '0')}",
            hint=f"start at most {count} ranks on this machine (torchrun --nproc-per-node {count})",
        )
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device


def _join(rank: int, size: int, device: torch.device, seconds: float) -> None:
    store = _store(rank, size, seconds)
    _wait_for_all(store, rank, size, seconds)
    # Numbers that live on the CPU are summed there, by gloo, without waiting for the GPU.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    limit = timedelta(seconds=COLLECTIVE_SECONDS)
    group = PrefixStore("group", store)
    dist.init_process_group(backend, store=group, rank=rank, world_size=size, timeout=limit)


def _store(rank: int, size: int, seconds: float) -> Any:
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "29500"))
    # torchrun's agent keeps the store itself and outlives its workers: each restart counts as a meeting of its own.
    served = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    meeting = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    hosts = rank == 0 and not served
    try:
        store = TCPStore(host, port, size, is_master=hosts, timeout=timedelta(seconds=seconds), wait_for_workers=False)
    except (RuntimeError, ValueError) as error:
        if hosts and "EADDRINUSE" in str(error):
            raise MachineError(
                f"port {port} is in use on this machine",
                where=f"rank 0, {host}:{port}",
                hint="another run has it: end that one, or choose a free port (MASTER_PORT)",
            ) from error
        raise MachineError(
            f"rank {rank} could not meet rank 0 within {seconds:.0f} seconds",
            where=f"{host}:{port}",
            hint="see that rank 0 runs and that MASTER_ADDR and MASTER_PORT name it on every rank",
        ) from error
    return PrefixStore(f"shikomi/{meeting}", store)


def _wait_for_all(store: Any, rank: int, size: int, seconds: float) -> None:
    """Every rank signs in; whoever waits in vain says whose name is missing."""
    store.set(f"joined/{rank}", os.environ.get("HOSTNAME", "") or "here")
    until, missing, pause = time.monotonic() + seconds, list(range(size)), 0.01
    while missing and time.monotonic() < until:
        missing = [other for other in missing if not store.check([f"joined/{other}"])]
        if missing:
            time.sleep(pause)
            pause = min(pause * 2, 1.0)
    if missing:
        joined = size - len(missing)
        raise MachineError(
            f"{_ranks(missing)} of {size} never joined within {seconds:.0f} seconds ({joined} did)",
            where=f"rank {rank}",
            hint="look into the logs of the missing ranks; each machine starts its own share of them",
        )


def _ranks(ranks: list[int], shown: int = 8) -> str:
    names = ", ".join(map(str, ranks[:shown])) + (f" and {len(ranks) - shown} more" if len(ranks) > shown else "")
    return f"rank {names}" if len(ranks) == 1 else f"ranks {names}"
