"""Training, loss and generation on one GPU: MFU, against Hugging Face Trainer, compiled and in float8.

    python bench/gpu/run.py [--rounds 5] [--json]      # one H200, H100 or the like
    python bench/gpu/run.py --rehearsal                           # the same code with tiny shapes on a CPU

The model is a Llama of 1.34B parameters (``pace.LARGE``), rows of 4,096 tokens, bfloat16, AdamW. Every way of ours
takes turns with Hugging Face Trainer (eager, as it is by default); a round's ratio is
theirs over ours. Peers run in .venv and .venv-bench/huggingface where these exist, else in this Python.

    MFU = tokens a second x FLOPs a token / peak
    FLOPs a token = 6 x parameters in products + 6 x layers x heads x head dim x tokens (causal attention)
    peak = 989e12 a second (dense bfloat16, H100 SXM and H200), whatever the precision

results/gpu-DATE.json says what could not be measured here and why.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import driver
from pace import LARGE, TINY, Shape
from paced import Paced, rounds
from train import interval

PEAK = 989e12
"""Dense bfloat16 FLOP a second of H100 SXM and H200 (data sheets; the 1,979 of the sheets' first line is sparse)."""
FORMULA = "tokens/s x (6 x matmul parameters + 6 x layers x heads x head_dim x tokens) / 989e12"
WAYS = {"eager": ["--bf16"], "compiled": ["--bf16", "--compile"], "float8": ["--float8", "--compile"]}
MUST = {"mfu": 0.50, "vs_hf_trainer": 1.5, "loss_memory": 0.20}
GOAL = {"mfu": 0.60, "vs_hf_trainer": 2.2, "loss_memory": 0.10}
BATCHES = (1, 8, 32)
THREADS = 1
"""Of the processor, which only hands out work."""


class Here(driver.Peer):
    """A peer that runs in this Python where its own environment does not exist."""

    @property
    def python(self) -> Path:
        own = super().python
        return own if own.exists() else Path(sys.executable)


HUGGINGFACE = Here("huggingface", ".venv-bench/huggingface", "huggingface/train.py")


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


def race(way: str, repeats: int, steps: int, shared: list[str], shape: Shape) -> dict[str, Any]:
    """One way of ours against Hugging Face Trainer in bfloat16."""
    ours = Here(way, ".venv", "shikomi/train.py")
    with (
        Paced(ours, ["pretrain", *WAYS[way], *shared], THREADS) as one,
        Paced(HUGGINGFACE, ["--bf16", *shared], THREADS) as other,
    ):
        for racer in (one, other):
            racer.steps(3)
        found = rounds([one, other], repeats, steps, lambda text: tell(f"{way}, {text}"))
        said = {one.peer.name: one.stop(), other.peer.name: other.stop()}
    mine, theirs = found[way]["seconds"], found["huggingface"]["seconds"]
    tokens, flops = shape.rows * shape.tokens, said[way]["flops_per_token"]
    speed = {name: tokens / statistics.median(seconds) for name, seconds in (("ours", mine), ("theirs", theirs))}
    return {
        "vs_hf_trainer": interval([b / a for a, b in zip(mine, theirs, strict=True)]),
        "tokens_per_second": {name: round(value, 1) for name, value in speed.items()},
        "mfu": {name: round(value * flops / PEAK, 6) for name, value in speed.items()},
        "flops_per_token": flops,
        "said": said,
    }


def loss_memory(device: str, tiny: bool) -> dict[str, Any]:
    """Peak memory of our loss over that of whole logits."""
    sizes = ["--positions", "64", "--vocab", "8192", "--hidden", "32"] if tiny else []
    sizes = sizes or ["--positions", "8192", "--vocab", "131072", "--hidden", "2048"]
    peer = Here("loss memory", ".venv", "shikomi/loss_memory.py")
    ways = {way: driver.run(peer, [way, *sizes, "--device", device]).said for way in ("chunked", "materialised")}
    return {**ways, "share": round(ways["chunked"]["peak_mb"] / ways["materialised"]["peak_mb"], 4)}


def generation(shape: Shape, device: str, new_tokens: int) -> list[dict[str, float]]:
    """Tokens a second of our generator for each batch, prompts of 32 tokens, greedy; the third call of three."""
    import numpy
    import torch

    from shikomi.model.answers import Options
    from shikomi.model.config import ModelConfig
    from shikomi.model.generate import Generator
    from shikomi.model.transformer import Transformer, initialise

    heads = (shape.heads, shape.heads, shape.hidden // shape.heads)
    config = ModelConfig("llama", shape.vocab, shape.hidden, shape.layers, *heads, shape.feed_forward, 512)
    model = Transformer(config)
    initialise(model, 0)
    model.to(device, torch.bfloat16 if device == "cuda" else torch.float32)
    generator, found = Generator(model), []
    for batch in BATCHES:
        prompts = numpy.random.default_rng(batch).integers(4, shape.vocab, (batch, 32)).tolist()
        seconds = 0.0
        for _ in range(3):
            begun = time.perf_counter()
            generator.generate(prompts, Options(max_tokens=new_tokens))
            seconds = time.perf_counter() - begun
        found.append({"batch": batch, "tokens_per_second": round(batch * new_tokens / seconds, 1)})
        tell(f"generation: {found[-1]}")
    return found


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that can be measured here."""
    import torch

    device = "cpu" if given.rehearsal else "cuda"
    shape = TINY if given.rehearsal else LARGE
    shared = ["--tiny"] if given.rehearsal else ["--large"]
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(), "machine": driver.machine(), "rehearsal": given.rehearsal,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None, "torch": torch.__version__,
        "shape": vars(shape), "mfu_formula": FORMULA, "must": MUST, "goal": GOAL, "not_measured": {}, "ways": {},
    }  # fmt: skip
    for way in given.ways:
        try:
            result["ways"][way] = race(way, given.rounds, given.steps, shared, shape)
        except driver.BenchError as error:
            result["not_measured"][way] = str(error).strip().splitlines()[-3:]
            tell(f"{way}: not measured: {result['not_measured'][way]}")
    result["loss"] = loss_memory(device, given.rehearsal)
    result["loss_memory"] = result["loss"]["share"]
    result["generation"] = generation(shape, device, 8 if given.rehearsal else 128)
    best = max(result["ways"].items(), key=lambda item: item[1]["mfu"]["ours"], default=None)
    if best is not None and not given.rehearsal:
        result |= {"best": best[0], "mfu": best[1]["mfu"]["ours"], "vs_hf_trainer": best[1]["vs_hf_trainer"]["median"]}
    if given.rehearsal:
        numbers = "MFU, speed against Hugging Face Trainer, float8, compile, memory and generation on a GPU"
        result["not_measured"]["everything"] = f"{numbers}: a rehearsal on a CPU, no GPU was lent"
    return result


def main() -> None:
    """Run the bench, or its rehearsal; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearsal", action="store_true", help="tiny shapes on a CPU: does it run from end to end?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--json", action="store_true", help="one line; without it the object is indented")
    parser.add_argument("--keep", action="store_true", help="write nothing to bench/results")
    given = parser.parse_args()
    driver.use_own_environment()
    import torch

    if not given.rehearsal and not torch.cuda.is_available():
        sys.exit("no CUDA device here; --rehearsal runs the same code with tiny shapes on a CPU")
    result = measure(given)
    if not given.keep:
        tell(f"written: {driver.write_result('gpu-rehearsal' if given.rehearsal else 'gpu', result)}")
    print(json.dumps(result, ensure_ascii=False, indent=None if given.json else 2))


if __name__ == "__main__":
    main()
