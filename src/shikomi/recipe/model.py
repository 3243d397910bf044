"""The model page: the decoder's shape, one dial for it, or the folder of the open base it starts from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import WHEN_GIVEN, WHERE_ONLY, Count, Page


class RopeScaling(Page):
    """Rotary positions stretched to a context longer than the one first trained with."""

    kind: Literal["linear", "llama3", "yarn"]
    """``linear``: all frequencies by the factor; ``llama3``: slow ones only (Llama 3.1); ``yarn``: slow ones only, and
    a factor on attention (Peng et al. 2023)."""
    factor: float = Field(gt=0)
    """How many times longer the context is meant to be."""
    original_max_tokens: Count = Field(default=4096, ge=16)
    """The context before scaling, in tokens (``llama3``, ``yarn``)."""
    low_freq_factor: float = Field(default=1.0, gt=0)
    """Wavelengths above the original context over this are scaled whole (``llama3``)."""
    high_freq_factor: float = Field(default=4.0, gt=0)
    """Wavelengths below the original context over this stay as they are (``llama3``)."""
    beta_fast: float = Field(default=32.0, gt=0)
    """Dimensions that turn more often than this over the original context stay as they are (``yarn``)."""
    beta_slow: float = Field(default=1.0, gt=0)
    """Dimensions that turn less often than this over the original context are scaled whole (``yarn``)."""


class ModelPage(Page):
    """A dense decoder in the layout of an open family; with ``base`` the shape is the folder's."""

    base: str = Field(default="", json_schema_extra=WHERE_ONLY)
    """A Hugging Face folder (Llama, Mistral, Qwen2/2.5 or Qwen3 layout) to start from; empty: from scratch."""
    params: Count = Field(default=0, ge=0, json_schema_extra=WHERE_ONLY)
    """The one dial: how many parameters the model has, embeddings included; every shape field that is not given
    follows from it, and ``shikomi plan`` shows how. 0: the shape is given field by field. What is built is known by
    the shape alone: a dial and the fields it comes to are one and the same."""
    layout: Literal["qwen3", "llama", "mistral", "qwen2"] = "qwen3"
    """Whose tensor names and block the weights follow: ``qwen3`` normalises queries and keys, ``qwen2`` adds a bias to
    queries, keys and values, ``llama`` and ``mistral`` do neither."""
    hidden_size: Count = Field(default=192, ge=16)
    """Width of the residual stream."""
    layers: int = Field(default=4, ge=1)
    """Decoder blocks."""
    heads: int = Field(default=6, ge=1)
    """Query heads a block; a multiple of ``kv_heads``."""
    kv_heads: int = Field(default=2, ge=1)
    """Key-value heads a block; each serves ``heads / kv_heads`` query heads."""
    head_dim: int = Field(default=32, ge=4)
    """Width of a head, even; need not be ``hidden_size / heads``."""
    intermediate_size: Count = Field(default=512, ge=16)
    """Width inside the SwiGLU feed-forward part."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary position frequencies."""
    rope_scaling: RopeScaling | None = Field(default=None, json_schema_extra=WHEN_GIVEN)
    """Rotary positions stretched to a longer context; none by default."""
    sliding_window: Count = Field(default=0, ge=0, json_schema_extra=WHEN_GIVEN)
    """Tokens back that attention sees, the token itself included (``mistral``: in all layers; ``qwen2``, ``qwen3``:
    from layer ``full_layers`` on); 0: all."""
    full_layers: int = Field(default=0, ge=0, json_schema_extra=WHEN_GIVEN)
    """With ``sliding_window``: layers at the bottom that see everything (``max_window_layers`` of Qwen)."""
    max_tokens: Count = Field(default=512, ge=16)
    """Longest sequence the model is made for, in tokens."""
    tie_embeddings: bool = True
    """Use the embedding as the output head too; small models are better for it."""
    vocab_multiple: Count = Field(default=0, ge=0, json_schema_extra=WHERE_ONLY)
    """Rows of the embedding are filled up with zeros to a multiple of this, so that ranks and tensor cores share them
    evenly; the added rows take no part in the loss and are cut off on export. 0: 1024 (128 for each of 8 tensor ranks)
    with ``params`` from 1B on, else none."""
    init_std: float = Field(default=0.02, gt=0)
    """Standard deviation of the initial weights."""
