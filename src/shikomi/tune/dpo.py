"""Direct preference optimisation as an objective of the one trainer (Rafailov et al. 2023, arXiv 2305.18290).

Shape letters: P pairs, T positions. A batch holds 2P rows: the chosen answers, then the rejected ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shikomi.data.dialogue import Message, Preference, read_preferences
from shikomi.errors import DataError
from shikomi.log import Progress, silent
from shikomi.model import lora, weights
from shikomi.model.linear_loss import log_probs
from shikomi.model.transformer import Transformer
from shikomi.recipe.mesh import ONE_PROCESS, TrainingSite
from shikomi.recipe.tune import DpoPage
from shikomi.train.ahead import Ahead
from shikomi.train.device import autocast, device
from shikomi.train.loop import FitSpec, fit
from shikomi.train.memory import check_memory
from shikomi.train.order import mix, permute
from shikomi.train.stretch import Codec, finish


@dataclass(frozen=True)
class Side:
    """One answer with its prompt: ``ids`` and ``mask`` (1 on answer tokens, end token included)."""

    ids: list[int]
    mask: list[int]


@dataclass(frozen=True)
class PairBatch:
    """2P rows: tokens, targets [2P, T] int64, answers [2P, T] bool; reference [2P] float32 (log-prob sums in nats)."""

    tokens: Tensor
    targets: Tensor
    answers: Tensor
    reference: Tensor

    @property
    def weight(self) -> float:
        """Number of pairs."""
        return self.tokens.shape[0] / 2

    @property
    def num_tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.tokens.numel()

    def to(self, where: torch.device) -> PairBatch:
        """The same batch on a device."""
        return PairBatch(*(part.to(where) for part in (self.tokens, self.targets, self.answers, self.reference)))


def pad_sides(sides: list[Side], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Stack sides to the right-padded tokens, targets and answer mask, each [rows, T]."""
    length = max(len(side.ids) for side in sides) - 1
    tokens = np.full((len(sides), length), pad_id, dtype=np.int64)
    targets = np.full((len(sides), length), pad_id, dtype=np.int64)
    answers = np.zeros((len(sides), length), dtype=bool)
    for row, side in enumerate(sides):
        end = len(side.ids) - 1
        tokens[row, :end], targets[row, :end] = side.ids[:-1], side.ids[1:]
        answers[row, :end] = np.asarray(side.mask[1:], dtype=bool)
    return torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(answers)


def answer_log_probs(model: Transformer, tokens: Tensor, targets: Tensor, answers: Tensor) -> Tensor:
    """Sum of log p over each row's answer tokens, in nats, float32 [rows]; logits are made on answers only."""
    # Padding lies to the right, where causal attention cannot see it.
    hidden = model(tokens)
    scores = log_probs(hidden[answers], model.head_weight, targets[answers])
    rows = answers.nonzero()[:, 0]
    return torch.zeros(tokens.shape[0], device=scores.device).index_add(0, rows, scores)


class DpoObjective:
    """-log σ(β · D) per pair, D the policy's margin over the reference's, plus ``chosen_nll`` · nats a token."""

    def __init__(self, beta: float, chosen_nll: float = 0.0) -> None:
        self.beta, self.chosen_nll = beta, chosen_nll

    def loss(self, model: Transformer, batch: PairBatch) -> tuple[Tensor, dict[str, float]]:
        """Loss summed over pairs; logs margin, accuracy and both sides' log-probs."""
        sums = answer_log_probs(model, batch.tokens, batch.targets, batch.answers)
        chosen, rejected = sums.chunk(2)
        reference_chosen, reference_rejected = batch.reference.chunk(2)
        margin = (chosen - reference_chosen) - (rejected - reference_rejected)
        loss = -F.logsigmoid(self.beta * margin).sum()
        if self.chosen_nll:
            lengths = batch.answers[: len(chosen)].sum(dim=1)
            loss = loss + self.chosen_nll * (-chosen / lengths).sum()
        with torch.no_grad():
            logged = {
                "margin": float(margin.sum()),
                "accuracy": float((margin > 0).sum()),
                "chosen_logp": float(chosen.sum()),
                "rejected_logp": float(rejected.sum()),
            }
        return loss, logged


class PairBatches:
    """Steps of ``batch_pairs`` pairs in a keyed order, with the reference's log-probs beside them."""

    def __init__(self, pairs: list[tuple[Side, Side]], reference: Tensor, page: DpoPage, pad_id: int) -> None:
        self.pairs, self.reference, self.page, self.pad_id = pairs, reference, page, pad_id

    def index(self, place: int) -> int:
        """Which pair comes at ``place``: every pass has its own permutation."""
        number, inside = divmod(place, len(self.pairs))
        return permute(inside, len(self.pairs), mix(self.page.seed ^ mix(number)))

    def step(self, step: int, part: tuple[int, int] = (0, 1)) -> list[PairBatch]:
        """The micro-batches of step ``step`` that part i of n, ``part`` = (i, n), takes."""
        first = step * self.page.batch_pairs
        last = min(first + self.page.batch_pairs, self.page.pairs)
        chosen = [self.index(place) for place in range(first + part[0], last, part[1])]
        size = self.page.micro_batch_pairs
        return [self._build(chosen[start : start + size]) for start in range(0, len(chosen), size)]

    def _build(self, members: list[int]) -> PairBatch:
        sides = [self.pairs[member][0] for member in members] + [self.pairs[member][1] for member in members]
        return PairBatch(*pad_sides(sides, self.pad_id), self.reference[:, members].flatten())


def encode_pairs(preferences: list[Preference], codec: Codec, max_tokens: int) -> tuple[list[tuple[Side, Side]], int]:
    """Encode both sides of each preference; pairs with a side longer than ``max_tokens`` are left out and counted."""
    pairs, too_long = [], 0
    for row in preferences:
        both = [Side(*codec.dialogue((*row.prompt, Message("assistant", text)))) for text in (row.chosen, row.rejected)]
        if max(len(side.ids) for side in both) > max_tokens:
            too_long += 1
            continue
        pairs.append((both[0], both[1]))
    return pairs, too_long


@torch.no_grad()
def reference_log_probs(
    model: Transformer, pairs: list[tuple[Side, Side]], pad_id: int, batch_pairs: int, precision: str = "auto"
) -> Tensor:
    """The reference's answer log-prob sums, float32 [2, pairs], by the same kernel and dtype as the policy's."""
    where = device()
    model.to(where).eval()
    out = torch.zeros(2, len(pairs))
    for start in range(0, len(pairs), batch_pairs):
        members = pairs[start : start + batch_pairs]
        for side in (0, 1):
            padded = [part.to(where) for part in pad_sides([pair[side] for pair in members], pad_id)]
            with autocast(where, precision):
                out[side, start : start + len(members)] = answer_log_probs(model, *padded).cpu()
    return out


def dpo(
    page: DpoPage,
    before: Path,
    dialogues: Path,
    tokenizer: Path,
    codec: Codec,
    out: Path,
    *,
    site: TrainingSite = ONE_PROCESS,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Tune the model in ``before`` on ``preferences.jsonl``; the reference is that model as it came in.

    Raises:
        DataError: no pair fits into the model's context.
        MachineError: more memory than there is.
    """
    config = weights.read_config(before)
    preferences = list(read_preferences(dialogues / "preferences.jsonl"))
    pairs, too_long = encode_pairs(preferences, codec, config.max_tokens)
    if not pairs:
        raise DataError(
            f"none of {len(preferences)} preference pairs fits into {config.max_tokens} tokens",
            where=str(dialogues / "preferences.jsonl"),
            hint="raise model.max_tokens, or bring shorter answers",
        )
    lengths = sum(len(side.ids) for pair in pairs for side in pair) / (2 * len(pairs))
    check_memory(
        config, "dpo", page.optim, site, rows=2 * page.micro_batch_pairs, step_rows=2 * page.batch_pairs,
        sequence_tokens=round(lengths), lora=page.lora,
    )  # fmt: skip
    model, _ = weights.load(before)
    # The reference is the model before its first update and without adapters: no second copy is needed.
    reference = reference_log_probs(model, pairs, codec.pad_id, page.micro_batch_pairs, site.precision)
    lora.adapt(model, page.lora, page.seed)
    batches = PairBatches(pairs, reference, page, codec.pad_id)
    steps = -(-page.pairs // page.batch_pairs)
    flops = config.flops_per_token(round(lengths))
    spec = FitSpec(steps, page.optim, page.checkpoint_steps, flops_per_token=flops)
    objective = DpoObjective(page.beta, page.chosen_nll)
    with Ahead(batches, steps) as ahead:
        facts: dict[str, Any] = fit(model, objective, ahead, spec, out, site=site, progress=progress)
    # Policy forward and backward: 6 · parameters a token, as next-token training; the reference adds 2.
    facts |= {"flops": flops * facts["positions"] * 4 / 3}
    facts |= {"pairs": page.pairs, "pairs_distinct": len(pairs), "pairs_too_long": too_long}
    return finish(model, tokenizer, out, facts, before, crawl_share=0.0, dialogue_share=1.0)
