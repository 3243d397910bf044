"""Our generator against ``transformers.generate``: same weights, same prompts, greedy, the same answers.

    python bench/generate.py [--quick] [--repeats 5] [--json]

A Llama of 10.6M parameters in float32 on 2 threads continues 1, 8 and 32 prompts of 32 tokens by 96 tokens each. Both
live on as processes of their own and take turns; a round's ratio is theirs over ours of neighbouring calls, and what
counts is the median of the rounds with its range. If the answers are not the same, the bench fails.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import driver
from paced import Paced, rounds

BATCHES = (1, 8, 32)
MUST = (1.1, 1.4, 1.1)
GOAL = (1.5, 1.8, 1.5)
THREADS = 2
NEW_TOKENS = 96
OURS = driver.Peer("shikomi", ".venv", "shikomi/generate.py")
THEIRS = driver.Peer("transformers", ".venv-bench/huggingface", "huggingface/generate.py")


def write_weights(path: Path, tiny: bool) -> None:
    """Seeded weights of the shape under Hugging Face's names; large enough that likeliest tokens stand out."""
    import torch

    from pace import FULL, TINY
    from shikomi.model.config import ModelConfig
    from shikomi.model.transformer import Transformer, initialise
    from shikomi.model.weights import save_tensors

    shape = TINY if tiny else FULL
    model = Transformer(
        ModelConfig(
            "llama", shape.vocab, shape.hidden, shape.layers, shape.heads, shape.heads, shape.hidden // shape.heads,
            shape.feed_forward, 512, tie_embeddings=False,
        )
    )  # fmt: skip
    initialise(model, 0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    save_tensors(path, model.state_dict())


def compare(
    quick: bool, repeats: int, tell: Callable[[str], None], *, tiny: bool = False, theirs: driver.Peer = THEIRS
) -> dict[str, Any]:
    """Speed over transformers' for each batch: medians of tokens a second, wall clock, with range; CPU time beside.

    Args:
        quick: one call a round instead of about four seconds of calls.
        repeats: rounds of each batch, 5 at least.
        tell: told of each round.
        tiny: another model, for tests.
        theirs: the peer, for tests.

    Raises:
        BenchError: a peer is not installed or failed, or the answers differ.
    """
    batches = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_weights(path, tiny)
        for batch in BATCHES:
            arguments = ["--weights", str(path), "--batch", str(batch), "--new", str(8 if tiny else NEW_TOKENS)]
            arguments += ["--tiny"] * tiny
            with Paced(OURS, arguments, THREADS) as ours, Paced(theirs, arguments, THREADS) as peer:
                calls = 1 if quick else {1: 6, 8: 4, 32: 2}[batch]
                found = rounds([ours, peer], max(5, repeats), calls, tell)
                said = {OURS.name: ours.stop(), theirs.name: peer.stop()}
            if said[OURS.name].pop("answers") != said[theirs.name].pop("answers"):
                raise driver.BenchError(f"batch {batch}: the answers are not the same")
            batches.append({"batch": batch, **_ratios(found, theirs.name), "said": said})
            tell(f"batch {batch}: {batches[-1]['ratio']}, CPU {batches[-1]['cpu_ratio']}")
    return {
        "vs_generate": [round(found["ratio"]["median"], 3) for found in batches],
        "low": [round(found["ratio"]["low"], 3) for found in batches],
        "high": [round(found["ratio"]["high"], 3) for found in batches],
        "batches": batches,
    }


def _ratios(found: dict[str, dict[str, list[float]]], theirs: str) -> dict[str, Any]:
    """How many times as fast ours is, and how long calls took."""
    return {
        "ratio": driver.ratios(found[theirs]["seconds"], found[OURS.name]["seconds"]),
        "cpu_ratio": driver.ratios(found[theirs]["cpu_seconds"], found[OURS.name]["cpu_seconds"]),
        "seconds_a_call": {name: round(statistics.median(values["seconds"]), 4) for name, values in found.items()},
    }


def main() -> int:
    driver.use_own_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one call a round")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of each batch, 5 at least")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object on standard output")
    wanted = parser.parse_args()
    try:
        found = compare(wanted.quick, wanted.repeats, lambda text: print(text, file=sys.stderr, flush=True))
    except driver.BenchError as error:
        print(f"bench not complete: {error}", file=sys.stderr)
        return 1
    for batch in found["batches"]:
        calls = batch["seconds_a_call"]
        batch["tokens_per_second"] = {
            name: round(batch["batch"] * NEW_TOKENS / seconds) for name, seconds in calls.items()
        }
    result = {
        "bench": "generate",
        **found,
        "missed": [f"batch {batch}" for batch, low, must in zip(BATCHES, found["vs_generate"], MUST, strict=True)
                   if low < must],
        "machine": driver.machine(),
        "date": datetime.date.today().isoformat(),
    }  # fmt: skip
    path = driver.write_result("generate", result)
    if not wanted.json:
        for batch, must, goal in zip(found["batches"], MUST, GOAL, strict=True):
            ratio = batch["ratio"]
            print(
                f"batch {batch['batch']}: {batch['tokens_per_second']} tokens/s, {ratio['median']:.2f} "
                f"({ratio['low']:.2f} to {ratio['high']:.2f}); must {must}, goal {goal}"
            )
        print(f"written to {path.name}")
    print(json.dumps(result, ensure_ascii=False))
    return 1 if result["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
