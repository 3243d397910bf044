"""The model page: the decoder's shape, or the folder of the open base it starts from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import WHERE_ONLY, Count, Page


class ModelPage(Page):
    """A dense decoder in Qwen3 or Llama layout; with ``base`` the shape is the folder's."""

    base: str = Field(default="", json_schema_extra=WHERE_ONLY)
    """A Hugging Face folder (Llama or Qwen3 layout) to start from; empty: from scratch."""
    layout: Literal["qwen3", "llama"] = "qwen3"
    """Whose tensor names and block the weights follow: ``qwen3`` normalises queries and keys, ``llama`` does not."""
    hidden_size: Count = Field(default=192, ge=16)
    """Width of the residual stream."""
    layers: int = Field(default=4, ge=1)
    """Decoder blocks."""
    heads: int = Field(default=6, ge=1)
    """Query heads a block; a multiple of ``kv_heads``."""
    kv_heads: int = Field(default=2, ge=1)
    """Key-value heads a block; each serves ``heads / kv_heads`` query heads."""
    head_dim: int = Field(default=32, ge=4)
    """Width of a head, even."""
    intermediate_size: Count = Field(default=512, ge=16)
    """Width inside the SwiGLU feed-forward part."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary position frequencies."""
    max_tokens: Count = Field(default=512, ge=16)
    """Longest sequence the model is made for, in tokens."""
    tie_embeddings: bool = True
    """Use the embedding as the output head too; small models are better for it."""
    init_std: float = Field(default=0.02, gt=0)
    """Standard deviation of the initial weights."""
