"""The decoder's shape: from a recipe page, from and to a Hugging Face ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shikomi.errors import DataError, RecipeError
from shikomi.recipe.model import ModelPage

ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of a dense decoder.

    Attributes:
        layout: ``qwen3`` (queries and keys normalised per head) or ``llama``.
        vocab_size: rows of the embedding.
        hidden_size: width D of the residual stream.
        layers, heads, kv_heads, head_dim: attention shape; ``heads`` is a multiple of ``kv_heads``.
        intermediate_size: width F of the gated feed-forward block.
        max_tokens: longest sequence, in tokens.
        rope_theta: base of the rotary frequencies.
        rms_eps: epsilon of every RMSNorm.
        tie_embeddings: whether the output head is the embedding.
        init_std: standard deviation of initial weights.
    """

    layout: str
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    max_tokens: int
    rope_theta: float = 10_000.0
    rms_eps: float = 1e-6
    tie_embeddings: bool = True
    init_std: float = 0.02

    @property
    def qk_norm(self) -> bool:
        """Whether queries and keys are normalised per head (the Qwen3 layout does)."""
        return self.layout == "qwen3"

    @property
    def matmul_parameters(self) -> int:
        """Parameters that take part in a matrix product for every token (the head counts, the lookup does not)."""
        attention = self.hidden_size * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        return self.layers * (attention + feed_forward) + self.vocab_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """All parameters, tied ones once."""
        norms = self.layers * (2 * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)) + self.hidden_size
        lookup = 0 if self.tie_embeddings else self.vocab_size * self.hidden_size
        return self.matmul_parameters + norms + lookup

    def flops_per_token(self, sequence_tokens: int) -> float:
        """Training FLOPs a token: 6 x matmul parameters + causal attention, 6 x layers x heads x head_dim x T.

        Attention: scores and values each cost 2·T·heads·head_dim forward, halved by the causal mask, times three
        with the backward pass (Megatron-LM, arXiv 2104.04473, without recomputation).
        """
        attention = 6 * self.layers * self.heads * self.head_dim * sequence_tokens
        return 6.0 * self.matmul_parameters + attention


def from_page(page: ModelPage, vocab_size: int) -> ModelConfig:
    """The shape a recipe asks for.

    Raises:
        RecipeError: heads that do not divide.
    """
    if page.heads % page.kv_heads:
        raise RecipeError(
            f"model.heads = {page.heads} is not a multiple of model.kv_heads = {page.kv_heads}",
            where="model.kv_heads",
            hint="every key-value head serves the same number of query heads",
        )
    return ModelConfig(
        layout=page.layout,
        vocab_size=vocab_size,
        hidden_size=page.hidden_size,
        layers=page.layers,
        heads=page.heads,
        kv_heads=page.kv_heads,
        head_dim=page.head_dim,
        intermediate_size=page.intermediate_size,
        max_tokens=page.max_tokens,
        rope_theta=page.rope_theta,
        tie_embeddings=page.tie_embeddings,
        init_std=page.init_std,
    )


def to_hugging_face(config: ModelConfig, *, eos_id: int | None, pad_id: int | None) -> dict[str, Any]:
    """The ``config.json`` that transformers 4 and 5 read alike (rope is spelled both ways; v5 reads the latter)."""
    common: dict[str, Any] = {
        "architectures": [ARCHITECTURES[config.layout]],
        "model_type": config.layout,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_tokens,
        "rms_norm_eps": config.rms_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tie_embeddings,
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": eos_id,
        "pad_token_id": pad_id,
        "dtype": "float32",
        "torch_dtype": "float32",
    }
    if config.layout == "llama":
        return common | {"mlp_bias": False, "pretraining_tp": 1}
    return common | {
        "layer_types": ["full_attention"] * config.layers,
        "sliding_window": None,
        "use_sliding_window": False,
        "max_window_layers": config.layers,
    }


def from_hugging_face(raw: dict[str, Any], where: str) -> ModelConfig:
    """Read a ``config.json`` of the Llama or Qwen3 layout.

    Raises:
        DataError: another architecture, a feature that changes the arithmetic, or a missing field.
    """
    layout = raw.get("model_type")
    if layout not in ARCHITECTURES:
        raise DataError(
            f"architecture {layout!r} is not one this build can start from",
            where=where,
            hint=f"use a base whose model_type is one of: {', '.join(ARCHITECTURES)}",
        )
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    unsupported = {
        "rope type": kind if kind != "default" else None,
        "attention_bias": raw.get("attention_bias") or None,
        "mlp_bias": raw.get("mlp_bias") or None,
        "use_sliding_window": raw.get("use_sliding_window") or None,
        "hidden_act": raw.get("hidden_act") if raw.get("hidden_act", "silu") != "silu" else None,
    }
    for name, value in unsupported.items():
        if value is not None:
            raise DataError(f"{name} = {value!r} is not supported", where=where)
    try:
        heads = raw["num_attention_heads"]
        return ModelConfig(
            layout=layout,
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            layers=raw["num_hidden_layers"],
            heads=heads,
            kv_heads=raw.get("num_key_value_heads") or heads,
            head_dim=raw.get("head_dim") or raw["hidden_size"] // heads,
            intermediate_size=raw["intermediate_size"],
            max_tokens=raw["max_position_embeddings"],
            rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10_000.0))),
            rms_eps=raw.get("rms_norm_eps", 1e-6),
            tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
            init_std=raw.get("initializer_range", 0.02),
        )
    except KeyError as error:
        raise DataError(f"field {error} is missing", where=where) from error
