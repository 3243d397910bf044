"""A model as evaluation meets it: it answers prompts, and says how likely given texts are.

Shape letters: B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from shikomi.data.dialogue import Message
from shikomi.model import weights
from shikomi.model.answers import Options
from shikomi.model.generate import Generator
from shikomi.model.transformer import Transformer
from shikomi.tokenizer.codec import Codec
from shikomi.train.device import device

BATCH_POSITIONS = 4096
"""Positions of a batch when texts are scored: about 0.3 s of work at 2.4M parameters on one core."""

LOGIT_POSITIONS = 512
"""Positions whose logits are in memory at once: 130 MB at a vocabulary of 65,536."""


@dataclass(frozen=True)
class Reply:
    """An answer: its text, and whether it was still going on when its room was used up."""

    text: str
    cut: bool


@dataclass(frozen=True)
class Scored:
    """Targets of one text that count: ``ids`` and, for each, whether its log-prob is summed (never the first's)."""

    ids: Sequence[int]
    counts: Sequence[int]


class Examinee(Protocol):
    """What evaluation needs of a model."""

    vocab_size: int
    max_tokens: int

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids after which the model answers."""
        ...

    def count(self, text: str) -> int:
        """Tokens of a text."""
        ...

    def reply(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[Reply]:
        """Greedy answers."""
        ...

    def pair_log_probs(self, prompt: Sequence[Message], answers: Sequence[str]) -> list[tuple[float, int]]:
        """Of each answer: log p in nats, summed over its tokens and its end; and how many they are."""
        ...

    def document_bits(self, documents: Sequence[Sequence[int]], window: int) -> list[float]:
        """Bits that each document takes, end token included, each token seen in at most ``window`` of context."""
        ...

    def document_bytes(self, ids: Sequence[int]) -> int:
        """UTF-8 bytes of a document's text."""
        ...


class LoadedModel:
    """The examinee in a model folder (weights in float32, tokenizer beside them)."""

    def __init__(self, model: Transformer, codec: Codec) -> None:
        self.model, self.codec = model.to(device()).eval(), codec
        self.generator = Generator(self.model, [codec.turn_end_id, codec.eos_id])
        self.vocab_size, self.max_tokens = model.config.vocab_size, model.config.max_tokens

    @classmethod
    def open(cls, folder: Path) -> LoadedModel:
        """Load a model folder.

        Raises:
            DataError: no model or no tokenizer there, or a damaged one.
        """
        model, _ = weights.load(folder)
        return cls(model, Codec(folder))

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids after which the model answers."""
        return self.codec.prompt(messages)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.codec.encode(text))

    def reply(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[Reply]:
        """Greedy answers of at most ``max_tokens`` tokens; a prompt longer than the rest loses its beginning."""
        answers = self.generator.generate(prompts, Options(max_tokens=max_tokens))
        return [Reply(self.codec.decode(answer.ids), answer.cut) for answer in answers]

    def pair_log_probs(self, prompt: Sequence[Message], answers: Sequence[str]) -> list[tuple[float, int]]:
        """Of each answer: log p in nats, summed over its tokens and its end; and how many they are.

        Texts longer than the model's context lose the prompt's beginning, then the answer's end.
        """
        start = len(self.codec.prompt(prompt))
        texts = []
        for answer in answers:
            ids, mask = self.codec.dialogue([*prompt, Message("assistant", answer)])
            mask = [0] * start + list(mask[start:])
            last = max(place for place, counts in enumerate(mask) if counts)
            over = max(0, last + 1 - self.max_tokens)
            drop = min(over, start - 1)
            texts.append(Scored(ids[drop : last + 1][: self.max_tokens], mask[drop : last + 1][: self.max_tokens]))
        sums = self._score(texts)
        return [(total, sum(text.counts)) for total, text in zip(sums, texts, strict=True)]

    def document_bits(self, documents: Sequence[Sequence[int]], window: int) -> list[float]:
        """Bits that each document takes, end token included.

        The first token is predicted from the document start (an open base's BOS) or, where there is none, from the end
        token, as lm-evaluation-harness does for whole documents. Longer documents go through overlapping windows: a
        token past the first window is scored with at least half a window before it.
        """
        before = [] if self.codec.start_ids else [self.codec.eos_id]
        texts, owners = [], []
        for number, ids in enumerate(documents):
            for text in windows([*before, *(int(id) for id in ids)], min(window, self.max_tokens)):
                texts.append(text)
                owners.append(number)
        bits = [0.0] * len(documents)
        for owner, total in zip(owners, self._score(texts), strict=True):
            bits[owner] -= total / 0.6931471805599453
        return bits

    def document_bytes(self, ids: Sequence[int]) -> int:
        """UTF-8 bytes of a document's text."""
        return len(self.codec.decode(ids).encode("utf-8"))

    @torch.inference_mode()
    def _score(self, texts: Sequence[Scored]) -> list[float]:
        """Sum of log p over the counted targets of each text, in nats."""
        sums = [0.0] * len(texts)
        for members in _batches([len(text.ids) - 1 for text in texts]):
            tokens_BT, targets_BT, counts_BT = (
                part.to(self.model.head_weight.device) for part in _stack([texts[member] for member in members])
            )
            # Padding lies to the right, where causal attention cannot see it.
            hidden = self.model(tokens_BT)
            found = _log_probs(self.model, hidden[counts_BT], targets_BT[counts_BT]).double().cpu()
            rows = counts_BT.nonzero()[:, 0].cpu()
            totals = torch.zeros(len(members), dtype=torch.float64).index_add(0, rows, found)
            for member, total in zip(members, totals.tolist(), strict=True):
                sums[member] = total
        return sums


def _log_probs(model: Transformer, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
    """log p(target) in nats at each of N positions, float32 [N]; logits exist for a chunk of positions at a time."""
    parts = []
    for hidden, targets in zip(hidden_ND.split(LOGIT_POSITIONS), targets_N.split(LOGIT_POSITIONS), strict=True):
        logits = model.head(hidden).float()
        parts.append(logits.gather(1, targets[:, None])[:, 0] - torch.logsumexp(logits, dim=-1))
    return torch.cat(parts)


def windows(ids: Sequence[int], window: int) -> Iterator[Scored]:
    """Cut a text into windows of at most ``window`` inputs so that every id but the first counts exactly once."""
    done = 1
    while done < len(ids):
        start = 0 if done == 1 else done - (window - max(1, window // 2))
        end = min(start + window + 1, len(ids))
        yield Scored(ids[start:end], [0] * (done - start) + [1] * (end - done))
        done = end


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Members of each batch, like lengths together, at most ``BATCH_POSITIONS`` positions with padding."""
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * lengths[index] > BATCH_POSITIONS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _stack(texts: Sequence[Scored]) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded tokens and targets [B, T] int64, and which targets count [B, T] bool."""
    length = max(len(text.ids) for text in texts) - 1
    tokens = torch.zeros(len(texts), length, dtype=torch.long)
    targets = torch.zeros(len(texts), length, dtype=torch.long)
    counts = torch.zeros(len(texts), length, dtype=torch.bool)
    for row, text in enumerate(texts):
        size = len(text.ids) - 1
        tokens[row, :size] = torch.tensor(text.ids[:-1])
        targets[row, :size] = torch.tensor(text.ids[1:])
        counts[row, :size] = torch.tensor(text.counts[1:], dtype=torch.bool)
    return tokens, targets, counts
