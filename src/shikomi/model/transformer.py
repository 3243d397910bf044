"""The decoder, with Hugging Face's parameter names, so that export renames nothing.

Shape letters: B rows, T positions, S key positions, D hidden, H query heads, K key-value heads, E head dim,
F feed-forward, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shikomi.model.attention import Documents, attend
from shikomi.model.config import ModelConfig
from shikomi.model.kernels import add, gated, product, products, rms_norm, rotate
from shikomi.model.rope import rotary_table


class RMSNorm(nn.Module):
    """x / rms(x) · weight over the last dimension (Zhang & Sennrich 2019)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension; the shape stays."""
        return rms_norm(x, self.weight, self.eps)


def windowed(mask: Tensor | Documents | None, window: int, tokens: int, device: torch.device) -> Tensor:
    """A mask that also hides keys more than ``window`` - 1 tokens back, [B or 1, 1, T, T]."""
    positions_T = torch.arange(tokens, device=device)
    distance = positions_T[:, None] - positions_T
    near = distance < window
    if mask is None:
        return (near & (distance >= 0))[None, None]
    return near & (mask.mask if isinstance(mask, Documents) else mask)


class Attention(nn.Module):
    """Causal grouped-query attention with rotary positions and, in the Qwen3 layout, normalised queries and keys."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.window = config.window(layer)
        self.q_proj = nn.Linear(config.hidden_size, config.heads * config.head_dim, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_dim, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_dim, bias=config.qkv_bias)
        self.o_proj = nn.Linear(config.heads * config.head_dim, config.hidden_size, bias=config.output_bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.rms_eps)
            self.k_norm = RMSNorm(config.head_dim, config.rms_eps)
        self.qk_norm = config.qk_norm
        self.context: Any = None
        """Set by ``context.share_sequences`` where ranks share sequences."""

    def forward(self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | Documents | None = None) -> Tensor:
        """Attend; ``mask`` is True where a key may be seen, [B, 1, T, T], or says which documents are packed; None
        means plain causal. Where ranks share sequences it is a ``context.Sight``."""
        B, T, _ = x_BTD.shape
        query, key, value = products(x_BTD, self.q_proj, self.k_proj, self.v_proj)
        query = query.unflatten(-1, (self.heads, self.head_dim))
        key = key.unflatten(-1, (self.kv_heads, self.head_dim))
        value_BKTE = value.unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        if self.qk_norm:
            query, key = self.q_norm(query), self.k_norm(key)
        query_BHTE = rotate(query.transpose(1, 2), *rotary)
        key_BKTE = rotate(key.transpose(1, 2), *rotary)
        if self.context is not None:
            out_BHTE = self.context.attend(query_BHTE, key_BKTE, value_BKTE, mask, self.window)
            return product(out_BHTE.transpose(1, 2).reshape(B, T, self.heads * self.head_dim), self.o_proj)
        if 0 < self.window < T:
            mask = windowed(mask, self.window, T, x_BTD.device)
        out_BHTE = attend(query_BHTE, key_BKTE, value_BKTE, mask)
        return product(out_BHTE.transpose(1, 2).reshape(B, T, self.heads * self.head_dim), self.o_proj)


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) · up x) (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D] through width F."""
        return product(gated(*products(x_BTD, self.gate_proj, self.up_proj)), self.down_proj)


class Layer(nn.Module):
    """Pre-norm residual block: attention, then feed-forward."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_eps)
        self.mlp = FeedForward(config)

    def forward(self, x_BTD: Tensor, *attention: object) -> Tensor:
        """[B, T, D] to [B, T, D]; what follows x goes to the attention as it is."""
        x_BTD = add(x_BTD, self.self_attn(self.input_layernorm(x_BTD), *attention))
        return add(x_BTD, self.mlp(self.post_attention_layernorm(x_BTD)))


class Body(nn.Module):
    """Embedding, layers and last norm (Hugging Face's ``model.`` prefix)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_rows, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_eps)


class Transformer(nn.Module):
    """A dense decoder. Calling it gives hidden states; ``head`` turns chosen ones into logits."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Body(config)
        if not config.tie_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_rows, bias=False)
        self._rotary: tuple[Tensor, Tensor] | None = None
        self.context: Any = None
        """Set by ``context.share_sequences`` where ranks share sequences."""

    @property
    def head_weight(self) -> Any:
        """The output matrix [V, D]: the embedding when tied; rows that fill up the vocabulary are left out. Where ranks
        share the vocabulary it is a ``vocabulary.SharedHead``."""
        weight = self.model.embed_tokens.weight if self.config.tie_embeddings else self.lm_head.weight
        if hasattr(weight, "device_mesh"):
            from shikomi.model.vocabulary import output_head

            return output_head(weight, self.config.vocab_size)
        return weight if weight.shape[0] == self.config.vocab_size else weight[: self.config.vocab_size]

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] to logits [..., V]."""
        weight = self.head_weight
        return F.linear(hidden, weight) if isinstance(weight, Tensor) else weight.logits(hidden)

    def forward(self, tokens_BT: Tensor, mask: Tensor | Documents | None = None) -> Tensor:
        """Hidden states [B, T, D] after the last norm.

        Args:
            tokens_BT: token ids.
            mask: True where a key may be seen, [B, 1, T, T]; or which documents are packed; None: plain causal over T.
        """
        rotary = self.rotary(tokens_BT.shape[1], tokens_BT.device)
        x_BTD = self.model.embed_tokens(tokens_BT)
        for layer in self.model.layers:
            x_BTD = layer(x_BTD, rotary, mask)
        return self.model.norm(x_BTD)

    def rotary(self, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines of positions 0 … T-1 (or of those that this rank holds), each [T, E]."""
        cos, sin = self._table(device)
        if self.context is not None:
            positions_T = self.context.positions(tokens, device)
            return cos[positions_T], sin[positions_T]
        return cos[:tokens], sin[:tokens]

    def _table(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._rotary is None or self._rotary[0].device != device:
            self._rotary = rotary_table(self.config.rope, self.config.head_dim, self.config.max_tokens, device)
        return self._rotary


def initialise(model: Transformer, seed: int) -> None:
    """Give a model the weights that ``drawn`` draws."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in drawn(model, seed):
            own[name].copy_(value)


def drawn(model: Transformer, seed: int) -> Iterator[tuple[str, Tensor]]:
    """First weights of a model (one without memory will do), by name, one at a time: from N(0, init_std²) in name
    order; projections back into the residual stream with init_std / sqrt(2 · layers) (GPT-2); norms are 1, biases 0.

    One seed gives one set of weights on any machine.
    """
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    shapes = sorted((name, parameter.shape) for name, parameter in model.named_parameters())
    for name, shape in shapes:
        if len(shape) < 2:
            yield name, torch.full(shape, 0.0 if name.endswith(".bias") else 1.0)
            continue
        std = config.init_std
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            std /= (2 * config.layers) ** 0.5
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            # Rows that fill up the vocabulary are 0 and change no other weight's draw.
            value = torch.zeros(shape)
            value[: config.vocab_size] = torch.randn(config.vocab_size, shape[1], generator=generator) * std
            yield name, value
        else:
            yield name, torch.randn(shape, generator=generator) * std
