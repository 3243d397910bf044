"""Our trainer against Hugging Face Trainer, litgpt and TRL: same shapes, AdamW, bfloat16, turn by turn.

    python bench/train.py [--quick] [--rounds 7] [--threads 2] [--json]

A Llama of 10.6M parameters (``pace.FULL``), 4 rows of 512 tokens a step; DPO: 4 pairs of 128 + 128 tokens. Every
trainer lives on as a process of its own and makes some steps when it is its turn; warm-up is not counted. A round's
ratio is the peer's seconds a step over ours; what counts is the median of the rounds with its interval, and the same
in CPU seconds stands beside it. Then memory of the loss, the stall of checkpoints, and generation
(``bench/generate.py``). The last line printed is one JSON object; results/train-DATE.json holds everything.

Where a processor has no products in bfloat16 (x86 without AVX-512), PyTorch's own take forty seconds a step: there the
bfloat16 races are of one row, and without ``--quick`` the same races are run in float32 too (``float32``), which is
what a user of such a processor would compare.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import statistics
import sys
from contextlib import ExitStack
from typing import Any

import driver
from pace import FULL, SHORT, TINY
from paced import Paced, rounds

OURS = driver.Peer("shikomi", ".venv", "shikomi/train.py")
HUGGINGFACE = driver.Peer("huggingface", ".venv-bench/huggingface", "huggingface/train.py")
LITGPT = driver.Peer("litgpt", ".venv-bench/litgpt", "litgpt/train.py")
TRL = driver.Peer("trl", ".venv-bench/trl", "trl/train.py")
KINDS = {"pretrain": [HUGGINGFACE, LITGPT], "sft": [TRL], "dpo": [TRL]}
MUST = {"vs_hf_trainer": 1.15, "vs_litgpt": 1.0, "sft_vs_trl": 1.5, "dpo_vs_trl": 1.5}
GOAL = {"vs_hf_trainer": 1.4, "vs_litgpt": 1.15, "sft_vs_trl": 1.9, "dpo_vs_trl": 1.9}
NAMES = {("pretrain", "huggingface"): "vs_hf_trainer", ("pretrain", "litgpt"): "vs_litgpt",
         ("sft", "trl"): "sft_vs_trl", ("dpo", "trl"): "dpo_vs_trl"}  # fmt: skip
CHECKPOINT_EVERY = 100
"""Steps between checkpoints by default (``pretrain.checkpoint_steps``)."""


def interval(values: list[float]) -> dict[str, float]:
    """Median, the order statistics around it that hold the true median with at least 90 %, and how likely they do.

    From the binomial distribution, whatever the values are distributed like; of 5 values the smallest and largest
    (94 %), of 3 these too, but only with 75 %.
    """
    ordered, n = sorted(values), len(values)

    def coverage(cut: int) -> float:
        return 1 - 2 * sum(math.comb(n, k) for k in range(cut + 1)) / 2**n

    cut = max((k for k in range((n + 1) // 2) if coverage(k) >= 0.9), default=0)
    return {
        "median": round(statistics.median(ordered), 3),
        "low": round(ordered[cut], 3),
        "high": round(ordered[n - 1 - cut], 3),
        "coverage": round(max(0.0, coverage(cut)), 3),
    }


def race(
    kind: str, peers: list[driver.Peer], repeats: int, steps: int, shared: list[str], threads: int
) -> dict[str, Any]:
    """Rounds of our trainer and its peers on one kind of training: ratios by peer, seconds a step, versions."""
    with ExitStack() as stack:
        racers = [stack.enter_context(Paced(peer, [kind, *shared], threads)) for peer in [OURS, *peers]]
        for racer in racers:
            racer.steps(min(2, steps))
        found = rounds(racers, repeats, steps, lambda text: print(f"{kind}, {text}", file=sys.stderr, flush=True))
        said = {racer.peer.name: racer.stop().get("versions") for racer in racers}
    ours = found[OURS.name]
    ratios = {}
    for peer in peers:
        ratios[peer.name] = {
            what: interval([theirs / own for theirs, own in zip(found[peer.name][what], ours[what], strict=True)])
            for what in ("seconds", "cpu_seconds")
        }
    return {"ratios": ratios, "rounds": found, "versions": said}


def race_all(repeats: int, steps: int, shared: list[str], threads: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """All races: medians by the names that ratios have with their ``intervals``, and everything measured, by kind."""
    races = {kind: race(kind, peers, repeats, steps, shared, threads) for kind, peers in KINDS.items()}
    found = {name: races[kind]["ratios"][peer] for (kind, peer), name in NAMES.items()}
    intervals = {name: ratios | {"must": MUST[name], "goal": GOAL[name]} for name, ratios in found.items()}
    return {name: ratios["seconds"]["median"] for name, ratios in found.items()} | {"intervals": intervals}, races


def loss_memory(shape: dict[str, int]) -> dict[str, Any]:
    """Peak memory of our chunked loss over that of whole logits; both must give the same loss."""
    peer = driver.Peer("loss memory", ".venv", "shikomi/loss_memory.py")
    arguments = [part for name, value in shape.items() for part in (f"--{name}", str(value))]
    ways = {way: driver.run(peer, [way, *arguments]).said for way in ("chunked", "materialised")}
    if not math.isclose(ways["chunked"]["loss"], ways["materialised"]["loss"], rel_tol=1e-3):
        raise driver.BenchError(f"the losses differ: {ways}")
    return {**shape, **ways, "share": round(ways["chunked"]["peak_mb"] / ways["materialised"]["peak_mb"], 4)}


def checkpoint_stall(repeats: int, steps: int, shared: list[str], threads: int) -> dict[str, Any]:
    """What checkpoints take from training: time over that of steps without, per checkpoint, as a share of 100 steps.

    Two of our trainers take turns, one of which starts a checkpoint in every round; what is written in the background
    while it trains on counts too.
    """
    plain = driver.Peer("plain", OURS.environment, OURS.script)
    saving = driver.Peer("saving", OURS.environment, OURS.script)
    with Paced(plain, ["pretrain", *shared], threads) as one, Paced(
        saving, ["pretrain", "--checkpoint-steps", str(steps), *shared], threads
    ) as other:  # fmt: skip
        found = rounds([one, other], repeats, steps, lambda text: print_error(f"checkpoints, {text}"), statistics.fmean)
    step = statistics.median(found["plain"]["seconds"])
    lost = [(b - a) * steps for a, b in zip(found["plain"]["seconds"], found["saving"]["seconds"], strict=True)]
    shares = interval([seconds / (CHECKPOINT_EVERY * step) for seconds in lost])
    return {"seconds_a_checkpoint": round(statistics.median(lost), 3), "share": shares, "step_seconds": round(step, 4)}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All of it; the numbers asked for stand at the top."""
    from shikomi.model.halves import HALF_PRODUCTS, HAS_HALF_PRODUCTS

    short = not HAS_HALF_PRODUCTS and not given.tiny
    shape = TINY if given.tiny else SHORT if short else FULL
    whole = ["--bf16"] + ["--tiny"] * given.tiny
    shared = whole + ["--short"] * short
    repeats, steps = (3, 3) if given.quick else (given.rounds, 6)
    result: dict[str, Any] = {"date": datetime.date.today().isoformat(), "machine": driver.machine()}
    result |= {"threads": given.threads, "precision": "bfloat16 (autocast)", "optimiser": "AdamW", "shape": vars(shape)}
    result["bfloat16_products"] = {"there": HAS_HALF_PRODUCTS, "used by ours": HALF_PRODUCTS}
    ratios, races = race_all(repeats, 1 if short else steps, shared, given.threads)
    result |= ratios
    positions = shape.rows * shape.tokens
    own = statistics.median(races["pretrain"]["rounds"][OURS.name]["seconds"])
    result["tokens_per_second"] = {
        name: round(positions / statistics.median(found["seconds"]), 1)
        for name, found in races["pretrain"]["rounds"].items()
    } | {"step_seconds": round(own, 4)}
    sizes = {"positions": 64, "vocab": 8192, "hidden": 32} if given.tiny else {}
    result["loss"] = loss_memory(sizes or {"positions": 2048, "vocab": 131_072, "hidden": 512})
    result["loss_memory"] = result["loss"]["share"]
    # Ours alone, so of a whole step on any processor.
    result["checkpoint"] = checkpoint_stall(max(2, repeats - 2), steps + 1, whole, given.threads)
    result["checkpoint_stall"] = result["checkpoint"]["share"]["median"]
    if given.generate:
        import generate

        result["generate"] = generate.compare(given.quick, 3 if given.quick else 5, print_error, tiny=given.tiny)
        result["vs_generate"] = result["generate"]["vs_generate"]
    if short and not given.quick:
        result["float32"], races["float32"] = race_all(repeats, steps, [], given.threads)
    result["races"] = races
    result["not_measured"] = "anything on a GPU: bench/gpu was not lent one (its CPU rehearsal runs)"
    return result


def print_error(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run the bench; exits 1 where a peer is missing or failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three short rounds; under 12 minutes on 2 cores")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-generate", dest="generate", action="store_false", help="leave generation out")
    parser.add_argument("--tiny", action="store_true", help="for tests: another shape, and nothing is written")
    parser.add_argument("--json", action="store_true", help="one line; without it the object is indented")
    given = parser.parse_args()
    driver.use_own_environment()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # this bench is of processors, bench/gpu of the other
    try:
        result = measure(given)
    except driver.BenchError as error:
        sys.exit(str(error))
    if not given.tiny:
        print_error(f"written: {driver.write_result('train', result)}")
    shown = {name: value for name, value in result.items() if name not in ("races", "generate")}
    print(json.dumps(shown, ensure_ascii=False, indent=None if given.json else 2))


if __name__ == "__main__":
    main()
