"""Our trainer in step with ``pace``: ``pretrain``, ``sft`` or ``dpo``, through ``fit`` with its objectives."""

from __future__ import annotations

import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shikomi.model.config import ModelConfig
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.recipe.tune import DpoPage
from shikomi.train.batches import Batch, Row, stack
from shikomi.train.loop import FitSpec, fit
from shikomi.train.objective import NextToken
from shikomi.tune.dpo import DpoObjective, PairBatches, Side, reference_log_probs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from pace import Pace, Shape, Stop, shape

DISTINCT = 64
"""Pairs of the data set, seen again and again."""
ENDLESS = 1_000_000
OPTIM = OptimPage(kind="adamw", rate=3e-4, weight_decay=0.1, clip_norm=1.0, warmup_share=0.0, decay_share=0.0)


class Windows:
    """Batches of the shape's steps; ``answers`` leaves prompts out of the loss."""

    def __init__(self, wanted: Shape, answers: bool) -> None:
        self.wanted, self.answers = wanted, answers

    def step(self, step: int, part: tuple[int, int] = (0, 1)) -> list[Batch]:
        """One micro-batch: every row is one document."""
        weights = np.ones(self.wanted.tokens, dtype=np.float32)
        weights[: self.wanted.prompt - 1 if self.answers else 0] = 0.0
        documents = np.zeros(self.wanted.tokens, dtype=np.int32)
        return [stack([Row(ids[:-1], ids[1:], weights, documents) for ids in self.wanted.windows(step)])]


def model_of(wanted: Shape) -> Transformer:
    """The Llama of the shape, with seeded weights."""
    head_dim = wanted.hidden // wanted.heads
    config = ModelConfig(
        "llama", wanted.vocab, wanted.hidden, wanted.layers, wanted.heads, wanted.heads, head_dim, wanted.feed_forward,
        wanted.tokens, tie_embeddings=False,
    )  # fmt: skip
    model = Transformer(config)
    initialise(model, 0)
    return model


def pair_batches(wanted: Shape, model: Transformer) -> PairBatches:
    """Pairs with the reference's log-probs, computed once."""
    pairs = []
    for number in range(DISTINCT):
        prompt, *answers = (ids.tolist() for ids in wanted.pair(number))
        pairs.append([Side([*prompt, *ids, 1], [0] * len(prompt) + [1] * (len(ids) + 1)) for ids in answers])
    page = DpoPage(pairs=ENDLESS, batch_pairs=wanted.pairs, micro_batch_pairs=wanted.pairs)
    sides: Any = [tuple(pair) for pair in pairs]
    return PairBatches(sides, reference_log_probs(model, sides, 0, wanted.pairs), page, 0)


def main() -> None:
    """Train until told to stop."""
    on_gpu = torch.cuda.is_available()
    pace, wanted = Pace(torch.cuda.synchronize) if on_gpu else Pace(), shape()
    torch.set_num_threads(int(sys.argv[sys.argv.index("--threads") + 1]))
    asked = [kind for kind in ("bfloat16", "float8") if f"--{kind.replace('bfloat', 'bf')}" in sys.argv]
    site = TrainingSite(precision=(asked or ["float32"])[0], compile="--compile" in sys.argv)  # type: ignore[arg-type]
    model = model_of(wanted)
    if "dpo" in sys.argv:
        objective, batches = DpoObjective(0.1), pair_batches(wanted, model)
    else:
        objective, batches = NextToken(), Windows(wanted, answers="sft" in sys.argv)

    def stepped(done: int, total: int, unit: str, note: str = "") -> None:
        if done < total:
            pace.boundary()

    checkpoint_steps = (
        int(sys.argv[sys.argv.index("--checkpoint-steps") + 1]) if "--checkpoint-steps" in sys.argv else 0
    )
    with tempfile.TemporaryDirectory() as folder:
        spec = FitSpec(ENDLESS, OPTIM, checkpoint_steps or ENDLESS)
        try:
            pace.boundary()
            fit(model, objective, batches, spec, Path(folder), site=site, progress=stepped)
        except Stop:
            versions = {name: metadata.version(name) for name in ("torch", "numpy")}
            peak_mb = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else 0.0
            flops = model.config.flops_per_token(wanted.tokens)
            pace.say({"versions": versions, "peak_mb": peak_mb, "flops_per_token": flops})


if __name__ == "__main__":
    main()
