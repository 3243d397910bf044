"""A step through a pipeline: forward and backward passes of its micro-batches, by one of PyTorch's schedules.

All ranks of a pipeline have the step's micro-batches; between stages only hidden states and their gradients travel.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.pipelining import PipelineStage, schedules
from torch.distributed.tensor import DTensor

from shikomi.compute.mesh import World
from shikomi.errors import MachineError, RecipeError
from shikomi.model.config import ModelConfig
from shikomi.model.pipeline import Answer, Asked, Question, Stage, cut, fill, plan_stages
from shikomi.model.transformer import Transformer
from shikomi.recipe.mesh import TrainingSite
from shikomi.train.objective import Objective

STAGES_PER_RANK = {"1f1b": 1, "interleaved": 2, "zero-bubble": 2}
"""Two stages a rank halve the bubble for twice the messages (Narayanan et al. 2021, arXiv 2104.04473)."""
_SCHEDULES = {
    "1f1b": "Schedule1F1B",
    "interleaved": "ScheduleInterleaved1F1B",
    "zero-bubble": "ScheduleInterleavedZeroBubble",
}
PAD_POSITIONS = 64
"""Rows of varying length are padded to a multiple of this, so that few shapes occur (each needs buffers of its own)."""


def open_stages(model: Transformer, world: World, site: TrainingSite) -> list[Stage]:
    """Cut ``model`` in place and give the stages of this rank, first to last.

    Raises:
        RecipeError: fewer layers than stages, or a schedule that cannot be had with what else the site wants.
        MachineError: this PyTorch does not have the schedule.
    """
    plan = check_stages(model.config, site)
    return cut(model, plan, range(world.stage, len(plan), world.stages))


def check_stages(config: ModelConfig, site: TrainingSite) -> list[range]:
    """The layers of each stage that a site's mesh asks for.

    Raises:
        RecipeError: fewer layers than stages, or a schedule that cannot be had with what else the site wants.
        MachineError: this PyTorch does not have the schedule.
    """
    name = site.mesh.schedule
    if site.mesh.pipeline == 1:
        return plan_stages(config, 1)
    if not hasattr(schedules, _SCHEDULES[name]):
        raise MachineError(
            f"this PyTorch ({torch.__version__}) has no {name} schedule",
            where="site: training.mesh.schedule",
            hint="take 1f1b, or PyTorch 2.11 or newer",
        )
    if name == "zero-bubble" and site.compile:
        raise RecipeError(
            "the zero-bubble schedule cannot take compiled layers apart into two backward passes",
            where="site: training.mesh.schedule",
            hint='take schedule = "interleaved", or compile = false',
        )
    return plan_stages(config, site.mesh.pipeline * STAGES_PER_RANK[name])


class Pipeline:
    """Runs steps through the stages of this rank and those of its neighbours.

    Args:
        stages: this rank's, spread over the mesh's other axes already.
        world: its pipeline axis is the one used here.
        schedule: ``1f1b``, ``interleaved`` or ``zero-bubble``.
        autocast: gives the context in which stages and objective compute.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        world: World,
        schedule: str,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.stages, self.world, self.autocast = list(stages), world, autocast
        self.kind = schedule
        for stage in stages:
            stage.autocast = autocast
            for module in stage.modules():
                if isinstance(module, FSDPModule):
                    # Gathered once a step, not once a micro-batch; and zero-bubble's late weight gradients find them.
                    module.set_reshard_after_forward(False)
        self._shape: tuple[int, int, int] = (0, 0, 0)
        self._varies = False
        self._schedule: Any = None
        self._names: list[str] = []
        self._begin(None, (), 1.0)

    def _begin(self, objective: Objective | None, micros: Sequence[Any], weight: float) -> None:
        self._objective, self._micros, self._weight = objective, micros, weight
        self._total = torch.zeros((), dtype=torch.float64, device=self.world.device)
        self._sums: dict[str, float] = {}

    def backward(self, objective: Objective, micros: Sequence[Any], weight: float) -> tuple[float, dict[str, float]]:
        """Add the gradients of a step's loss, summed over ``micros`` and divided by ``weight``.

        Returns:
            The loss summed over ``micros``, and the sums that the objective logs: the same on all stages.
        """
        micros = [micro.to(self.world.device) for micro in micros]
        questions = [self._question(objective, micro) for micro in micros]
        rows = max(tokens_BT.shape[0] for tokens_BT, _ in questions)
        filled = [fill(question, rows, self._tokens(questions)) for question in questions]
        # With several stages a rank, a schedule takes a multiple of the ranks; micro-batches added have no loss.
        added = 0 if STAGES_PER_RANK[self.kind] == 1 else -len(micros) % self.world.stages
        inputs = filled + filled[:1] * added
        self._prepare((len(inputs), rows, filled[0][0].shape[1]))
        for stage in self.stages:
            stage.load(inputs)
        self._begin(objective, micros, weight)
        index = torch.arange(len(inputs))
        self._schedule.step(index, target=index, **_without_outputs(self._schedule))
        self._tie()
        total, sums = self._tell()
        self._begin(None, (), 1.0)
        return total, sums

    def _question(self, objective: Objective, micro: Any) -> tuple[Tensor, Any]:
        try:
            objective.loss(cast(Any, Question(self.stages[0].config)), micro)
        except Asked as asked:
            return asked.inputs
        raise AssertionError(f"{type(objective).__name__} makes a loss without its model")

    def _tokens(self, questions: list[tuple[Tensor, Any]]) -> int:
        lengths = {tokens_BT.shape[1] for tokens_BT, _ in questions} | {self._shape[2] or questions[0][0].shape[1]}
        # Rows of one length keep it; where lengths vary, few shapes should occur: each costs a new schedule.
        self._varies |= len(lengths) > 1
        longest, ranks = max(tokens_BT.shape[1] for tokens_BT, _ in questions), self.world.tensor_size
        if longest % ranks and any(mask is not None for _, mask in questions):
            raise RecipeError(
                f"rows of {longest} tokens cannot be shared by {ranks} ranks",
                where="site: training.mesh.tensor",
                hint=f"take sequence_tokens as a multiple of tensor = {ranks}",
            )
        if self.world.context_size > 1 and any(mask is None for _, mask in questions):
            raise RecipeError(
                "answers that are seen whole cannot be tuned by ranks that share both sequences and layers",
                where="site: training.mesh",
                hint="take context = 1 or pipeline = 1 for preference tuning (shard and tensor go with either)",
            )
        return longest + -longest % (math.lcm(PAD_POSITIONS, ranks) if self._varies else ranks)

    def _prepare(self, shape: tuple[int, int, int]) -> None:
        """A schedule for micro-batches of ``shape``: how many, rows, positions. The last one made is kept."""
        if shape == self._shape:
            return
        assert self.world.mesh is not None
        self._shape, group = shape, self.world.mesh.get_group("pipeline")
        token = torch.empty(1, dtype=torch.int64, device="meta")
        # Ranks of a tensor axis hold parts of the sequence between layers.
        size = (shape[1], shape[2] // self.world.tensor_size, self.stages[0].config.hidden_size)
        hidden = torch.empty(size, dtype=_kind(self.stages[0]), device="meta", requires_grad=True)
        made = [
            PipelineStage(
                stage, stage.number, stage.stages, self.world.device, group=group,
                input_args=token if stage.first else hidden, output_args=hidden,
            )
            for stage in self.stages
        ]  # fmt: skip
        kind = _schedule_class(self.kind, shape[0], self.stages[0].stages)
        parts: Any = made[0] if len(made) == 1 and issubclass(kind, schedules.PipelineScheduleSingle) else made
        self._schedule = kind(parts, shape[0], loss_fn=self._loss, scale_grads=False)

    def _loss(self, hidden_BTD: Tensor, index: Tensor) -> Tensor:
        number = int(index)
        if number >= len(self._micros):
            return hidden_BTD.sum() * 0.0
        assert self._objective is not None
        answered = hidden_BTD.detach().requires_grad_()
        with self.autocast():
            answer = cast(Any, Answer(self.stages[-1], answered))
            loss, sums = self._objective.loss(answer, self._micros[number])
        self._total += loss.detach()
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        # The objective's own graph is gone through here and now: schedules that take backward passes apart would go
        # through it twice. To the stage the loss is a product with its gradient.
        (loss / self._weight).backward()
        assert answered.grad is not None
        return (hidden_BTD * answered.grad).sum()

    def _tie(self) -> None:
        """A tied embedding is at both ends: each gets the sum of both gradients, and so both make the same update."""
        for stage in self.stages:
            weight = cast(Any, stage.embed_tokens).weight if stage.tied else None
            if weight is None or weight.grad is None:
                continue
            gradient: Any = weight.grad
            if isinstance(gradient, DTensor):
                gradient = gradient.redistribute(placements=weight.placements)
                weight.grad, gradient = gradient, gradient.to_local()
            gradient.copy_(self.world.sum_ends(gradient))

    def _tell(self) -> tuple[float, dict[str, float]]:
        """What the last stage knows, on all stages."""
        last = self.stages[-1].last
        if not self._names:
            self._names = _share_names(sorted(self._sums), self.world)
        values = torch.zeros(1 + len(self._names), dtype=torch.float64, device=self.world.device)
        if last:
            values[0] = self._total
            values[1:] = torch.tensor([self._sums[name] for name in self._names], dtype=torch.float64)
        total, *sums = self.world.sum(values, ("pipeline",)).tolist()
        return total, dict(zip(self._names, sums, strict=True))


def _share_names(names: list[str], world: World) -> list[str]:
    written = torch.tensor(list("\n".join(names).encode()), dtype=torch.int64, device=world.device)
    size = int(world.sum(torch.tensor(len(written), device=world.device), ("pipeline",)))
    row = torch.zeros(size, dtype=torch.int64, device=world.device)
    row[: len(written)] = written
    return bytes(world.sum(row, ("pipeline",)).tolist()).decode().split("\n") if size else []


def _kind(stage: Stage) -> torch.dtype:
    """The type of the residual stream: that of the weights, whatever products are made in."""
    return next(iter(stage.parameters())).dtype


def _schedule_class(name: str, micros: int, stages: int) -> Any:
    if name == "1f1b" and micros < stages:
        # With fewer micro-batches than stages there is nothing to alternate with.
        return schedules.ScheduleGPipe
    return getattr(schedules, _SCHEDULES[name])


def _without_outputs(schedule: Any) -> dict[str, bool]:
    """Hidden states of the last stage are not wanted back, where this PyTorch can leave them out."""
    return {"return_outputs": False} if "return_outputs" in inspect.signature(schedule.step).parameters else {}
