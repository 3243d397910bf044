"""The decoder as generation runs it: the same arithmetic as ``transformer`` on plain tensors, with a cache.

One function over a flat list of tokens serves prompts and single steps alike. Matrices that read the same input lie
side by side, norm weights are multiplied into them, residual sums are part of the products, and there is no gradient:
a step takes 25 operators a layer, each about a microsecond besides its work.

Shape letters: N tokens, B rows, D hidden, H query heads, K key-value heads, G query heads per key-value head,
S slots, T prompt tokens, E head dim, V vocabulary.
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
from shikomi.model.products import Product, product
from shikomi.model.transformer import Layer, Transformer

COPIED_BYTES = 1_000_000_000
"""Matrices up to which generation has copies of its own, in the form that is fastest. Above, copies cost memory that
the cache needs, and the products are so long that the operators around them no longer count."""


@dataclass(frozen=True)
class Block:
    """One layer's weights.

    Attributes:
        attention_norm, mlp_norm: norm weights [D]; None: multiplied into the matrices that follow.
        qkv, out, gate_up, down: the products.
        qk_norm: weights of normalised queries and keys, [H + K, E], or None.
    """

    attention_norm: Tensor | None
    qkv: Product
    qk_norm: Tensor | None
    out: Product
    mlp_norm: Tensor | None
    gate_up: Product
    down: Product


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
        MachineError: ranks share the model.
    """

    def __init__(self, model: Transformer, dtype: torch.dtype | None = None) -> None:
        if model.context is not None or any(hasattr(parameter, "device_mesh") for parameter in model.parameters()):
            raise MachineError(
                "a model that ranks share cannot generate", hint="save it and load it whole where it is to answer"
            )
        config = self.config = model.config
        own = model.head_weight.detach()
        self.device, self.dtype = own.device, dtype or own.dtype
        copied = config.matmul_parameters * self.dtype.itemsize <= COPIED_BYTES
        # Outside of inference mode: the model keeps its rotary table and may be trained with it.
        with torch.inference_mode(False), torch.no_grad():
            self.blocks = [self._block(layer, copied) for layer in model.model.layers]
            self.embedding = model.model.embed_tokens.weight.detach().to(self.dtype)
            self.norm = model.model.norm.weight.detach().to(self.dtype)
            self.head = Product([own], [], self.dtype, copied=copied)
            cos, sin = model.rotary(config.max_tokens, self.device)
            half = config.head_dim // 2
            self.cos = cos.to(self.dtype)[:, None]
            self.sin = torch.cat((-sin[:, :half], sin[:, half:]), dim=-1).to(self.dtype)[:, None]
        self.windows = {config.window(layer) for layer in range(config.layers)}
        self.cache = KeyValueCache(config, self.device, self.dtype)
        self.graphs = Graphs(self.device)
        # On a CPU in full precision few small operators win; elsewhere PyTorch's fused ones do.
        self.plain = self.device.type == "cpu" and self.dtype in (torch.float32, torch.float64)
        self._eps = torch.tensor(config.rms_eps, dtype=self.dtype, device=self.device)
        self._mean = {
            size: torch.full((size, 1), 1 / size, dtype=self.dtype, device=self.device)
            for size in (config.hidden_size, config.head_dim)
        }

    def _block(self, layer: nn.Module, copied: bool) -> Block:
        assert isinstance(layer, Layer)
        attention, mlp, dtype = layer.self_attn, layer.mlp, self.dtype
        norms = [norm.weight.detach() for norm in (layer.input_layernorm, layer.post_attention_layernorm)]
        inside, outside = (norms, [None, None]) if copied else ([None, None], [norm.to(dtype) for norm in norms])
        qk_norm = None
        if self.config.qk_norm:
            counts = ((attention.q_norm, self.config.heads), (attention.k_norm, self.config.kv_heads))
            qk_norm = torch.cat([norm.weight.detach().to(dtype).expand(count, -1) for norm, count in counts])
        return Block(
            outside[0],
            product((attention.q_proj, attention.k_proj, attention.v_proj), dtype, copied=copied, norm_I=inside[0]),
            qk_norm,
            product((attention.o_proj,), dtype, copied=copied),
            outside[1],
            product((mlp.gate_proj, mlp.up_proj), dtype, copied=copied, norm_I=inside[1]),
            product((mlp.down_proj,), dtype, copied=copied),
        )

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
                seen = self.cache.seen(layer, slice(segment.row, segment.row + rows), slice(segment.start + length))
                parts.append(attend(query, *seen, found[window]).transpose(1, 2).flatten(0, 1))
                done += rows * length
            return (torch.cat(parts) if len(parts) > 1 else parts[0]).reshape(done, -1)

        return self._logits(self._run(tokens_N, positions_N, read)[last])

    def decode(self, tokens: Sequence[int], positions: Sequence[int]) -> Tensor:
        """One token more for rows 0 … B-1, each at its position; logits after it, float32 [B, V]."""
        span = max(positions) + 1
        inputs = self._move(tokens), self._move(positions)
        if not self.graphs.records and min(positions) == max(positions):
            return self._step(span, False, *inputs)
        span = -(-span // SLOT_BLOCK) * SLOT_BLOCK
        return self.graphs.run((len(tokens), span), lambda *held: self._step(span, True, *held), *inputs)

    def _step(self, span: int, masked: bool, tokens_B: Tensor, positions_B: Tensor) -> Tensor:
        """A step that attends to the first ``span`` slots; all of them are seen by all rows unless ``masked``."""
        B, K, E = len(tokens_B), self.config.kv_heads, self.config.head_dim
        places = self.cache.places(torch.arange(B, device=self.device), positions_B)
        masks = self._step_masks(span, positions_B) if masked else {}

        def read(layer: int, query_NHE: Tensor, fresh: Tensor) -> Tensor:
            self.cache.write(layer, places, fresh)
            window = self.config.window(layer)
            first = max(0, span - window) if window and not masked else 0
            keys, values = self.cache.seen(layer, slice(B), slice(first, span))
            # Queries that share keys are rows of one product: keys and values are read once and never repeated.
            query_BKGE = query_NHE.reshape(B, K, -1, E)
            return F.scaled_dot_product_attention(query_BKGE, keys, values, masks.get(window)).reshape(B, -1)

        return self._logits(self._run(tokens_B, positions_B, read))

    def _step_masks(self, span: int, positions_B: Tensor) -> dict[int, Tensor]:
        """Of each window size which slots a row's token sees, to be added to scores: [B, 1, 1, S]."""
        back_BS = positions_B[:, None] - torch.arange(span, device=self.device)
        masks = {}
        for window in self.windows:
            hidden = (back_BS < 0) | (back_BS >= window) if window else back_BS < 0
            mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
            masks[window] = mask.masked_fill_(hidden, -torch.inf)[:, None, None]
        return masks

    def _prompt_masks(self, segment: Segment) -> dict[int, Tensor | None]:
        """Of each window size which slots the tokens of a segment see, [1, 1, T, S]; None: plain causal."""
        length, start = len(segment.tokens[0]), segment.start
        masks: dict[int, Tensor | None] = {}
        for window in self.windows:
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
            qkv = block.qkv(self._normalised(x, block.attention_norm))
            turned = qkv[:, : (H + K) * E].view(-1, H + K, E)
            if block.qk_norm is not None:
                turned.copy_(self._normalised(turned, block.qk_norm))
            swapped = torch.roll(turned, E // 2, dims=-1)
            turned.mul_(cos).addcmul_(swapped, sin)
            block.out.add_to(x, read(number, turned[:, :H], qkv[:, H * E :]))
            gate, up = block.gate_up(self._normalised(x, block.mlp_norm)).chunk(2, dim=-1)
            block.down.add_to(x, F.silu(gate).mul_(up))
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
        return self.head(self._normalised(hidden_BD, self.norm)).float()

    def _move(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=self.device)
