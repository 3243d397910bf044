"""Context parallelism: several ranks share each sequence, every rank an early and a late piece of it (zig-zag).

N ranks cut a sequence into 2N pieces; rank r holds pieces r and 2N-1-r, so that causal attention costs every rank the
same (Megatron-LM and Llama 3, arXiv 2407.21783, cut the same way). Queries stay where they are; keys and values of
all ranks are gathered layer by layer, so that any mask is right, documents that cross pieces included.

Shape letters: N ranks, B rows, T positions of the whole sequence, L = T / N positions of a rank, P = T / 2N positions
of a piece, S key positions, H query heads, K key-value heads, E head dim, D hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right

from shikomi.errors import RecipeError
from shikomi.model.attention import attend


class Gather(Protocol):
    """Brings together what every context rank holds; ``compute.mesh`` gives one with gradients."""

    def __call__(self, local: Tensor) -> Tensor:
        """[...] of each rank to [N, ...] on all; the gradient of a rank's part is summed over ranks."""
        ...


@dataclass(frozen=True)
class Span:
    """What the queries of one piece may see: keys ``start`` to ``end`` of the whole sequence.

    ``mask`` is [B, 1, P, end - start], True where visible; None: plain causal, the last query sees the last key.
    """

    start: int
    end: int
    mask: Tensor | None

    def to(self, device: torch.device) -> Span:
        """The same span on a device."""
        return self._with(None if self.mask is None else self.mask.to(device, non_blocking=device.type == "cuda"))

    def pin_memory(self) -> Span:
        """The same span in memory that a GPU reads by itself."""
        return self._with(None if self.mask is None else self.mask.pin_memory())

    def more(self, rows: int) -> Span:
        """The same span for ``rows`` more rows, like the first one."""
        return self._with(None if self.mask is None else torch.cat((self.mask, self.mask[:1].expand(rows, -1, -1, -1))))

    def _with(self, mask: Tensor | None) -> Span:
        return Span(self.start, self.end, mask)

    def last(self, window: int, queries: int, device: torch.device) -> Span:
        """The same span where each of its ``queries`` sees only the last ``window`` keys up to its own; 0: all."""
        start = max(self.start, self.end - queries - window + 1) if window else self.start
        if not window or self.end - start <= window:
            return self
        near = _lower_right(queries, self.end - start, device)
        near = near & ~_lower_right(queries, self.end - start, device, -window)
        seen = near if self.mask is None else near & self.mask[..., start - self.start :]
        return Span(start, self.end, seen if seen.ndim == 4 else seen[None, None])


@dataclass(frozen=True)
class Sight:
    """The spans of a rank's two pieces: what stands for the mask where sequences are shared."""

    early: Span
    late: Span

    def to(self, device: torch.device) -> Sight:
        """The same spans on a device."""
        return Sight(self.early.to(device), self.late.to(device))

    def pin_memory(self) -> Sight:
        """The same spans in memory that a GPU reads by itself."""
        return Sight(self.early.pin_memory(), self.late.pin_memory())

    def more(self, rows: int) -> Sight:
        """The same spans for ``rows`` more rows, like the first one."""
        return Sight(self.early.more(rows), self.late.more(rows))


@dataclass(frozen=True)
class Context:
    """This rank's share of every sequence.

    Attributes:
        rank, ranks: which of how many share a sequence.
        gather: brings the ranks' parts together.
        multiple: a rank's positions come in multiples of this (the ranks of a tensor axis share them).
    """

    rank: int
    ranks: int
    gather: Gather
    multiple: int = 1

    @property
    def pieces(self) -> tuple[int, int]:
        """Numbers of the early and the late piece, of 2N."""
        return self.rank, 2 * self.ranks - 1 - self.rank

    def positions(self, tokens: int, device: torch.device) -> Tensor:
        """Places in the whole sequence of the ``tokens`` = L positions that this rank holds, [L]."""
        size = tokens // 2
        return torch.cat([torch.arange(piece * size, (piece + 1) * size, device=device) for piece in self.pieces])

    def cut(self, whole: Tensor, dim: int = 1) -> Tensor:
        """This rank's L of T positions along ``dim``; T is a multiple of 2N."""
        parts = whole.chunk(2 * self.ranks, dim)
        return torch.cat([parts[piece] for piece in self.pieces], dim)

    def join(self, local: Tensor, dim: int = 1) -> Tensor:
        """All T positions along ``dim``, from the L of every rank, in their order."""
        halves = self.gather(local).unflatten(dim + 1, (2, -1))
        early, late = halves.select(dim + 1, 0), halves.select(dim + 1, 1).flip(0)
        # [2N, ..., P, ...] in the sequence's order: the pieces' number goes in front of their positions.
        return torch.cat((early, late)).movedim(0, dim).flatten(dim, dim + 1)

    def sight(self, documents_BT: Tensor | None, tokens: int) -> Sight:
        """What this rank's queries may see in sequences of ``tokens`` = T; ``documents_BT`` numbers each position's
        document (rising along a row), None where a row is one document.

        Raises:
            RecipeError: the sequences do not cut.
        """
        check_sequences(tokens, self.ranks)
        early, late = (_span(documents_BT, piece, tokens // (2 * self.ranks)) for piece in self.pieces)
        return Sight(early, late)

    @torch.compiler.disable
    def attend(
        self, query_BHLE: Tensor, key_BKLE: Tensor, value_BKLE: Tensor, sight: Sight | None, window: int = 0
    ) -> Tensor:
        """Attention of this rank's queries to all keys they may see, [B, H, L, E]; ``window`` as in ``Span.last``.

        Not compiled: spans differ from row to row, and collectives are no one's to reorder.
        """
        if sight is None:
            sight = self.sight(None, query_BHLE.shape[2] * self.ranks)
        key_BKTE, value_BKTE = self.join(torch.stack((key_BKLE, value_BKLE)), dim=3)
        halves = query_BHLE.chunk(2, dim=2)
        spans = [span.last(window, halves[0].shape[2], query_BHLE.device) for span in (sight.early, sight.late)]
        return torch.cat(
            [
                _attend(query, key_BKTE[:, :, span.start : span.end], value_BKTE[:, :, span.start : span.end], span)
                for query, span in zip(halves, spans, strict=True)
            ],
            dim=2,
        )


def _span(documents_BT: Tensor | None, piece: int, size: int) -> Span:
    first, end = piece * size, (piece + 1) * size
    if documents_BT is None:
        return Span(0, end, None)
    # Keys of documents that ended before this piece are seen by none of its queries.
    start = int((documents_BT < documents_BT[:, first, None]).sum(1).min())
    query, key = documents_BT[:, first:end], documents_BT[:, start:end]
    same = query[:, :, None] == key[:, None, :]
    if bool(same.all()):
        return Span(start, end, None)
    return Span(start, end, (same & _lower_right(size, end - start, same.device))[:, None])


def _lower_right(queries: int, keys: int, device: torch.device, shift: int = 0) -> Tensor:
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries + shift)


def _attend(query_BHPE: Tensor, key_BKSE: Tensor, value_BKSE: Tensor, span: Span) -> Tensor:
    queries, keys = query_BHPE.shape[2], key_BKSE.shape[2]
    visible = span.mask
    if visible is None and queries != keys:
        # On CUDA a bias that fused kernels know, without a mask in memory.
        cuda = query_BHPE.device.type == "cuda"
        visible = causal_lower_right(queries, keys) if cuda else _lower_right(queries, keys, query_BHPE.device)
    return attend(query_BHPE, key_BKSE, value_BKSE, visible)


class WholeSequences:
    """A model that shares sequences, seen by an objective that needs each sequence whole (DPO sums over answers).

    Every context rank gets the same hidden states and computes the same loss: loss and weight both count N times,
    and the division by the sum of weights evens it out.
    """

    def __init__(self, model: Any, context: Context) -> None:
        self.model, self.context = model, context
        self.config = model.config

    @property
    def head_weight(self) -> Any:
        """The output matrix [V, D]."""
        return self.model.head_weight

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] to logits [..., V]."""
        return self.model.head(hidden)

    def __call__(self, tokens_BT: Tensor, mask: None = None) -> Tensor:
        """Hidden states [B, T, D] of plain causal rows; T may be any number (rows are padded on the right)."""
        assert mask is None, "documents are cut with their batch"
        tokens = tokens_BT.shape[1]
        padded = F.pad(tokens_BT, (0, -tokens % (2 * self.context.ranks * self.context.multiple)))
        return self.context.join(self.model(self.context.cut(padded)))[:, :tokens]


def share_sequences(model: nn.Module, context: Context) -> None:
    """Let every attention of a model see all ranks' keys; from now on the model takes this rank's L positions."""
    for module in model.modules():
        if hasattr(module, "context"):
            module.context = context  # type: ignore[assignment]


def check_sequences(sequence_tokens: int, ranks: int) -> None:
    """Refuse sequences that do not cut into two equal pieces a rank.

    Raises:
        RecipeError: ``sequence_tokens`` is not a multiple of 2 · ``ranks``.
    """
    if ranks > 1 and sequence_tokens % (2 * ranks):
        raise RecipeError(
            f"sequences of {sequence_tokens} tokens do not cut into {2 * ranks} equal pieces",
            where="site: training.mesh.context",
            hint=f"every one of {ranks} context ranks holds two pieces: "
            f"take sequence_tokens as a multiple of {2 * ranks}, or another context",
        )
