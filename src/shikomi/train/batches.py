"""Rows and batches: what the model sees at step k is a pure function of the recipe and k.

Shape letters: B rows, T positions. A row holds T inputs, their T targets, the weight of each target in the loss and
the number of the document each position belongs to (attention never crosses from one document to another).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from shikomi.errors import DataError
from shikomi.model.attention import documents
from shikomi.model.context import Context
from shikomi.train.order import Skips, mix, permute

DIALOGUES = "dialogues"
"""Name of the rows that are packed dialogues."""
PASSES_KEPT = 2
"""Passes over dialogues whose packing stays in memory."""


@dataclass(frozen=True)
class Row:
    """One row: int64 ``tokens_T`` and ``targets_T``, float32 ``weights_T``, int32 ``documents_T``; and its source."""

    tokens_T: np.ndarray
    targets_T: np.ndarray
    weights_T: np.ndarray
    documents_T: np.ndarray
    source: str = ""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows stacked: tokens, targets [B, T] int64; weights [B, T] float32; documents [B, T] int32.

    Attributes:
        documents_BT: number of each position's document, rising along a row.
        mask: the same for attention; None where every row is one document. Where ranks share sequences it is a
            ``context.Sight``.
        needed_N: int64 places, in the batch laid out as one line of B·T, whose weight is not 0.
        weight: sum of the loss weights: the loop divides by its sum over the whole step.
        num_tokens: positions in the batch, padding of rows included, rows that only fill it up left out.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    weights_BT: Tensor
    documents_BT: Tensor
    mask: Any
    needed_N: Tensor
    weight: float
    num_tokens: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; from pinned memory the copy does not hold up the CPU."""
        return self._each(lambda part: part.to(device, non_blocking=True), lambda mask: mask.to(device))

    def pin_memory(self) -> Batch:
        """The same batch in memory that a GPU reads by itself."""
        pinned = self.mask.pin_memory() if hasattr(self.mask, "pin_memory") else self.mask
        return self._each(Tensor.pin_memory, lambda mask: pinned)

    def cut(self, context: Context) -> Batch:
        """This context rank's positions of every row."""
        tokens = self.tokens_BT.shape[1]
        numbers = None if self.mask is None else self.documents_BT
        parts = [context.cut(part) for part in (self.tokens_BT, self.targets_BT, self.weights_BT, self.documents_BT)]
        return _batch(*parts, mask=context.sight(numbers, tokens), num_tokens=self.num_tokens // context.ranks)

    def _each(self, move: Callable[[Tensor], Tensor], move_mask: Callable[[Any], Any]) -> Batch:
        return replace(
            self,
            tokens_BT=move(self.tokens_BT),
            targets_BT=move(self.targets_BT),
            weights_BT=move(self.weights_BT),
            documents_BT=move(self.documents_BT),
            mask=None if self.mask is None else move_mask(self.mask),
            needed_N=move(self.needed_N),
        )


def _batch(
    tokens_BT: Tensor, targets_BT: Tensor, weights_BT: Tensor, documents_BT: Tensor, *, mask: Any, num_tokens: int
) -> Batch:
    needed_N = weights_BT.flatten().nonzero()[:, 0]
    weight = float(weights_BT.sum(dtype=torch.float64))
    return Batch(tokens_BT, targets_BT, weights_BT, documents_BT, mask, needed_N, weight, num_tokens)


class Rows(Protocol):
    """A source of rows without end: row i depends on the recipe and i alone."""

    def row(self, index: int) -> Row:
        """The row at position ``index`` of this source's order."""
        ...


class Sources(Rows, Protocol):
    """Rows that say which of their named sources they come from."""

    def counts(self, rows: int) -> dict[str, int]:
        """How many of the first ``rows`` rows come from each named source."""
        ...

    @property
    def passes(self) -> dict[str, int]:
        """Rows of one pass over each named source."""
        ...


def stack(rows: Sequence[Row], fill: int = 0) -> Batch:
    """Stack rows into a batch whose attention is causal inside each document.

    Args:
        rows: at least one.
        fill: so many of them, the last ones, only fill the batch up: they have weight 0 and are not counted.
    """
    tokens_BT, targets_BT, weights_BT, documents_BT = (
        torch.from_numpy(np.stack([getattr(row, name) for row in rows]))
        for name in ("tokens_T", "targets_T", "weights_T", "documents_T")
    )
    num_tokens = (len(rows) - fill) * tokens_BT.shape[1]
    mask = documents(documents_BT)
    return _batch(tokens_BT, targets_BT, weights_BT, documents_BT, mask=mask, num_tokens=num_tokens)


class Tokens(Protocol):
    """A long line of token ids, most likely mapped from files (``data.tokens.TokenShards`` has one)."""

    @property
    def tokens(self) -> Any:
        """The ids: has a length, and gives an array for a slice."""
        ...


class CrawlRows:
    """Windows of T tokens over training tokens, each pass in another order and with another offset.

    Every window of a pass comes once before any comes again; time and memory a row do not grow with the tokens.

    Attributes:
        per_pass: windows in one pass.

    Raises:
        DataError: fewer tokens than one window.
    """

    def __init__(self, shards: Tokens, sequence_tokens: int, eos_id: int, seed: int, name: str = "corpus") -> None:
        self.tokens, self.length, self.eos_id, self.seed = shards.tokens, sequence_tokens, eos_id, seed
        self.name = name
        self.per_pass = (len(self.tokens) - 1) // sequence_tokens - 1
        if self.per_pass < 1:
            raise DataError(
                f"{len(self.tokens)} training tokens are fewer than two windows of {sequence_tokens}",
                where="sequence_tokens" if name == "corpus" else f'mixture source "{name}"',
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
        numbers = np.zeros(self.length, dtype=np.int32)
        numbers[1:] = np.cumsum(ends[:-1])
        return Row(inputs, window[1:], (~ends).astype(np.float32), numbers, self.name)

    def counts(self, rows: int) -> dict[str, int]:
        """All of them from here."""
        return {self.name: rows}

    @property
    def passes(self) -> dict[str, int]:
        """Windows of one pass."""
        return {self.name: self.per_pass}


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
        self._starts = [0]
        self._packed: dict[int, list[list[int]]] = {}

    def row(self, index: int) -> Row:
        """Row ``index``: how many rows each pass takes is worked out once, up to the pass that holds it."""
        while self._starts[-1] <= index:
            self._starts.append(self._starts[-1] + len(self._pass(len(self._starts) - 1)))
        number = bisect_right(self._starts, index) - 1
        return self._build(self._pass(number)[index - self._starts[number]])

    def counts(self, rows: int) -> dict[str, int]:
        """All of them from here."""
        return {DIALOGUES: rows}

    @property
    def passes(self) -> dict[str, int]:
        """Rows that the first pass packs into; the others differ by a few."""
        return {DIALOGUES: len(self._pass(0))}

    def _pass(self, number: int) -> list[list[int]]:
        """The dialogues of each row of a pass; the last passes asked for stay in memory."""
        if number not in self._packed:
            while len(self._packed) >= PASSES_KEPT:
                del self._packed[min(self._packed)]
            self._packed[number] = self._pack(number)
        return self._packed[number]

    def _pack(self, number: int) -> list[list[int]]:
        key = mix(self.seed ^ mix(number))
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
        return rows

    def _build(self, members: list[int]) -> Row:
        tokens = np.full(self.length, self.pad_id, dtype=np.int64)
        targets = np.full(self.length, self.pad_id, dtype=np.int64)
        weights = np.zeros(self.length, dtype=np.float32)
        numbers = np.full(self.length, len(members), dtype=np.int32)
        start = 0
        for number, member in enumerate(members):
            ids, mask = self.dialogues[member]
            end = start + len(ids) - 1
            tokens[start:end], targets[start:end] = ids[:-1], ids[1:]
            weights[start:end] = mask[1:] if self.answers_only else 1.0
            numbers[start:end] = number
            start = end
        return Row(tokens, targets, weights, numbers, DIALOGUES)


class MixedRows:
    """Rows of two sources, the second taking ``share`` of them, spread evenly by a counter."""

    def __init__(self, first: Sources, second: Sources, share: float) -> None:
        self.first, self.second, self.share = first, second, share

    def row(self, index: int) -> Row:
        """Row ``index``: from the second source exactly when floor(i · share) steps up."""
        before, after = int(index * self.share), int((index + 1) * self.share)
        return self.second.row(before) if after > before else self.first.row(index - before)

    def counts(self, rows: int) -> dict[str, int]:
        """Rows of both."""
        of_second = int(rows * self.share)
        return self.first.counts(rows - of_second) | self.second.counts(of_second)

    @property
    def passes(self) -> dict[str, int]:
        """Those of both."""
        return self.first.passes | self.second.passes


class RowBatches:
    """Steps of ``rows_per_step`` rows, cut into micro-batches of at most ``micro_rows``.

    Args:
        rows: where rows come from.
        rows_per_step: rows of one optimiser step over all ranks.
        micro_rows: rows in a rank's memory at once.
        skips: rows passed over, counted from 0 in the order of ``rows``.
    """

    def __init__(self, rows: Rows, rows_per_step: int, micro_rows: int, skips: Skips | None = None) -> None:
        self.rows, self.rows_per_step, self.micro_rows = rows, rows_per_step, micro_rows
        self.skips = skips or Skips()

    def position(self, step: int, place: int) -> int:
        """Where the row at ``place`` of step ``step`` (both from 0) stands in the order of ``rows``."""
        return self.skips.place(step * self.rows_per_step + place)

    def row(self, step: int, place: int) -> Row:
        """The row at ``place`` of step ``step``, both from 0."""
        return self.rows.row(self.position(step, place))

    def seen(self, steps: int) -> dict[str, dict[str, float]]:
        """What ``steps`` steps read of each source (of rows that are ``Sources``): ``rows``, and ``epochs``, the passes
        over it."""
        source: Any = self.rows
        end = self.position(steps - 1, self.rows_per_step - 1) + 1 if steps else 0
        rows = source.counts(end)
        for start, stop in ((start, stop) for start, stop in self.skips.ranges if stop <= end):
            before, after = source.counts(start), source.counts(stop)
            rows = {name: count - (after[name] - before[name]) for name, count in rows.items()}
        return {name: {"rows": n, "epochs": round(n / source.passes[name], 4)} for name, n in rows.items()}

    def step(self, step: int, part: tuple[int, int] = (0, 1)) -> list[Batch]:
        """The micro-batches of step ``step`` (from 0) that part i of n, ``part`` = (i, n), takes.

        All parts together hold each row once. Every part has as many micro-batches of as many rows: where rows do
        not divide, some parts are filled up with a row of weight 0.
        """
        number, parts = part
        whole, more = divmod(self.rows_per_step, parts)
        first = number * whole + min(number, more)
        own = [self.row(step, place) for place in range(first, first + whole + (number < more))]
        fill = whole + (more > 0) - len(own)
        own += [_blank(own[0] if own else self.row(step, 0))] * fill
        cuts = [(start, own[start : start + self.micro_rows]) for start in range(0, len(own), self.micro_rows)]
        real = len(own) - fill
        return [stack(rows, max(0, start + len(rows) - max(real, start))) for start, rows in cuts]


def _blank(row: Row) -> Row:
    """A row that is computed like another and counts for nothing."""
    return replace(row, weights_T=np.zeros_like(row.weights_T))
