"""Rows and batches: what the model sees at step k is a pure function of the recipe and k.

Shape letters: B rows, T positions. A row holds T inputs, their T targets, the weight of each target in the loss and
the number of the document each position belongs to (attention never crosses from one document to another).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from shikomi.data.tokens import TokenShards
from shikomi.errors import DataError
from shikomi.train.order import mix, permute


@dataclass(frozen=True)
class Row:
    """One row: int64 ``tokens_T`` and ``targets_T``, float32 ``weights_T``, int32 ``documents_T``."""

    tokens_T: np.ndarray
    targets_T: np.ndarray
    weights_T: np.ndarray
    documents_T: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Rows stacked: tokens, targets [B, T] int64; weights [B, T] float32; mask [B, 1, T, T] bool, True = visible."""

    tokens_BT: Tensor
    targets_BT: Tensor
    weights_BT: Tensor
    mask: Tensor | None

    @property
    def weight(self) -> float:
        """Sum of the loss weights: the loop divides by its sum over the whole step."""
        return float(self.weights_BT.sum())

    @property
    def num_tokens(self) -> int:
        """Positions in the batch, padding included."""
        return self.tokens_BT.numel()

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        mask = None if self.mask is None else self.mask.to(device)
        return Batch(self.tokens_BT.to(device), self.targets_BT.to(device), self.weights_BT.to(device), mask)


class Rows(Protocol):
    """A source of rows without end: row i depends on the recipe and i alone."""

    def row(self, index: int) -> Row:
        """The row at position ``index`` of this source's order."""
        ...


def stack(rows: list[Row]) -> Batch:
    """Stack rows into a batch with a mask that is causal inside each document."""
    documents_BT = torch.from_numpy(np.stack([row.documents_T for row in rows]))
    length = documents_BT.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same = documents_BT[:, :, None] == documents_BT[:, None, :]
    return Batch(
        tokens_BT=torch.from_numpy(np.stack([row.tokens_T for row in rows])),
        targets_BT=torch.from_numpy(np.stack([row.targets_T for row in rows])),
        weights_BT=torch.from_numpy(np.stack([row.weights_T for row in rows])),
        mask=(same & causal)[:, None],
    )


class CrawlRows:
    """Windows of T tokens over the training shards, each pass in another order and with another offset.

    Raises:
        DataError: fewer tokens than one window.
    """

    def __init__(self, shards: TokenShards, sequence_tokens: int, eos_id: int, seed: int) -> None:
        self.tokens, self.length, self.eos_id, self.seed = shards.tokens, sequence_tokens, eos_id, seed
        self.per_pass = (len(self.tokens) - 1) // sequence_tokens - 1
        if self.per_pass < 1:
            raise DataError(
                f"{len(self.tokens)} training tokens are fewer than two windows of {sequence_tokens}",
                where="sequence_tokens",
                hint="add pages, or make sequence_tokens smaller",
            )

    def row(self, index: int) -> Row:
        """Window ``index``: pass number, then place in that pass."""
        number, place = divmod(index, self.per_pass)
        key = mix(self.seed ^ mix(number))
        start = permute(place, self.per_pass, key) * self.length + key % self.length
        window = np.asarray(self.tokens[start : start + self.length + 1], dtype=np.int64)
        inputs = window[:-1]
        ends = inputs == self.eos_id
        documents = np.zeros(self.length, dtype=np.int32)
        documents[1:] = np.cumsum(ends[:-1])
        return Row(inputs, window[1:], (~ends).astype(np.float32), documents)


class DialogueRows:
    """Dialogues packed into rows of T tokens, whole or not at all; each pass packs a new order.

    Args:
        dialogues: (ids, mask) of each; mask 1 marks what SFT trains on.
        answers_only: weigh by the mask; otherwise every token of the dialogue counts.
        pad_id: fills the rest of a row, with weight 0.

    Raises:
        DataError: no dialogue fits into a row.
    """

    def __init__(
        self,
        dialogues: list[tuple[list[int], list[int]]],
        sequence_tokens: int,
        pad_id: int,
        seed: int,
        *,
        answers_only: bool,
    ) -> None:
        fits = [pair for pair in dialogues if 1 < len(pair[0]) <= sequence_tokens + 1 and any(pair[1][1:])]
        self.too_long = len(dialogues) - len(fits)
        if not fits:
            raise DataError(
                f"none of {len(dialogues)} dialogues fits into {sequence_tokens} tokens",
                where="sequence_tokens",
                hint="raise sequence_tokens, or bring shorter dialogues",
            )
        self.dialogues, self.length, self.pad_id, self.seed = fits, sequence_tokens, pad_id, seed
        self.answers_only = answers_only
        self._passes: list[list[list[int]]] = []
        self._starts = [0]

    def row(self, index: int) -> Row:
        """Row ``index``: passes are packed one after another until it is reached."""
        while self._starts[-1] <= index:
            self._pack()
        number = next(n for n in range(len(self._passes)) if index < self._starts[n + 1])
        return self._build(self._passes[number][index - self._starts[number]])

    def _pack(self) -> None:
        key = mix(self.seed ^ mix(len(self._passes)))
        rows: list[list[int]] = []
        room = 0
        for place in range(len(self.dialogues)):
            chosen = permute(place, len(self.dialogues), key)
            size = len(self.dialogues[chosen][0]) - 1
            if size > room:
                rows.append([])
                room = self.length
            rows[-1].append(chosen)
            room -= size
        self._passes.append(rows)
        self._starts.append(self._starts[-1] + len(rows))

    def _build(self, members: list[int]) -> Row:
        tokens = np.full(self.length, self.pad_id, dtype=np.int64)
        targets = np.full(self.length, self.pad_id, dtype=np.int64)
        weights = np.zeros(self.length, dtype=np.float32)
        documents = np.full(self.length, len(members), dtype=np.int32)
        start = 0
        for number, member in enumerate(members):
            ids, mask = self.dialogues[member]
            end = start + len(ids) - 1
            tokens[start:end], targets[start:end] = ids[:-1], ids[1:]
            weights[start:end] = mask[1:] if self.answers_only else 1.0
            documents[start:end] = number
            start = end
        return Row(tokens, targets, weights, documents)


class MixedRows:
    """Rows of two sources, the second taking ``share`` of them, spread evenly by a counter."""

    def __init__(self, first: Rows, second: Rows, share: float) -> None:
        self.first, self.second, self.share = first, second, share

    def row(self, index: int) -> Row:
        """Row ``index``: from the second source exactly when floor(i · share) steps up."""
        before, after = int(index * self.share), int((index + 1) * self.share)
        return self.second.row(before) if after > before else self.first.row(index - before)


class RowBatches:
    """Steps of ``rows_per_step`` rows, cut into micro-batches of at most ``micro_rows``."""

    def __init__(self, rows: Rows, rows_per_step: int, micro_rows: int) -> None:
        self.rows, self.rows_per_step, self.micro_rows = rows, rows_per_step, micro_rows

    def step(self, step: int) -> list[Batch]:
        """The micro-batches of optimiser step ``step`` (from 0)."""
        rows = [self.rows.row(step * self.rows_per_step + place) for place in range(self.rows_per_step)]
        return [stack(rows[start : start + self.micro_rows]) for start in range(0, len(rows), self.micro_rows)]
