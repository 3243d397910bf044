"""Is a stage's memory what the planner says? Peaks of real training steps beside ``plan.layout``'s estimate.

    python bench/memory.py [--quick] [--json]

Each case is a process of its own: a small model is trained for one step first, so that libraries are loaded; what the
process's peak (VmHWM) grows by over two steps of the real one is compared with the estimate. The estimate must lie
below: a stage that would run may not be refused. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CASES = [
    {"params": "1M", "vocab_size": 2048, "rows": 16, "tokens": 256, "micros": 1, "kind": "muon"},
    {"params": "10M", "vocab_size": 4096, "rows": 8, "tokens": 512, "micros": 2, "kind": "muon"},
    {"params": "10M", "vocab_size": 4096, "rows": 8, "tokens": 512, "micros": 1, "kind": "adamw"},
    {"params": "10M", "vocab_size": 4096, "rows": 16, "tokens": 512, "micros": 1, "kind": "adamw", "recompute": True},
    {"params": "10M", "vocab_size": 4096, "rows": 8, "tokens": 512, "micros": 2, "kind": "muon", "half": True},
    {"params": "50M", "vocab_size": 32_000, "rows": 4, "tokens": 512, "micros": 1, "kind": "adamw"},
    {"params": "150M", "vocab_size": 32_000, "rows": 2, "tokens": 256, "micros": 1, "kind": "adamw"},
]


def peak_bytes() -> int:
    """Most memory this process has had so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this kernel does not tell a process's peak")


def run(case: dict[str, Any]) -> dict[str, Any]:
    """Train a case in this process: estimate and growth of the peak, in bytes."""
    import numpy as np

    from shikomi.model.config import ModelConfig, from_page
    from shikomi.model.transformer import Transformer, initialise
    from shikomi.plan.layout import Work, memory
    from shikomi.recipe.dial import resolve
    from shikomi.recipe.mesh import TrainingSite
    from shikomi.recipe.model import ModelPage
    from shikomi.recipe.train import OptimPage
    from shikomi.train.batches import Row, stack
    from shikomi.train.loop import FitSpec, fit
    from shikomi.train.memory import shape_of
    from shikomi.train.objective import NextToken

    half, again = case.get("half", False), case.get("recompute", False)
    site = TrainingSite(precision="bfloat16" if half else "float32", recompute=again)

    class Steps:
        def __init__(self, rows: int, tokens: int, micros: int, vocab_size: int) -> None:
            self.rows, self.tokens, self.micros, self.vocab_size = rows, tokens, micros, vocab_size

        def step(self, step: int, part: tuple[int, int] = (0, 1)) -> list[Any]:
            ids = np.random.default_rng(step).integers(0, self.vocab_size, (self.micros, self.rows, self.tokens + 1))
            weights, documents = np.ones(self.tokens, np.float32), np.zeros(self.tokens, np.int32)
            return [stack([Row(row[:-1], row[1:], weights, documents) for row in micro]) for micro in ids]

    def train(config: ModelConfig, batches: Steps, steps: int) -> None:
        model = Transformer(config)
        initialise(model, 1)
        with tempfile.TemporaryDirectory() as folder:
            fit(model, NextToken(), batches, FitSpec(steps, OptimPage(kind=case["kind"]), 100), Path(folder), site=site)

    train(ModelConfig("qwen3", 64, 16, 1, 1, 1, 16, 16, 16), Steps(1, 16, 1, 64), 1)
    before = peak_bytes()
    page = ModelPage.model_validate({"params": case["params"], "max_tokens": case["tokens"]})
    config = from_page(resolve(page, case["vocab_size"]), case["vocab_size"])
    train(config, Steps(case["rows"], case["tokens"], case["micros"], case["vocab_size"]), 2)
    step_rows = case["rows"] * case["micros"]
    work = Work(case["rows"], step_rows, case["tokens"], case["kind"], again, half, "cpu")
    need = memory(shape_of(config), work)
    parts = {part.name: part.bytes for part in need.parts}
    return {**case, "estimate": need.peak, "measured": peak_bytes() - before, "parts": parts}


def main() -> int:
    """Run the cases one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="the first three cases")
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(run(asked.case)))
        return 0
    found = []
    for case in CASES[:3] if asked.quick else CASES:
        ended = subprocess.run(
            [sys.executable, __file__, "--case", json.dumps(case)], capture_output=True, text=True, check=True
        )
        found.append(json.loads(ended.stdout.splitlines()[-1]))
        one = found[-1]
        if not asked.json:
            told = " ".join(str(value) for value in case.values())
            ratio = one["measured"] / one["estimate"]
            print(
                f"{told}: estimate {one['estimate'] / 1e6:.0f} MB, measured {one['measured'] / 1e6:.0f} MB, {ratio:.2f}"
            )
    ratios = [one["measured"] / one["estimate"] for one in found]
    print(json.dumps({"ratios": [round(ratio, 3) for ratio in ratios], "below": min(ratios) >= 1.0}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
