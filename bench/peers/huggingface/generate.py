"""``transformers.generate``, greedy, in step with ``pace``: a step is one call that answers all prompts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import torch
import transformers
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from llama import llama
from pace import FULL, TINY, Pace, Stop, generation


def main() -> None:
    """Answer until told to stop."""
    wanted = generation()
    pace = Pace()
    torch.set_num_threads(wanted.threads)
    shape = TINY if wanted.tiny else FULL
    model = llama(
        shape,
        max_position_embeddings=512,
        use_cache=True,
        rms_norm_eps=1e-6,
        eos_token_id=None,
        bos_token_id=None,
        pad_token_id=0,
    ).eval()
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
