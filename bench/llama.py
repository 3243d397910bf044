"""What the peers on transformers share: the Llama of a shape, and a callback that keeps a trainer in step."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from pace import Pace, Shape


class Pacer(TrainerCallback):
    """Calls the pace before every step."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        """See ``TrainerCallback``."""
        self.pace.boundary()


def llama(wanted: Shape, **more: Any) -> LlamaForCausalLM:
    """The Llama of the shape, with seeded weights, made for training; ``more`` goes to its configuration."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=wanted.vocab, hidden_size=wanted.hidden, intermediate_size=wanted.feed_forward,
        num_hidden_layers=wanted.layers, num_attention_heads=wanted.heads, num_key_value_heads=wanted.heads,
        tie_word_embeddings=False, attn_implementation="sdpa",
        **{"max_position_embeddings": wanted.tokens, "use_cache": False, **more},
    )  # fmt: skip
    return LlamaForCausalLM(config)
