"""The one training loop: objectives and batches are plugged in, everything else is the same for all.

Every rank runs it. A step's rows are split over the data ranks; the weight of the whole step is summed over them
before the first backward pass, and gradients are summed: no layout changes what a step computes.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from shikomi.compute.mesh import World, open_world
from shikomi.compute.stop import StopRequest
from shikomi.errors import ShikomiError
from shikomi.io import atomic
from shikomi.log import Progress, silent, tell
from shikomi.model.context import Context, share_sequences
from shikomi.model.parallel import accumulate, become, fill, holds_gradients, parallelize, plain_copy, restore
from shikomi.model.transformer import Transformer
from shikomi.recipe.mesh import ONE_PROCESS, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train.checkpoint import MODEL, Checkpoints, load
from shikomi.train.device import autocast, takes_bfloat16
from shikomi.train.metrics import Gauge, note
from shikomi.train.objective import Objective
from shikomi.train.optim import Optimiser
from shikomi.train.pipelined import Pipeline, open_stages
from shikomi.train.profile import Trace
from shikomi.train.schedule import rate_factor
from shikomi.train.sequences import SharedSequences, share
from shikomi.train.writers import check_writers, open_writers


class Batches(Protocol):
    """Gives the micro-batches of any step, as a pure function of the step's number."""

    def step(self, step: int, part: tuple[int, int] = (0, 1)) -> Sequence[Any]:
        """Micro-batches of step ``step`` (from 0); each has ``weight``, ``num_tokens`` and ``to(device)``.

        Args:
            part: (i, n) gives the i-th of n parts of the step's rows; all parts together are the step.
        """
        ...


class Writer(Protocol):
    """Reads the rows of a run as they are made."""

    def row(self, row: dict[str, Any]) -> None:
        """Take one step's row."""
        ...

    def close(self) -> None:
        """The run has ended."""
        ...


FirstWeights = Callable[[], Iterable[tuple[str, Tensor]]]
"""Gives the weights a run begins with, by name, whole and one at a time."""


@dataclass(frozen=True)
class FitSpec:
    """How long and how: ``steps`` optimiser steps, a checkpoint every ``checkpoint_steps``."""

    steps: int
    optim: OptimPage
    checkpoint_steps: int
    flops_per_token: float = 0.0
    """Training FLOPs of the model a position, for MFU; 0: not known."""


def fit(
    model: Transformer,
    objective: Objective,
    batches: Batches,
    spec: FitSpec,
    out: Path,
    *,
    site: TrainingSite = ONE_PROCESS,
    world: World | None = None,
    weights: FirstWeights | None = None,
    writers: Sequence[Writer] = (),
    stop_requested: Callable[[], bool] | None = None,
    progress: Progress = silent,
) -> dict[str, float]:
    """Train ``model`` in place; writes ``out/metrics.jsonl`` and, under ``out/scratch``, checkpoints.

    A run cut off at any instant and started again with the same arguments goes on from its last checkpoint and ends
    in the same loss curve and weights (bit for bit on the same machine, layout and number of threads).

    Args:
        site: how ranks share the model, precision, what is compiled and recomputed.
        world: the ranks; None: those the environment describes, laid out as the site says.
        weights: of a model without memory (meta tensors): each rank takes its pieces, and none needs room for all.
        writers: get every step's row, on the main rank.
        stop_requested: asked after every step; None: signals (``compute.stop``).

    Returns:
        Facts for the manifest: first and final loss (nats a weighted token; means of the first and last 5 % of
        steps), positions processed, positions a second of this attempt, seconds spent waiting for checkpoints.
        Afterwards the main rank holds the whole trained model; the model of other ranks is without weights.

    Raises:
        ShikomiError: the loss or the gradient is not finite.
        Stopped: the run was asked to stop; its checkpoint is written.
        UsageError, MachineError: the world cannot be opened, or a writer's package is missing.
    """
    check_writers(site.writers)
    world = open_world(site.mesh) if world is None else world
    plain = plain_copy(model)
    engine = _engine(model.train(), world, site)
    bfloat16 = takes_bfloat16(world.device, site.precision)
    on_gpu = world.device.type == "cuda"
    optimiser = Optimiser(model, spec.optim, world, torch.bfloat16 if bfloat16 and on_gpu else None)
    rows_path = out / "scratch" / "metrics.jsonl"
    with ExitStack() as stack:
        if stop_requested is None:
            listening = stack.enter_context(StopRequest())
            stop_requested = lambda: listening.asked  # noqa: E731
        checkpoints = stack.enter_context(Checkpoints(out / "scratch" / "checkpoints", world))
        start = checkpoints.resume(model, optimiser)
        if weights is not None and not start:
            fill(model, weights())
        rows = Rows(rows_path, start, world.main)
        told = [rows, *writers, *_writers(site, spec, out, progress)] if world.main else [rows]
        for writer in told:
            stack.callback(writer.close)
        gauge = Gauge(spec.flops_per_token, world.size, world.device, bfloat16)
        gauge.start(rows.tokens)
        begun = time.perf_counter()
        for step in range(start, spec.steps):
            row = _step(engine, objective, batches, step, optimiser, rate_factor(step, spec.steps, spec.optim))
            row = {"step": step + 1, "tokens": rows.tokens + row.pop("positions"), **row}
            row |= gauge.read(row["tokens"]) | checkpoints.read()
            for writer in told:
                writer.row(row)
            _check(row, out)
            progress(step + 1, spec.steps, "steps", note(row))
            _tell(checkpoints, progress)
            ends, stopped = step + 1 == spec.steps, world.any(stop_requested())
            if not ends and (stopped or (step + 1) % spec.checkpoint_steps == 0):
                checkpoints.save(step + 1, model, optimiser)
            if not ends and stopped:
                checkpoints.finish()
                _tell(checkpoints, progress)
                raise checkpoints.stopped(step + 1)
        seconds = time.perf_counter() - begun
        checkpoints.finish()
        _tell(checkpoints, progress)
        rows.flush()
        _gather(model, plain, world, checkpoints, out)
    if world.main:
        shutil.copyfile(rows_path, out / "metrics.jsonl")
    model.eval()
    speed = round((rows.tokens - rows.tokens_before) / seconds, 1) if seconds else 0.0
    times = {"tokens_per_second": speed, "checkpoint_seconds": round(checkpoints.seconds, 3)}
    return rows.summary() | times | gauge.facts(speed)


def _tell(checkpoints: Checkpoints, progress: Progress) -> None:
    for sentence in checkpoints.news():
        tell(progress, sentence)


def _writers(site: TrainingSite, spec: FitSpec, out: Path, progress: Progress) -> list[Writer]:
    """What a site wants written of a run besides its rows."""
    made = open_writers(site.writers, out, {"stage": out.name, "steps": spec.steps, **spec.optim.model_dump()})
    if site.profile_steps:
        first, last = site.profiled
        made.append(Trace(first, last, out, lambda text: tell(progress, text)))
    return made


@dataclass(frozen=True)
class Blank:
    """A micro-batch that is passed through the model and counts for nothing."""

    micro: Any
    weight: float = 0.0
    num_tokens: int = 0

    def to(self, where: torch.device) -> Blank:
        """The same batch on a device."""
        return Blank(self.micro.to(where))


class Padded:
    """An objective that takes blanks too."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def loss(self, model: Any, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """See ``Objective``; a blank has no loss, and logs none."""
        if not isinstance(batch, Blank):
            return self.objective.loss(model, batch)
        loss, extra = self.objective.loss(model, batch.micro)
        return loss * 0.0, dict.fromkeys(extra, 0.0)


class Engine(Protocol):
    """Makes the gradients of a step."""

    world: World

    def backward(self, objective: Objective, micros: Sequence[Any], weight: float) -> tuple[float, dict[str, float]]:
        """Add the gradients of the loss summed over ``micros`` and divided by ``weight``; returns that sum, and the
        sums that the objective logs, of this data rank."""
        ...


class Accumulation:
    """Micro-batches one after another through the whole model."""

    def __init__(self, model: Transformer, world: World, precision: str) -> None:
        self.model, self.world, self.precision = model, world, precision
        self.holds = holds_gradients(model, world.device)

    def backward(self, objective: Objective, micros: Sequence[Any], weight: float) -> tuple[float, dict[str, float]]:
        """See ``Engine``; where memory allows, gradients are summed over ranks once, after the last micro-batch."""
        where = self.world.device
        total, sums = torch.zeros((), dtype=torch.float64, device=where), dict[str, Any]()
        for number, micro in enumerate(micros):
            accumulate(self.model, last=number == len(micros) - 1, holds=self.holds)
            with autocast(where, self.precision):
                loss, extra = objective.loss(self.model, micro.to(where))
            (loss / weight).backward()
            total += loss.detach()
            for name, value in extra.items():
                sums[name] = sums.get(name, 0.0) + value
        # Read once a step: each read waits for the GPU.
        return float(total), {name: float(value) for name, value in sums.items()}


def _engine(model: Transformer, world: World, site: TrainingSite) -> Engine:
    """Lay the model out; only the parts that this rank keeps come to its device."""
    if world.context_size > 1:
        share_sequences(model, _context(world))
    if world.stages == 1:
        parallelize(model, world.mesh, world.device, site)
        return Accumulation(model, world, site.precision)
    stages = open_stages(model, world, site)
    for stage in stages:
        parallelize(stage, world.mesh, world.device, site)
    return Pipeline(stages, world, site.mesh.schedule, lambda: autocast(world.device, site.precision))


def _context(world: World) -> Context:
    return Context(world.context_rank, world.context_size, world.gather_context, world.tensor_size)


def _step(
    engine: Engine, objective: Objective, batches: Batches, step: int, optimiser: Optimiser, factor: float
) -> dict[str, Any]:
    """One update; the row's numbers are those of the whole step, on every rank."""
    world = engine.world
    part = (world.data_rank, world.data_size)
    micros = batches.step(step, part) if world.data_size > 1 else batches.step(step)
    if world.context_size > 1:
        context = _context(world)
        micros, objective = [share(micro, context) for micro in micros], SharedSequences(objective, context)
    weight = float(sum(micro.weight for micro in micros))
    if world.size > 1:
        counts = world.max(torch.tensor([len(micros), -len(micros)])).tolist()
        if counts[0] != -counts[1]:
            # Passes through a shared model are made together: ranks with fewer rows go along without effect.
            blank = Blank(micros[0] if micros else _any_micro(batches, step, world))
            micros, objective = [*micros, *[blank] * (counts[0] - len(micros))], Padded(objective)
        weight = float(world.sum(torch.tensor(weight, dtype=torch.float64)))
    loss, sums = engine.backward(objective, micros, weight)
    names = sorted(sums)
    own = [loss, sum(micro.num_tokens for micro in micros), *(sums[name] for name in names)]
    loss, positions, *totals = world.sum(torch.tensor(own, dtype=torch.float64)).tolist() if world.size > 1 else own
    norm = optimiser.clip()
    row = {"loss": loss / weight, "grad_norm": norm, "update_norm": 0.0, "rate": factor}
    if math.isfinite(norm):
        row["update_norm"] = optimiser.step(factor)
    return (
        row | {name: total / weight for name, total in zip(names, totals, strict=True)} | {"positions": int(positions)}
    )


def _any_micro(batches: Batches, step: int, world: World) -> Any:
    micro = batches.step(step, (0, world.data_size))[0]
    return share(micro, _context(world)) if world.context_size > 1 else micro


def _check(row: dict[str, Any], out: Path) -> None:
    for name, what in (("loss", "loss is"), ("grad_norm", "the gradient's norm is")):
        if not math.isfinite(row[name]):
            raise ShikomiError(
                f"{what} {row[name]} at step {row['step']}",
                where=str(out),
                hint="lower the rates on this stage's optim page; the last checkpoint is untouched",
            )


def _gather(model: Transformer, plain: nn.Module, world: World, checkpoints: Checkpoints, out: Path) -> None:
    """Turn the model back into a plain one, whole on the main rank."""
    if world.stages == 1:
        restore(model, plain, keep=world.main)
        return
    # No rank of a pipeline can ask the others for their layers: they meet on the disk.
    folder = out / "scratch" / "weights"
    checkpoints.export(model, folder)
    if world.main:
        whole = {MODEL + name: torch.empty_like(value, device="cpu") for name, value in plain.state_dict().items()}
        load(folder, whole)
        plain.load_state_dict({name.removeprefix(MODEL): value for name, value in whole.items()}, assign=True)
    become(model, plain)
    world.barrier()


class Rows:
    """The rows of a run in a file of JSON lines, from its first step on whichever attempt they were made.

    Rows that the disk has no room for wait in memory until it has: a full disk is no reason to end a run.

    Args:
        path: the file; rows after step ``start`` are those of an attempt that was cut off, and go.
        writes: whether this rank writes it.
    """

    def __init__(self, path: Path, start: int, writes: bool) -> None:
        self.losses: list[float] = []
        self.tokens = 0
        kept = []
        if start and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines()[:start]:
                row = json.loads(line)
                kept.append(line)
                self._count(row)
        self.tokens_before = self.tokens
        self._file = None
        if writes:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(path) as handle:
                handle.writelines(line + "\n" for line in kept)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        self._waiting = b""

    def _count(self, row: dict[str, Any]) -> None:
        self.losses.append(row["loss"])
        self.tokens = row["tokens"]

    def row(self, row: dict[str, Any]) -> None:
        """Append one step's row, floats to seven digits; those are what the summary counts, as after a resume."""
        short = {name: float(f"{v:.7g}") if isinstance(v, float) else v for name, v in row.items()}
        self._count(short)
        if self._file is not None:
            self._waiting += json.dumps(short, ensure_ascii=False).encode() + b"\n"
            with suppress(OSError):
                self.flush()

    def flush(self) -> None:
        """Write the rows that wait.

        Raises:
            OSError: there is still no room for them.
        """
        while self._file is not None and self._waiting:
            self._waiting = self._waiting[self._file.write(self._waiting) :]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def summary(self) -> dict[str, float]:
        """First and final loss (means of 5 % of the steps), steps and positions."""
        if not self.losses:
            return {"steps": 0, "first_loss": 0.0, "final_loss": 0.0, "positions": 0}
        window = max(1, len(self.losses) // 20)
        return {
            "steps": len(self.losses),
            "first_loss": round(sum(self.losses[:window]) / window, 4),
            "final_loss": round(sum(self.losses[-window:]) / window, 4),
            "positions": self.tokens,
        }
