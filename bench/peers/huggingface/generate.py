"""``transformers.generate``, greedy, in step with ``pace``: a step is one call that answers all prompts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy
import torch
import transformers
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from pace import FULL, TINY, Pace, Stop


def main() -> None:
    """Answer until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--new", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tiny", action="store_true")
    wanted = parser.parse_args()
    pace = Pace()
    torch.set_num_threads(wanted.threads)
    shape = TINY if wanted.tiny else FULL
    config = LlamaConfig(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.heads,
        max_position_embeddings=512, rms_norm_eps=1e-6, tie_word_embeddings=False, attn_implementation="sdpa",
        eos_token_id=None, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict(load_file(wanted.weights))
    draw, answers = numpy.random.default_rng(wanted.batch), torch.empty(0)
    try:
        while True:
            pace.boundary()
            prompts = torch.from_numpy(draw.integers(4, shape.vocab, (wanted.batch, 32)))
            with torch.inference_mode():
                mask = torch.ones_like(prompts)
                answers = model.generate(prompts, attention_mask=mask, max_new_tokens=wanted.new, do_sample=False)
    except Stop:
        versions = {name.__name__: name.__version__ for name in (transformers, torch, numpy)}
        pace.say({"answers": answers[:, 32:].tolist(), "versions": versions})


if __name__ == "__main__":
    main()
