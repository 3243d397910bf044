"""Pipeline parallelism: a model cut into stages of consecutive layers, under Hugging Face's names on every rank.

Shape letters: B rows, T positions, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shikomi.errors import RecipeError
from shikomi.model.config import ModelConfig
from shikomi.model.transformer import Transformer
from shikomi.model.vocabulary import output_head


def plan_stages(config: ModelConfig, stages: int) -> list[range]:
    """Which layers each stage holds, so that the slowest stage is as fast as can be.

    A stage's cost is the matmul parameters a token meets there: the last one also has the output head, which at
    V = 128k and D = 4096 weighs as much as 2.4 layers. Where layers do not divide, later stages take the odd ones:
    under 1F1B the first stages hold the most activations.

    Raises:
        RecipeError: fewer layers than stages.
    """
    if stages > config.layers:
        raise RecipeError(
            f"{config.layers} layers cannot be cut into {stages} pipeline stages",
            where="site: training.mesh.pipeline",
            hint=f"a stage holds at least one layer: at most {config.layers} stages "
            "(the interleaved and zero-bubble schedules make two of each rank)",
        )
    if stages == 1:
        return [range(config.layers)]
    head = config.vocab_size * config.hidden_size
    layer = (config.matmul_parameters - head) / config.layers

    def slowest(last: int) -> float:
        return max(-(-(config.layers - last) // (stages - 1)), last + head / layer)

    last = min(range(config.layers - stages + 1, 0, -1), key=slowest)
    each, odd = divmod(config.layers - last, stages - 1)
    sizes = [each + (number >= stages - 1 - odd) for number in range(stages - 1)] + [last]
    starts = [sum(sizes[:number]) for number in range(stages)]
    return [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]


class Stage(nn.Module):
    """Consecutive layers of a model; the first embeds token ids, the last norms and has the head.

    Its modules are the model's own, so that parameters have one name and one place.

    Attributes:
        number, stages: which of how many.
        tied: whether this stage's embedding is also held, with the same weights, at the pipeline's other end.
    """

    def __init__(self, model: Transformer, layers: range, number: int, stages: int) -> None:
        super().__init__()
        self.config, self.number, self.stages = model.config, number, stages
        self.first, self.last = number == 0, number == stages - 1
        self.tied = model.config.tie_embeddings and stages > 1 and (self.first or self.last)
        self.layers = nn.ModuleList(model.model.layers[index] for index in layers)
        self.embed_tokens = model.model.embed_tokens if self.first or self.tied else None
        self.norm = model.model.norm if self.last else None
        self.lm_head = model.lm_head if self.last and not model.config.tie_embeddings else None
        # Not a submodule: it owns this stage's modules, and only its table of angles is asked for.
        self._rotary = model.rotary
        self.inputs: list[tuple[Any, ...]] = []
        """What the model is called with for each micro-batch of the step: tokens [B, T], then what layers need."""
        self.place = 0
        self.autocast: Any = nullcontext

    @property
    def head_weight(self) -> Any:
        """The output matrix [V, D] (or a ``vocabulary.SharedHead``); only the last stage has it."""
        holder = self.embed_tokens if self.lm_head is None else self.lm_head
        assert self.last
        assert holder is not None
        return output_head(cast(Tensor, holder.weight), self.config.vocab_size)

    def load(self, inputs: list[tuple[Any, ...]]) -> None:
        """Take a step's micro-batches; each forward pass of the step is the next of them."""
        self.inputs, self.place = inputs, 0

    def forward(self, received: Tensor) -> Tensor:
        """Hidden states [B, T, D] of the next micro-batch; ``received`` is what the stage before gave, and is not
        looked at by the first stage."""
        tokens_BT, mask = self.inputs[self.place]
        self.place += 1
        with self.autocast():
            rotary = self._rotary(tokens_BT.shape[1], tokens_BT.device)
            x_BTD = cast(nn.Module, self.embed_tokens)(tokens_BT) if self.first else received
            for layer in self.layers:
                x_BTD = layer(x_BTD, rotary, mask)
            return x_BTD if self.norm is None else self.norm(x_BTD)


def cut(model: Transformer, parts: Sequence[range], numbers: Sequence[int]) -> list[Stage]:
    """Take out the stages ``numbers`` of a model cut into ``parts``; what no stage here needs is dropped from the
    model, what stays keeps its name (``model.layers.7.…`` is layer 7 everywhere)."""
    stages = [Stage(model, parts[number], number, len(parts)) for number in numbers]
    kept = {str(index): model.model.layers[index] for number in numbers for index in parts[number]}
    body = cast(Any, model.model)
    body.layers = nn.ModuleDict(kept)
    if not any(stage.embed_tokens is not None for stage in stages):
        body.embed_tokens = None
    if not any(stage.last for stage in stages):
        body.norm = None
        if not model.config.tie_embeddings:
            cast(Any, model).lm_head = None
    return stages


class Asked(Exception):
    """An objective has called the model: ``inputs`` is what with."""

    def __init__(self, inputs: tuple[Any, ...]) -> None:
        super().__init__("an objective's question to its model")
        self.inputs = inputs


class Question:
    """Stands for the model where only the question is wanted: stages before the last need it, not the answer."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.head_weight = torch.empty(config.vocab_size, config.hidden_size, device="meta")

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] without values."""
        return F.linear(hidden.to("meta"), self.head_weight)

    def __call__(self, tokens_BT: Tensor, mask: Any = None) -> Tensor:
        """Never answers.

        Raises:
            Asked: always.
        """
        raise Asked((tokens_BT, mask))


class Answer:
    """Stands for the model on the last stage: its hidden states are there already, made by all stages."""

    def __init__(self, stage: Stage, hidden_BTD: Tensor) -> None:
        self.stage, self.hidden_BTD, self.config = stage, hidden_BTD, stage.config

    @property
    def head_weight(self) -> Any:
        """The output matrix [V, D] (or a ``vocabulary.SharedHead``)."""
        return self.stage.head_weight

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] to logits [..., V]."""
        weight = self.head_weight
        return F.linear(hidden, weight) if isinstance(weight, Tensor) else weight.logits(hidden)

    def __call__(self, tokens_BT: Tensor, mask: Any = None) -> Tensor:
        """Hidden states [B, T, D] of the question; those of padding are left out."""
        rows, tokens = tokens_BT.shape
        return self.hidden_BTD[:rows, :tokens]


def fill(question: tuple[Tensor, Any], rows: int, tokens: int) -> tuple[Tensor, Any]:
    """Pad a question to [rows, tokens], as stages send tensors of one shape: rows are added like the first one, and
    positions on the right, where causal attention cannot see them (rows with documents have one length)."""
    tokens_BT, mask = question
    more_rows, more_tokens = rows - tokens_BT.shape[0], tokens - tokens_BT.shape[1]
    if more_tokens:
        assert mask is None, "packed rows have one length"
        tokens_BT = F.pad(tokens_BT, (0, more_tokens))
    if more_rows:
        tokens_BT = torch.cat((tokens_BT, tokens_BT[:1].expand(more_rows, -1)))
        mask = None if mask is None else mask.more(more_rows)
    return tokens_BT, mask
