"""The decoder as generation runs it: the same arithmetic as ``transformer`` on plain tensors, with a cache.

One function over a flat list of tokens serves prompts and single steps alike. Matrices that read the same input lie
side by side, norm weights are multiplied into them, residual sums are part of the products, and there is no gradient:
a token of a small model costs about 20 operators a layer instead of 60 (docs/log.md).

Shape letters: N tokens, B rows, D hidden, H query heads, K key-value heads, G query heads per key-value head,
S slots, E head dim, F feed-forward, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shikomi.errors import MachineError
from shikomi.model.attention import attend
from shikomi.model.cache import SLOT_BLOCK, KeyValueCache
from shikomi.model.graphs import Graphs
from shikomi.model.lora import LoraLinear
from shikomi.model.transformer import Layer, Transformer

FUSED_BYTES = 2_000_000_000
"""Matrices up to which generation has a copy of its own, fused. Above, a copy costs memory that the cache
needs, and the products are so long that the operators around them no longer count."""


@dataclass(frozen=True)
class Block:
    """One layer's weights, matrices as [in, out]; several stand for their columns side by side.

    Attributes:
        attention_norm, mlp_norm: norm weights [D]; None: multiplied into the matrices that follow.
        qkv, out, gate_up, down: the products; each with its bias or None.
        qk_norm: weights of normalised queries and keys, [H + K, E], or None.
    """

    attention_norm: Tensor | None
    qkv: tuple[Tensor, ...]
    qkv_bias: Tensor | None
    qk_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    mlp_norm: Tensor | None
    gate_up: tuple[Tensor, ...]
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


@dataclass(frozen=True)
class Segment:
    """Tokens of a prompt that are read in one go, of ``rows`` neighbours at once.

    Attributes:
        row: the first row.
        start: position of the first token.
        tokens: ids, one list of equal length for each row.
    """

    row: int
    start: int
    tokens: Sequence[Sequence[int]]


class Decoder:
    """Weights ready for generation and the cache they write to.

    Args:
        model: whose weights are read, once; the copy is not changed when they are.
        dtype: what to compute in; None: the weights' own.

    Raises:
        MachineError: the model is shared out over ranks.
    """

    def __init__(self, model: Transformer, dtype: torch.dtype | None = None) -> None:
        if any(hasattr(parameter, "device_mesh") for parameter in model.parameters()):
            raise MachineError(
                "a model that ranks share cannot generate", hint="save it and load it whole where it is to answer"
            )
        config = self.config = model.config
        own = model.head_weight.detach()
        self.device, self.dtype = own.device, dtype or own.dtype
        fused = config.matmul_parameters * self.dtype.itemsize <= FUSED_BYTES
        # Outside of inference mode: the model keeps its rotary table and may be trained with it.
        with torch.inference_mode(False), torch.no_grad():
            self.blocks = [self._block(layer, fused) for layer in model.model.layers]
            self.embedding = model.model.embed_tokens.weight.detach().to(self.dtype)
            self.norm = model.model.norm.weight.detach().to(self.dtype)
            self.head = own.to(self.dtype).T.contiguous() if fused else own.to(self.dtype).T
            cos, sin = model.rotary(config.max_tokens, self.device)
            half = config.head_dim // 2
            self.cos = cos.to(self.dtype)[:, None]
            self.sin = torch.cat((-sin[:, :half], sin[:, half:]), dim=-1).to(self.dtype)[:, None]
        self.cache = KeyValueCache(config, self.device, self.dtype)
        self.graphs = Graphs(self.device)
        # On a CPU in full precision few small operators win; elsewhere PyTorch's fused ones do.
        self.plain = self.device.type == "cpu" and self.dtype in (torch.float32, torch.float64)
        self._eps = torch.tensor(config.rms_eps, dtype=self.dtype, device=self.device)
        self._mean = {
            size: torch.full((size, 1), 1 / size, dtype=self.dtype, device=self.device)
            for size in (config.hidden_size, config.head_dim)
        }

    def _block(self, layer: nn.Module, fused: bool) -> Block:
        assert isinstance(layer, Layer)
        attention, mlp = layer.self_attn, layer.mlp
        qkv, qkv_bias = _products(attention.q_proj, attention.k_proj, attention.v_proj)
        gate_up, gate_up_bias = _products(mlp.gate_proj, mlp.up_proj)
        (out,), out_bias = _products(attention.o_proj)
        (down,), down_bias = _products(mlp.down_proj)
        norms = (layer.input_layernorm.weight.detach(), layer.post_attention_layernorm.weight.detach())
        if fused:
            qkv, gate_up = _fuse(norms[0], qkv), _fuse(norms[1], gate_up)
            out, down, norms = out.contiguous(), down.contiguous(), (None, None)
        qk_norm = None
        if self.config.qk_norm:
            counts = ((attention.q_norm, self.config.heads), (attention.k_norm, self.config.kv_heads))
            qk_norm = torch.cat([norm.weight.detach().expand(count, -1) for norm, count in counts])

        def cast(weight: Tensor | None) -> Tensor | None:
            return None if weight is None else weight.to(self.dtype)

        return Block(
            cast(norms[0]), tuple(matrix.to(self.dtype) for matrix in qkv), cast(qkv_bias), cast(qk_norm),
            out.to(self.dtype), cast(out_bias),
            cast(norms[1]), tuple(matrix.to(self.dtype) for matrix in gate_up), cast(gate_up_bias),
            down.to(self.dtype), cast(down_bias),
        )  # fmt: skip

    def prefill(self, segments: Sequence[Segment]) -> Tensor:
        """Read tokens of prompts into the cache; logits after the last token of each row, float32 [rows, V]."""
        rows, positions, tokens, last = [], [], [], []
        for segment in segments:
            for number, ids in enumerate(segment.tokens):
                rows += [segment.row + number] * len(ids)
                positions += range(segment.start, segment.start + len(ids))
                tokens += ids
                last.append(len(tokens) - 1)
        rows_N, positions_N, tokens_N = self._move(rows), self._move(positions), self._move(tokens)
        places = self.cache.places(rows_N, positions_N)
        masks = [self._prompt_masks(segment) for segment in segments]

        def read(layer: int, query_NHE: Tensor, fresh: Tensor) -> Tensor:
            self.cache.write(layer, places, fresh)
            window, parts, done = self.config.window(layer), [], 0
            for segment, found in zip(segments, masks, strict=True):
                rows, length = len(segment.tokens), len(segment.tokens[0])
                query = query_NHE[done : done + rows * length].unflatten(0, (rows, length)).transpose(1, 2)
                seen = self.cache.seen(layer, slice(segment.row, segment.row + rows), segment.start + length)
                parts.append(attend(query, *seen, found[window]).transpose(1, 2).flatten(0, 1))
                done += rows * length
            return (torch.cat(parts) if len(parts) > 1 else parts[0]).reshape(done, -1)

        return self._logits(self._run(tokens_N, positions_N, read)[last])

    def decode(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        """One token more for rows 0 … B-1, each at its position; logits after it, float32 [B, V]."""
        span = -(-(max(positions) + 1) // SLOT_BLOCK) * SLOT_BLOCK
        return self.graphs.run(
            (len(tokens), span), lambda *inputs: self._step(span, *inputs), self._move(tokens), self._move(positions)
        )

    def _step(self, span: int, tokens_B: Tensor, positions_B: Tensor) -> Tensor:
        B, H, K, E = len(tokens_B), self.config.heads, self.config.kv_heads, self.config.head_dim
        places = self.cache.places(torch.arange(B, device=self.device), positions_B)
        masks = self._step_masks(span, positions_B)
        scale = E**-0.5

        def read(layer: int, query_NHE: Tensor, fresh: Tensor) -> Tensor:
            self.cache.write(layer, places, fresh)
            keys, values = self.cache.seen(layer, slice(B), span)
            mask = masks[self.config.window(layer)]
            if self.plain:
                # One query a row: two batched products are faster than the fused kernel (182 against 277 us at 32
                # rows of 8 heads and 80 slots, Zen 4, one thread).
                query = query_NHE.reshape(B * K, H // K, E)
                scores = torch.baddbmm(mask, query, keys.flatten(0, 1).transpose(1, 2), alpha=scale)
                return torch.bmm(torch.softmax(scores, dim=-1), values.flatten(0, 1)).view(B, H * E)
            found = F.scaled_dot_product_attention(query_NHE[:, :, None], keys, values, mask, enable_gqa=H != K)
            return found.reshape(B, H * E)

        return self._logits(self._run(tokens_B, positions_B, read))

    def _step_masks(self, span: int, positions_B: Tensor) -> dict[int, Tensor]:
        """Of each window size what a row's token sees: to be added to scores [B·K, 1, S] or [B, 1, 1, S]."""
        back_BS = positions_B[:, None] - torch.arange(span, device=self.device)
        masks = {}
        for window in {self.config.window(layer) for layer in range(self.config.layers)}:
            hidden = (back_BS < 0) | (back_BS >= window) if window else back_BS < 0
            mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device).masked_fill_(hidden, -torch.inf)
            masks[window] = (
                mask.repeat_interleave(self.config.kv_heads, 0)[:, None] if self.plain else mask[:, None, None]
            )
        return masks

    def _prompt_masks(self, segment: Segment) -> dict[int, Tensor | None]:
        """Of each window size which slots the tokens of a segment see, [1, 1, T, S]; None: plain causal."""
        length, start = len(segment.tokens[0]), segment.start
        masks: dict[int, Tensor | None] = {}
        for window in {self.config.window(layer) for layer in range(self.config.layers)}:
            if start == 0 and not 0 < window < length:
                masks[window] = None
                continue
            slots = torch.arange(start + length, device=self.device)
            back = slots[start:, None] - slots
            masks[window] = ((back >= 0) & (back < window) if window else back >= 0)[None, None]
        return masks

    def _run(self, tokens_N: Tensor, positions_N: Tensor, read: Callable[[int, Tensor, Tensor], Tensor]) -> Tensor:
        """Hidden states [N, D] before the last norm; ``read(layer, queries, keys and values)`` attends."""
        H, K, E = self.config.heads, self.config.kv_heads, self.config.head_dim
        cos, sin = self.cos[positions_N], self.sin[positions_N]
        x = F.embedding(tokens_N, self.embedding)
        for number, block in enumerate(self.blocks):
            qkv = _product(self._normalised(x, block.attention_norm), block.qkv, block.qkv_bias)
            turned = qkv[:, : (H + K) * E].view(-1, H + K, E)
            if block.qk_norm is not None:
                turned.copy_(self._normalised(turned, block.qk_norm))
            swapped = torch.roll(turned, E // 2, dims=-1)
            turned.mul_(cos).addcmul_(swapped, sin)
            x.addmm_(read(number, turned[:, :H], qkv[:, H * E :]), block.out)
            if block.out_bias is not None:
                x.add_(block.out_bias)
            gate, up = _product(self._normalised(x, block.mlp_norm), block.gate_up, block.gate_up_bias).chunk(2, -1)
            x.addmm_(F.silu(gate).mul_(up), block.down)
            if block.down_bias is not None:
                x.add_(block.down_bias)
        return x

    def _normalised(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """x / rms(x) · weight over the last dimension."""
        size = x.shape[-1]
        if not self.plain:
            unit = F.rms_norm(x, (size,), None, self.config.rms_eps)
        else:
            flat = x if x.dim() == 2 else x.reshape(-1, size)
            inverse = torch.addmm(self._eps, flat * flat, self._mean[size]).rsqrt_()
            unit = flat * inverse
            unit = unit if x.dim() == 2 else unit.view(x.shape)
        return unit if weight is None else unit.mul_(weight)

    def _logits(self, hidden_BD: Tensor) -> Tensor:
        return torch.mm(self._normalised(hidden_BD, self.norm), self.head).float()

    def _move(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=self.device)


def _products(*linears: nn.Linear) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Matrices [in, out], as they are, and their biases side by side."""
    matrices = tuple(_weight(linear).T for linear in linears)
    biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
    return matrices, torch.cat(biases) if biases else None


def _weight(linear: nn.Linear) -> Tensor:
    """The matrix [out, in] as it acts, an adapter added."""
    weight = linear.weight.detach()
    if not isinstance(linear, LoraLinear):
        return weight
    return weight + linear.lora_B.weight.detach() @ linear.lora_A.weight.detach() * linear.scale


def _fuse(norm_D: Tensor, matrices: Sequence[Tensor]) -> tuple[Tensor]:
    """One matrix with the norm's weight multiplied in, in memory as the products read it."""
    whole = torch.cat(list(matrices), dim=1)
    exact = whole.float() if whole.dtype.itemsize < 4 else whole
    return (exact * norm_D[:, None].to(exact.dtype),)


def _product(x: Tensor, matrices: tuple[Tensor, ...], bias: Tensor | None) -> Tensor:
    if len(matrices) == 1:
        return torch.mm(x, matrices[0]) if bias is None else torch.addmm(bias, x, matrices[0])
    whole = torch.cat([torch.mm(x, matrix) for matrix in matrices], dim=-1)
    return whole if bias is None else whole.add_(bias)
