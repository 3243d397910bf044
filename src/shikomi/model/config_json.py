"""A decoder's shape from and to a Hugging Face ``config.json`` that transformers 4 and 5 read alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shikomi.errors import DataError
from shikomi.model.config import LAYOUTS, Layout, ModelConfig
from shikomi.model.rope import ROPE_TYPES, Rope

_ROPE_KEYS = {
    "factor": "factor", "original_max_position_embeddings": "original_max_tokens",
    "low_freq_factor": "low_freq_factor", "high_freq_factor": "high_freq_factor",
    "beta_fast": "beta_fast", "beta_slow": "beta_slow", "attention_factor": "attention_factor",
    "mscale": "mscale", "mscale_all_dim": "mscale_all_dim", "truncate": "truncate",
}  # fmt: skip
"""Names in transformers → ours."""
_KEYS_OF = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor", "mscale",
             "mscale_all_dim", "truncate"),
}  # fmt: skip


def to_hugging_face(
    config: ModelConfig, *, eos_id: int | None, pad_id: int | None, dtype: str = "float32"
) -> dict[str, Any]:
    """The ``config.json`` of a model: the one it was read from, with what we know on top.

    RoPE is spelled both ways: transformers 4 reads ``rope_theta`` and ``rope_scaling``, version 5 ``rope_parameters``.

    Args:
        config: the shape.
        eos_id, pad_id: of the tokenizer; an end that the source names stays if it is or contains ``eos_id``.
        dtype: of the weights.
    """
    source = dict(config.source or {})
    layout = LAYOUTS[config.layout]
    found: dict[str, Any] = {"bos_token_id": None} | source
    found |= {
        "architectures": source.get("architectures") or [layout.architecture],
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
        "attention_dropout": source.get("attention_dropout", 0.0),
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tie_embeddings,
        "use_cache": True,
        "eos_token_id": _end(source.get("eos_token_id"), eos_id),
        "pad_token_id": source.get("pad_token_id") if pad_id is None else pad_id,
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    return found | _rope_fields(config.rope, source) | _switches(config, layout, source)


def _end(source: Any, eos_id: int | None) -> Any:
    known = source if isinstance(source, list) else [source]
    return source if eos_id is None or eos_id in known else eos_id


def _rope_fields(rope: Rope, source: Mapping[str, Any]) -> dict[str, Any]:
    theta = {"rope_theta": rope.theta}
    if rope.kind == "default":
        fields = {**theta, "rope_parameters": {"rope_type": "default", **theta}}
        return fields | ({"rope_scaling": None} if "rope_scaling" in source else {})
    given = source.get("rope_parameters") or source.get("rope_scaling")
    scaling = {key: value for key, value in (given or {}).items() if key not in ("rope_theta", "type")}
    if not given:
        plain = Rope()
        for key in _KEYS_OF[rope.kind]:
            value = getattr(rope, _ROPE_KEYS[key])
            if key == "factor" or value != getattr(plain, _ROPE_KEYS[key]) or rope.kind == "llama3":
                scaling[key] = value
    scaling = {"rope_type": rope.kind, **scaling}
    return {**theta, "rope_scaling": scaling, "rope_parameters": {**scaling, **theta}}


def _switches(config: ModelConfig, layout: Layout, source: Mapping[str, Any]) -> dict[str, Any]:
    """What only some layouts have: biases and the window."""
    found: dict[str, Any] = {}
    if layout.may_bias:
        found["attention_bias"] = config.qkv_bias
    if config.layout == "llama":
        return found | {"mlp_bias": config.mlp_bias, "pretraining_tp": source.get("pretraining_tp", 1)}
    if config.layout == "mistral":
        return found | {"sliding_window": config.sliding_window or None}
    full = "full_attention"
    types = ["sliding_attention" if config.window(layer) else full for layer in range(config.layers)]
    known = source.get("sliding_window"), source.get("max_window_layers")
    return found | {
        "layer_types": types,
        "sliding_window": config.sliding_window or known[0],
        "use_sliding_window": bool(config.sliding_window),
        "max_window_layers": len(config.full_layers) if config.sliding_window else known[1] or config.layers,
    }


def from_hugging_face(raw: Mapping[str, Any], where: str) -> ModelConfig:
    """Read a ``config.json`` of the Llama, Mistral, Qwen2 or Qwen3 layout, in the spelling of either major version.

    Raises:
        DataError: another architecture, a feature that changes the arithmetic, or a missing or senseless field.
    """
    name = raw.get("model_type")
    if name not in LAYOUTS:
        raise DataError(
            f"architecture {name!r} is not one this build can start from",
            where=where,
            hint=f"use a base whose model_type is one of: {', '.join(LAYOUTS)}",
        )
    layout = LAYOUTS[name]
    _refuse(raw, where)
    try:
        heads, layers, max_tokens = raw["num_attention_heads"], raw["num_hidden_layers"], raw["max_position_embeddings"]
        window, full_layers = _window(raw, name, layout, layers)
        rope = _rope(raw, max_tokens, where)
        attention_bias = bool(raw.get("attention_bias", False)) and layout.may_bias
        return ModelConfig(
            layout=name,
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            layers=layers,
            heads=heads,
            kv_heads=raw.get("num_key_value_heads", layout.kv_heads) or heads,
            head_dim=raw.get("head_dim") or layout.head_dim or raw["hidden_size"] // heads,
            intermediate_size=raw["intermediate_size"],
            max_tokens=max_tokens,
            rope_theta=rope.theta,
            rms_eps=raw.get("rms_norm_eps", 1e-6),
            tie_embeddings=bool(raw.get("tie_word_embeddings", False)),
            init_std=raw.get("initializer_range", 0.02),
            qkv_bias=layout.qkv_bias or attention_bias,
            output_bias=attention_bias,
            mlp_bias=bool(raw.get("mlp_bias", False)) and name == "llama",
            sliding_window=window,
            full_layers=full_layers,
            scaling=None if rope.kind == "default" else rope,
            source=dict(raw),
        )
    except KeyError as error:
        raise DataError(f"field {error} is missing", where=where) from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"a number makes no sense: {error}", where=where) from error


def _refuse(raw: Mapping[str, Any], where: str) -> None:
    """Refuse what would give other logits than transformers does."""
    activation = raw.get("hidden_act", "silu")
    partial = raw.get("partial_rotary_factor", (raw.get("rope_parameters") or {}).get("partial_rotary_factor", 1.0))
    quantised = raw.get("quantization_config")
    unsupported = {
        "hidden_act": activation if activation != "silu" else None,
        "partial_rotary_factor": partial if partial not in (None, 1, 1.0) else None,
        "quantization_config": quantised.get("quant_method", "given") if isinstance(quantised, dict) else quantised,
    }
    for name, value in unsupported.items():
        if value is not None:
            hint = "start from the model's unquantised weights" if name == "quantization_config" else ""
            raise DataError(f"{name} = {value!r} is not supported", where=where, hint=hint)


def _rope(raw: Mapping[str, Any], max_tokens: int, where: str) -> Rope:
    given = dict(raw.get("rope_parameters") or {})
    # transformers 5 takes the older spelling where both are given.
    given |= raw.get("rope_scaling") or {}
    kind = given.get("rope_type", given.get("type", "default"))
    if kind not in ROPE_TYPES or any(isinstance(value, dict) for value in given.values()):
        kind = kind if kind not in ROPE_TYPES else "one for each kind of layer"
        raise DataError(
            f"rope type {kind!r} is not supported",
            where=where,
            hint=f"positions must mean the same in every sequence: one of {', '.join(ROPE_TYPES)}",
        )
    theta = float(given.get("rope_theta", raw.get("rope_theta", 10_000.0)))
    if kind == "default":
        return Rope(theta)
    if "factor" not in given:
        raise KeyError("rope_parameters.factor")
    values = {ours: given[name] for name, ours in _ROPE_KEYS.items() if given.get(name) is not None}
    if kind in ("llama3", "yarn"):
        original = raw.get("original_max_position_embeddings") or values.get("original_max_tokens") or max_tokens
        values["original_max_tokens"] = original
        values.setdefault("factor", max_tokens / original)
    return Rope(theta, kind, **{name: values[name] for name in values if _belongs(name, kind)})


def _belongs(name: str, kind: str) -> bool:
    return name in {_ROPE_KEYS[key] for key in _KEYS_OF[kind]}


def _window(raw: Mapping[str, Any], name: str, layout: Layout, layers: int) -> tuple[int, tuple[int, ...]]:
    """The window, and the layers that see everything all the same."""
    if name == "llama":
        return 0, ()
    if name == "mistral":
        return int(raw.get("sliding_window", layout.sliding_window) or 0), ()
    if not raw.get("use_sliding_window") or not raw.get("sliding_window", 4096):
        return 0, ()
    # What transformers takes where the file is silent: a window of 4096 from layer 28 on.
    first = raw.get("max_window_layers", 28)
    types = raw.get("layer_types") or ["sliding_attention" if i >= first else "full_attention" for i in range(layers)]
    full = tuple(index for index, kind in enumerate(types[:layers]) if kind == "full_attention")
    return (0, ()) if len(full) == layers else (int(raw.get("sliding_window", 4096)), full)
