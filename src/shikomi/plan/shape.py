"""A decoder's size and its FLOPs, from a recipe page or a base's ``config.json``, without loading any library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shikomi.errors import DataError
from shikomi.recipe.model import ModelPage

NEWTON_SCHULZ_STEPS = 5
"""Iterations by which Muon makes an update orthogonal (``train.optim`` takes as many, a test holds them)."""

_KV_HEADS = {"qwen3": 32, "qwen2": 32, "mistral": 8}
"""What transformers takes where a config is silent (``model.config.LAYOUTS`` has the same)."""


@dataclass(frozen=True)
class Shape:
    """What decides parameters and FLOPs of a dense decoder (the same counts as ``model.config``, a test holds them)."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    tie_embeddings: bool
    qk_norm: bool
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False

    @property
    def matmul_parameters(self) -> int:
        """N: parameters in matrix products for every token (the head counts, the lookup of the embedding does not)."""
        attention = self.hidden_size * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden_size * self.intermediate_size) + self.head_parameters

    @property
    def head_parameters(self) -> int:
        """Parameters of the output head."""
        return self.vocab_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """All parameters, tied ones once."""
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim * self.qkv_bias + self.hidden_size * self.output_bias
        biases += (2 * self.intermediate_size + self.hidden_size) * self.mlp_bias
        lookup = 0 if self.tie_embeddings else self.head_parameters
        return self.matmul_parameters + self.layers * (norms + biases) + self.hidden_size + lookup

    @property
    def muon_flops(self) -> float:
        """FLOPs of one Muon update: for each hidden matrix of m x n (m the smaller side) 4·m²·n + 2·m³ an iteration."""
        width, inner = self.hidden_size, self.intermediate_size
        queries, values = self.heads * self.head_dim, self.kv_heads * self.head_dim
        sides = [(width, queries), (width, queries), (width, values), (width, values), *[(width, inner)] * 3]
        once = sum(4.0 * min(pair) ** 2 * max(pair) + 2.0 * min(pair) ** 3 for pair in sides)
        return self.layers * NEWTON_SCHULZ_STEPS * once

    def forward_flops(self, context_tokens: float) -> float:
        """FLOPs a token forward: 2·N, and 2·layers·heads·head_dim·T for causal attention over T tokens."""
        return 2.0 * self.matmul_parameters + 2.0 * self.layers * self.heads * self.head_dim * context_tokens

    def training_flops(self, context_tokens: float) -> float:
        """FLOPs a token forward and backward: three times the forward ones (6·N and 6·layers·heads·head_dim·T)."""
        return 3.0 * self.forward_flops(context_tokens)


def of_page(page: ModelPage, vocab_size: int) -> Shape:
    """The shape a recipe asks for."""
    return Shape(
        vocab_size, page.hidden_size, page.layers, page.heads, page.kv_heads, page.head_dim,
        page.intermediate_size, page.tie_embeddings, page.layout == "qwen3", page.layout == "qwen2",
    )  # fmt: skip


def of_config(raw: Mapping[str, Any], where: str) -> Shape:
    """The shape of an open base, from its ``config.json``.

    Raises:
        DataError: a number is missing or is none.
    """
    try:
        layout, heads = raw.get("model_type"), int(raw["num_attention_heads"])
        if heads < 1:
            raise ValueError("no attention heads")
        biased = bool(raw.get("attention_bias")) and layout in ("llama", "qwen3")
        return Shape(
            vocab_size=int(raw["vocab_size"]),
            hidden_size=int(raw["hidden_size"]),
            layers=int(raw["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(raw.get("num_key_value_heads", _KV_HEADS.get(layout or "")) or heads),
            head_dim=int(raw.get("head_dim") or (128 if layout == "qwen3" else raw["hidden_size"] // heads)),
            intermediate_size=int(raw["intermediate_size"]),
            tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
            qk_norm=layout == "qwen3",
            qkv_bias=biased or layout == "qwen2",
            output_bias=biased,
            mlp_bias=bool(raw.get("mlp_bias")) and layout == "llama",
        )
    except KeyError as error:
        raise DataError(f"the base's config lacks {error}", where=where) from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"the base's config makes no sense: {error}", where=where) from error
