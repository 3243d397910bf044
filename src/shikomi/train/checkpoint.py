"""Checkpoints a run resumes from: sharded, written in the background, published by a manifest, the last few kept.

Saving copies this rank's part of the state to host memory (the only time the steps wait) and hands it to a thread,
which writes it through ``torch.distributed.checkpoint``; ``train.storage`` is what it writes: safetensors and JSON.
Whatever layout wrote a checkpoint, any other reads it.
"""

from __future__ import annotations

import shutil
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict_loader import load as read_state
from torch.distributed.checkpoint.state_dict_saver import save as write_state

from shikomi.compute.mesh import AXES, World, side_group
from shikomi.errors import DataError, Stopped
from shikomi.io import PARTIAL_SUFFIX, sync_folder
from shikomi.train.optim import Optimiser
from shikomi.train.storage import MANIFEST, Part, PartPlanner, ShardReader, ShardWriter, damage, part_of, read_manifest

KEEP = 2
MODEL, OPTIMISER = "model.", "optimiser."
"""What the names in a checkpoint begin with."""
GIVE_UP_SECONDS = 60.0
"""Longest wait for a checkpoint being written when the run ends by an error: other ranks may be gone."""

# One process alone is no oversight of ours.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")


class Checkpoints:
    """The checkpoints of one run; at most one is being written at a time.

    A checkpoint that cannot be written (a full disk) does not end the run: its half is removed, ``news`` tells it, and
    the last finished one stays what a resume begins from. Every rank calls every method, at the same step.

    Attributes:
        seconds: how long the steps have waited for checkpoints so far: ``seconds`` over those of the run is the stall.
        written, failed: checkpoints that were finished, and that could not be.

    Args:
        folder: where they live; the same folder on every rank.
        world: the ranks that hold the state together.
        keep: how many finished ones to keep.
    """

    def __init__(self, folder: Path, world: World, keep: int = KEEP) -> None:
        self.folder, self.world, self.keep = folder, world, keep
        self.seconds, self.written, self.failed = 0.0, 0, 0
        self._group = side_group(world)
        self._host: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._step, self._error = 0, ""
        self._news: list[str] = []
        self._told_seconds = 0.0

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.finish()
        elif self._thread is not None:
            self._thread.join(GIVE_UP_SECONDS)

    def save(self, step: int, model: nn.Module, optimiser: Optimiser) -> float:
        """Begin to write the state after ``step`` steps; returns the seconds the steps waited for it."""
        begun = time.perf_counter()
        self.finish()
        parts, copied = self._copy(state_of(model, optimiser))
        self._step, self._error = step, ""
        self._thread = threading.Thread(target=self._write, args=(step, parts, copied), name="checkpoint", daemon=True)
        self._thread.start()
        waited = time.perf_counter() - begun
        self.seconds += waited
        return waited

    def finish(self) -> None:
        """Wait until the checkpoint that is being written is finished, or has failed."""
        if self._thread is not None:
            self._thread.join()
            self._collect()

    def news(self) -> list[str]:
        """What happened since this was last asked, in sentences: checkpoints that failed or were found damaged."""
        self._look()
        news, self._news = self._news, []
        return news

    def read(self) -> dict[str, Any]:
        """For the row of a step: ``checkpoint_seconds`` waited since the last row that told any, and news as ``note``;
        nothing where there is nothing to tell."""
        self._look()
        found: dict[str, Any] = {"note": "; ".join(self._news)} if self._news else {}
        if self.seconds > self._told_seconds:
            found["checkpoint_seconds"] = round(self.seconds - self._told_seconds, 4)
            self._told_seconds = self.seconds
        return found

    def stopped(self, step: int) -> Stopped:
        """What to raise after ``step`` steps when the run was asked to stop and the last save is finished."""
        last = max(self._finished(), default=0)
        note = "" if last == step else f"; its checkpoint could not be written, the last one is of step {last}"
        return Stopped(f"stopped on request at step {step}{note}; the same command goes on")

    def resume(self, model: nn.Module, optimiser: Optimiser) -> int:
        """Load the newest good checkpoint into model and optimiser; returns the steps it holds, 0 if there is none.

        Raises:
            DataError: the checkpoint is of another model or optimiser, or none of those that are there can be read.
        """
        if self.world.main:
            for partial in self.folder.glob(f"step-*{PARTIAL_SUFFIX}"):
                shutil.rmtree(partial, ignore_errors=True)
        state, tried = state_of(model, optimiser), set()
        while (step := self._newest(tried)) > 0:
            tried.add(step)
            folder = self._path(step)
            self._agree(mismatch(folder, state, whole=self.world.stages == 1))
            try:
                load(folder, state)
                problem = ""
            except DataError as error:
                problem = f"{error.what} ({error.where})"
            if not self.world.any(bool(problem)):
                model.load_state_dict(below(state, MODEL), strict=False)
                optimiser.load(below(state, OPTIMISER))
                return step
            self._news.append(
                f"the checkpoint of step {step} is passed over: {problem or 'another rank cannot read it'}"
            )
        if tried or step < 0:
            raise DataError(
                "none of the checkpoints here can be read", where=str(self.folder),
                hint="put back the files that are missing, or delete the folder to begin from the first step",
            )  # fmt: skip
        return 0

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the model's weights alone, each rank its part, and wait for it; ``load`` reads them on one rank.

        Raises:
            OSError: they cannot be written.
        """
        self.finish()
        parts, copied = self._copy({MODEL + name: value for name, value in model.state_dict().items()})
        problem = self._save(folder, parts, copied, {})
        self._host = {}
        if problem:
            raise OSError(f"the weights could not be written: {problem}")

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _copy(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Part], torch.cuda.Event | None]:
        """This rank's parts in host memory of their own, and what to wait for before they are there."""
        parts = {name: part_of(name, value) for name, value in state.items()}
        event = None
        for name, part in parts.items():
            if not part.written:
                continue
            host = self._host.get(name)
            if host is None or host.shape != part.local.shape or host.dtype != part.local.dtype:
                host = torch.empty(part.local.shape, dtype=part.local.dtype, pin_memory=part.local.is_cuda)
                self._host[name] = host
            # On a GPU the copy takes its turn before the next step's kernels: they cannot change what it reads.
            host.copy_(part.local, non_blocking=part.local.is_cuda)
            if part.local.is_cuda and event is None:
                event = torch.cuda.Event()
            parts[name] = replace(part, local=host)
        if event is not None:
            event.record()
        return parts, event

    def _write(self, step: int, parts: dict[str, Part], copied: torch.cuda.Event | None) -> None:
        final = self._path(step)
        partial = final.with_name(final.name + PARTIAL_SUFFIX)
        problem = self._save(partial, parts, copied, {"step": step})
        try:
            if problem:
                raise OSError(problem)
            if self.world.main:
                shutil.rmtree(final, ignore_errors=True)
                partial.rename(final)
                sync_folder(self.folder)
                for old in self._finished()[: -self.keep]:
                    shutil.rmtree(self._path(old), ignore_errors=True)
        except OSError as error:
            self._error = str(error)
            if self.world.main:
                shutil.rmtree(partial, ignore_errors=True)

    def _save(self, folder: Path, parts: dict[str, Part], copied: Any, told: dict[str, Any]) -> str:
        """Write one checkpoint into a folder; returns why it could not be, empty if it was."""
        try:
            if copied is not None:
                copied.synchronize()
            writer = ShardWriter(folder, self.world.rank, told)
            write_state(
                dict(parts),
                storage_writer=writer,
                planner=PartPlanner(),
                process_group=self._group,
                no_dist=self.world.size == 1,
            )
        except BaseException as error:  # dcp tells of other ranks' failures by an exception that is no Exception
            failures = getattr(error, "failures", None)
            causes = {rank: cause for rank, (cause, _) in failures.items()} if failures else {self.world.rank: error}
            rank, cause = next(iter(causes.items()))
            where = f" on rank {rank}" if self.world.size > 1 else ""
            return f"{getattr(cause, 'strerror', None) or cause}{where}"
        return ""

    def _look(self) -> None:
        if self._thread is not None and not self._thread.is_alive():
            self._collect()

    def _collect(self) -> None:
        self._thread = None
        if not self._error:
            self.written += 1
            return
        self.failed += 1
        last = max(self._finished(), default=0)
        back = f"the one of step {last} stays the last good one" if last else "there is none to go back to yet"
        self._news.append(f"the checkpoint of step {self._step} could not be written ({self._error}); {back}")

    def _finished(self) -> list[int]:
        """Steps of the checkpoints that have their manifest, oldest first."""
        paths = self.folder.glob(f"step-*/{MANIFEST}")
        names = (path.parent.name for path in paths)
        return sorted(int(name.removeprefix("step-")) for name in names if name.removeprefix("step-").isdecimal())

    def _newest(self, tried: set[int]) -> int:
        """The step of the newest checkpoint not yet tried whose files are whole; 0: none is there, -1: all damaged."""
        found = 0
        if self.world.main:
            for step in reversed([step for step in self._finished() if step not in tried]):
                problem = damage(self._path(step))
                if not problem:
                    found = step
                    break
                found = -1
                self._news.append(f"the checkpoint of step {step} is passed over: {problem}")
        if self.world.size > 1:
            known = torch.tensor(found if self.world.main else -2, device=self.world.device)
            found = int(self.world.max(known, AXES))
        return found

    def _agree(self, problem: DataError | None) -> None:
        """Raise on every rank when there is a problem on one."""
        if self.world.any(problem is not None):
            raise problem or DataError("the checkpoint is of another model", where=str(self.folder))


def state_of(model: nn.Module, optimiser: Optimiser) -> dict[str, Tensor]:
    """Everything a resume needs, by name: the model's tensors and the optimiser's, of this rank."""
    model_state = {MODEL + name: value for name, value in model.state_dict().items()}
    return model_state | {OPTIMISER + name: value for name, value in optimiser.state().items()}


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def load(folder: Path, state: dict[str, Tensor]) -> None:
    """Fill the tensors of ``state`` in place from a checkpoint of whatever layout; each rank reads what it needs.

    Raises:
        DataError: a file is missing, or damaged.
    """
    planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    try:
        read_state(state, storage_reader=ShardReader(folder), planner=planner, no_dist=True)
    except CheckpointException as error:
        cause = next(iter(error.failures.values()))[0]
        if isinstance(cause, DataError):
            raise cause from error
        raise


def mismatch(folder: Path, state: Mapping[str, Tensor], *, whole: bool) -> DataError | None:
    """What shows that a checkpoint is of another model or optimiser than ``state``; None if nothing does.

    Args:
        folder: a finished checkpoint.
        state: this rank's tensors by name.
        whole: whether ``state`` names every tensor there is (ranks of a pipeline hold some of the layers).
    """
    saved = {name: row["shape"] for name, row in read_manifest(folder)["tensors"].items()}
    for name in sorted(state.keys() | (saved.keys() if whole else set())):
        here = list(state[name].shape) if name in state else None
        there = saved.get(name)
        if here == there:
            continue
        told = "is not in it" if there is None else "is not in this model" if here is None else ""
        return DataError(
            f"the checkpoint is of another model: tensor {name} {told or f'has shape {there} there and {here} here'}",
            where=str(folder),
            hint="give the recipe it was made with, or delete the folder to begin from the first step",
        )
    return None
