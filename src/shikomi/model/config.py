"""The decoder's shape: everything that decides its tensors and its arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shikomi.errors import RecipeError
from shikomi.model.rope import Rope, of_page
from shikomi.recipe.model import ModelPage


@dataclass(frozen=True)
class Layout:
    """What a family of open models has in common.

    Attributes:
        architecture: class name in transformers.
        qk_norm: queries and keys are normalised per head.
        qkv_bias: queries, keys and values always have a bias.
        may_bias: ``attention_bias`` gives all four projections of attention one.
        head_dim, kv_heads, sliding_window: what transformers takes where ``config.json`` says nothing; 0: none or
            from the other numbers.
    """

    architecture: str
    qk_norm: bool = False
    qkv_bias: bool = False
    may_bias: bool = False
    head_dim: int = 0
    kv_heads: int = 0
    sliding_window: int = 0


LAYOUTS = {
    "qwen3": Layout("Qwen3ForCausalLM", qk_norm=True, may_bias=True, head_dim=128, kv_heads=32),
    "llama": Layout("LlamaForCausalLM", may_bias=True),
    "mistral": Layout("MistralForCausalLM", kv_heads=8, sliding_window=4096),
    "qwen2": Layout("Qwen2ForCausalLM", qkv_bias=True, kv_heads=32),
}
"""Layouts that can be read, trained and written (Qwen2.5 is a qwen2)."""


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of a dense decoder.

    Attributes:
        layout: one of ``LAYOUTS``.
        vocab_size: rows of the embedding that stand for tokens.
        hidden_size: width D of the residual stream.
        layers, heads, kv_heads, head_dim: attention shape; ``heads`` is a multiple of ``kv_heads``.
        intermediate_size: width F of the gated feed-forward block.
        max_tokens: longest sequence, in tokens.
        rope_theta: base of the rotary frequencies.
        rms_eps: epsilon of every RMSNorm.
        tie_embeddings: whether the output head is the embedding.
        init_std: standard deviation of initial weights.
        qkv_bias, output_bias, mlp_bias: which projections have a bias.
        sliding_window: tokens back that windowed layers see, the token itself included; 0: all.
        full_layers: numbers of the layers that see everything although there is a window.
        scaling: rotary frequencies with their scaling; None: plain ones of ``rope_theta``.
        vocab_multiple: rows of the embedding are filled up with zeros to a multiple of this; they have no logits.
        source: the ``config.json`` this was read from; its fields that we do not use are written out again.
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
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    sliding_window: int = 0
    full_layers: tuple[int, ...] = ()
    scaling: Rope | None = None
    vocab_multiple: int = 1
    source: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def qk_norm(self) -> bool:
        """Whether queries and keys are normalised per head (the Qwen3 layout does)."""
        return LAYOUTS[self.layout].qk_norm

    @property
    def rope(self) -> Rope:
        """The rotary frequencies."""
        return self.scaling or Rope(self.rope_theta)

    @property
    def vocab_rows(self) -> int:
        """Rows of the embedding, padding included."""
        return -(-self.vocab_size // self.vocab_multiple) * self.vocab_multiple

    def window(self, layer: int) -> int:
        """Tokens back that a layer sees, the token itself included; 0: all."""
        return 0 if layer in self.full_layers else self.sliding_window

    @property
    def matmul_parameters(self) -> int:
        """Parameters that take part in a matrix product for every token (the head counts, the lookup does not)."""
        attention = self.hidden_size * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        return self.layers * (attention + feed_forward) + self.vocab_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """All parameters, tied ones once, without the padding of the vocabulary."""
        norms = 2 * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim * self.qkv_bias + self.hidden_size * self.output_bias
        biases += (2 * self.intermediate_size + self.hidden_size) * self.mlp_bias
        lookup = 0 if self.tie_embeddings else self.vocab_size * self.hidden_size
        return self.matmul_parameters + self.layers * (norms + biases) + self.hidden_size + lookup

    def flops_per_token(self, sequence_tokens: int) -> float:
        """Training FLOPs a token: 6 x matmul parameters + causal attention, 6 x layers x heads x head_dim x T.

        Attention: scores and values each cost 2·T·heads·head_dim forward, halved by the causal mask, times three
        with the backward pass (Megatron-LM, arXiv 2104.04473, without recomputation). Windowed layers count as full.
        """
        attention = 6 * self.layers * self.heads * self.head_dim * sequence_tokens
        return 6.0 * self.matmul_parameters + attention


def from_page(page: ModelPage, vocab_size: int) -> ModelConfig:
    """The shape a recipe asks for, field by field (a dial is turned into fields by ``recipe.dial`` before).

    Raises:
        RecipeError: heads that do not divide, or a window in a layout that has none.
    """
    if page.heads % page.kv_heads:
        raise RecipeError(
            f"model.heads = {page.heads} is not a multiple of model.kv_heads = {page.kv_heads}",
            where="model.kv_heads",
            hint="every key-value head serves the same number of query heads",
        )
    if page.sliding_window and page.layout == "llama":
        raise RecipeError(
            'model.layout = "llama" has no sliding window',
            where="model.sliding_window",
            hint='take model.layout = "mistral" (the same block with a window), or leave the window out',
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
        qkv_bias=LAYOUTS[page.layout].qkv_bias,
        sliding_window=page.sliding_window,
        full_layers=tuple(range(min(page.full_layers, page.layers))) if page.sliding_window else (),
        scaling=of_page(page.rope_theta, page.rope_scaling) if page.rope_scaling else None,
        vocab_multiple=page.vocab_multiple or 1,
    )
