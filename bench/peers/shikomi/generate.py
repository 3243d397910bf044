"""Our generator, in step with ``pace``: a step is one call that answers all prompts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import torch

from shikomi.model.answers import Options
from shikomi.model.config import ModelConfig
from shikomi.model.generate import Generator
from shikomi.model.transformer import Transformer
from shikomi.model.weights import load_tensors

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from pace import FULL, TINY, Pace, Stop, generation


def main() -> None:
    """Answer until told to stop."""
    wanted = generation()
    pace = Pace()
    torch.set_num_threads(wanted.threads)
    shape = TINY if wanted.tiny else FULL
    model = Transformer(
        ModelConfig(
            "llama", shape.vocab, shape.hidden, shape.layers, shape.heads, shape.heads, shape.hidden // shape.heads,
            shape.feed_forward, 512, tie_embeddings=False,
        )
    )  # fmt: skip
    model.load_state_dict(load_tensors(wanted.weights))
    draw = numpy.random.default_rng(wanted.batch)  # other prompts in every call: none is read before
    generator = Generator(model)
    answers = []
    try:
        while True:
            pace.boundary()
            prompts = draw.integers(4, shape.vocab, (wanted.batch, 32)).tolist()
            answers = generator.generate(prompts, Options(max_tokens=wanted.new))
    except Stop:
        versions = {"torch": torch.__version__, "numpy": numpy.__version__}
        pace.say({"answers": [answer.ids for answer in answers], "versions": versions})


if __name__ == "__main__":
    main()
