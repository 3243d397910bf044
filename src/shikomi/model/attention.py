"""Attention by the fastest way at hand: plain causal, or inside each of the documents that are packed into rows.

Documents never see one another. On CUDA their lengths go to the flash kernel for sequences of any length, or to
FlexAttention; on a CPU each is a small causal attention of its own; everywhere else a mask says what is visible.

Shape letters: B rows, T positions, S key positions, H query heads, K key-value heads, E head dim, N documents.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from shikomi.model import halves
from shikomi.model.blocked import causal_attention

FLOAT32_ON_CPU = 64
"""Head dims up to this are attended to in float32 on a CPU even under bfloat16. Measured (Zen 4, one thread, forward
and backward, 8 heads of 32, rows of 128): 20 against 46 ms; with head dim 64 at 512 as fast; documents apart are
faster in float32 at any head dim."""
LONG_ON_CPU = 192
"""Documents from this many positions on are attended to block by block in bfloat16. Measured (as above, rows of 512):
documents of about 300 positions 38 to 31 ms, of 500 62 to 35 ms; of about 150 29 to 32 ms."""


@dataclass(frozen=True, eq=False)
class Documents:
    """Which document each position of a batch belongs to; stands where a mask would.

    Attributes:
        numbers_BT: int32, rising along a row; positions see only their own number.
        starts_N: int32 [N+1], where documents start in the batch laid out as one line of B·T, then B·T.
        lengths: of each document, in positions.
    """

    numbers_BT: Tensor
    starts_N: Tensor
    lengths: tuple[int, ...]

    def to(self, device: torch.device) -> Documents:
        """The same documents on a device."""
        numbers_BT, starts_N = (part.to(device, non_blocking=True) for part in (self.numbers_BT, self.starts_N))
        return Documents(numbers_BT, starts_N, self.lengths)

    def pin_memory(self) -> Documents:
        """The same documents in memory that a GPU reads by itself."""
        return Documents(self.numbers_BT.pin_memory(), self.starts_N.pin_memory(), self.lengths)

    def more(self, rows: int) -> Documents:
        """The same documents and ``rows`` more rows, like the first one."""
        made = documents(torch.cat((self.numbers_BT, self.numbers_BT[:1].expand(rows, -1))).cpu())
        assert made is not None
        return made.to(self.numbers_BT.device)

    @cached_property
    def blocks(self) -> Any:
        """The same for FlexAttention, made once for all layers."""
        from torch.nn.attention.flex_attention import create_block_mask

        numbers_BT = self.numbers_BT

        def seen(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (q >= k) & (numbers_BT[b, q] == numbers_BT[b, k])

        rows, tokens = numbers_BT.shape
        return create_block_mask(seen, rows, None, tokens, tokens, device=str(numbers_BT.device))

    @property
    def mask(self) -> Tensor:
        """True where a key may be seen, [B, 1, T, T]."""
        tokens = self.numbers_BT.shape[1]
        causal = torch.ones(tokens, tokens, dtype=torch.bool, device=self.numbers_BT.device).tril()
        return ((self.numbers_BT[:, :, None] == self.numbers_BT[:, None, :]) & causal)[:, None]


def documents(numbers_BT: Tensor) -> Documents | None:
    """The documents of a batch, from int32 numbers that rise along each row; None where every row is one: plain
    causal attention is the same, and cheaper."""
    rows, tokens = numbers_BT.shape
    border = torch.ones(rows, tokens, dtype=torch.bool)
    border[:, 1:] = numbers_BT[:, 1:] != numbers_BT[:, :-1]
    starts = border.flatten().nonzero()[:, 0]
    if len(starts) == rows:
        return None
    ends = torch.cat((starts[1:], torch.tensor([rows * tokens])))
    starts_N = torch.cat((starts, ends[-1:])).to(torch.int32)
    return Documents(numbers_BT, starts_N, tuple((ends - starts).tolist()))


def attend(query_BHTE: Tensor, key_BKSE: Tensor, value_BKSE: Tensor, visible: Tensor | Documents | None) -> Tensor:
    """Softmax attention, [B, H, T, E]; each key-value head serves H / K query heads.

    Args:
        query_BHTE: queries.
        key_BKSE, value_BKSE: keys and values.
        visible: documents; or a mask, True where a key may be seen, [B, 1, T, S]; None: plain causal (T = S).
    """
    dtype = query_BHTE.dtype
    key_BKSE, value_BKSE = key_BKSE.to(dtype), value_BKSE.to(dtype)
    on_cpu = query_BHTE.device.type == "cpu" and dtype is torch.bfloat16 and query_BHTE.shape[2] > 1
    whole = on_cpu and visible is None and query_BHTE.shape[2] == key_BKSE.shape[2]
    if whole and halves.HALF_PRODUCTS and not torch.compiler.is_compiling():
        return causal_attention(query_BHTE, *_grouped(query_BHTE, key_BKSE, value_BKSE))
    if on_cpu and isinstance(visible, Documents):
        return _apart(query_BHTE, *_grouped(query_BHTE, key_BKSE, value_BKSE), visible.lengths)  # type: ignore[call-arg]
    if on_cpu and (query_BHTE.shape[-1] <= FLOAT32_ON_CPU or not halves.HALF_PRODUCTS):
        with torch.autocast("cpu", enabled=False):  # it would make queries, keys and values bfloat16 again
            return _attend(query_BHTE.float(), key_BKSE.float(), value_BKSE.float(), visible).to(dtype)
    return _attend(query_BHTE, key_BKSE, value_BKSE, visible)


def _attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor | Documents | None) -> Tensor:
    if isinstance(visible, Documents):
        if query.device.type == "cpu":
            key, value = _grouped(query, key, value)
            return _apart(query, key, value, visible.lengths)  # type: ignore[call-arg]
        if query.device.type == "cuda" and _has_flash(query):
            return _flash(query, key, value, visible)
        if query.device.type == "cuda":
            return _flex(query, key, value, visible)  # type: ignore[call-arg]
        visible = visible.mask
    if query.device.type == "cuda":
        group = query.shape[1] != key.shape[1]
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, is_causal=visible is None, enable_gqa=group
        )
    key, value = _grouped(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=visible, is_causal=visible is None)


def _grouped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values repeated for each of the query heads that they serve."""
    group = query.shape[1] // key.shape[1]
    if group == 1:
        return key, value
    return key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)


@torch.compiler.disable
def _apart(query_BHTE: Tensor, key_BHTE: Tensor, value_BHTE: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Each document by itself; in bfloat16 short ones in float32, long ones block by block.

    Measured (Zen 4, one thread, forward and backward, rows of 512 with 4 documents each, 8 heads of 32): 25 ms against
    64 ms with a mask; rows of 128 with 3 to 5: 17 against 20 ms.
    """
    B, H, T, E = query_BHTE.shape
    lines = [part.transpose(0, 1).reshape(1, H, B * T, E) for part in (query_BHTE, key_BHTE, value_BHTE)]
    own = list(zip(*(line.split(lengths, dim=2) for line in lines), strict=True))
    half = query_BHTE.dtype is torch.bfloat16
    wide = list(zip(*(line.float().split(lengths, dim=2) for line in lines), strict=True)) if half else own
    found = []
    with torch.autocast("cpu", enabled=False):  # it would make what is float32 bfloat16 again
        for number, length in enumerate(lengths):
            if half and halves.HALF_PRODUCTS and length >= LONG_ON_CPU and query_BHTE.requires_grad:
                found.append(causal_attention(*own[number]))
            else:
                found.append(F.scaled_dot_product_attention(*wide[number], is_causal=True).to(query_BHTE.dtype))
    return torch.cat(found, dim=2).view(H, B, T, E).transpose(0, 1)


def _varlen() -> Any:
    """PyTorch's flash attention for sequences of any length, with its causal keyword and whether it knows groups of
    heads; None where it has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    causal = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    return varlen_attn, causal, "enable_gqa" in known


VARLEN = _varlen()
"""Found once, when this module is loaded: compiled layers look at it."""


def _has_flash(query: Tensor) -> bool:
    """Whether the flash kernel takes these queries: half precision, Ampere or later, head dim up to 256."""
    half = query.dtype in (torch.bfloat16, torch.float16)
    new = torch.version.hip is not None or torch.cuda.get_device_capability(query.device) >= (8, 0)
    return VARLEN is not None and half and new and query.shape[-1] <= 256


def _flash(query_BHTE: Tensor, key_BKTE: Tensor, value_BKTE: Tensor, packed: Documents) -> Tensor:
    B, H, T, E = query_BHTE.shape
    attention, causal, groups = VARLEN
    if key_BKTE.shape[1] != H:
        if groups:
            causal = {**causal, "enable_gqa": True}
        else:
            key_BKTE, value_BKTE = _grouped(query_BHTE, key_BKTE, value_BKTE)
    lines = [part.transpose(1, 2).flatten(0, 1) for part in (query_BHTE, key_BKTE, value_BKTE)]
    # T bounds every document: a bound that is the same at each step is compiled once.
    out = attention(*lines, packed.starts_N, packed.starts_N, T, T, **causal)
    return out.view(B, T, H, E).transpose(1, 2)


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


@torch.compiler.disable
def _flex(query_BHTE: Tensor, key_BKTE: Tensor, value_BKTE: Tensor, packed: Documents) -> Tensor:
    group = query_BHTE.shape[1] != key_BKTE.shape[1]
    return _compiled_flex()(query_BHTE, key_BKTE, value_BKTE, block_mask=packed.blocks, enable_gqa=group)
