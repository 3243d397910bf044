"""Bits per byte at equal compute: our pre-training as a recipe has it against Hugging Face Trainer, on held-out pages.

    shikomi build recipes/real-pages.toml --store STORE     # as far as its tokens
    python bench/quality.py --recipe recipes/real-pages.toml --store STORE [--tokens 500k] [--json]

Both see the same tokens in the same rows and order, once, with the same tokenizer, number of steps and size of model
(a Llama of the same shape there; ours has what the recipe gives it). There: AdamW (betas 0.9 and 0.95, decay 0.1,
clipped at 1), cosine with 5 % warm-up, its rate swept over ``--rates`` on the first seed (further, while the best
lies at an end); the best rate then gets the other seeds. Ours: the recipe's own settings, nothing swept here. Both
models are scored by one evaluator in float32 (``evaluate``: whole held-out documents in overlapping windows).

A run that is finished is kept in ``--out``/runs.json and not made again, so the bench can be cut off and started anew.
Intervals are Student's over the seeds. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import math
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import driver

OURS = driver.Peer("shikomi", ".venv", "shikomi/quality.py")
THEIRS = driver.Peer("huggingface", ".venv-bench/huggingface", "huggingface/quality.py")
RATES = [0.001, 0.002, 0.004, 0.008, 0.016]
FURTHER = 3
"""Rates tried at most beyond an end of the sweep while the best one lies there, each twice or half the last."""
MUST, GOAL = 0.03, 0.08
WARMUP_SHARE = 0.05
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""97.5 % points of Student's t with n - 1 degrees of freedom, by n."""


def interval(values: list[float]) -> dict[str, float]:
    """Mean and its 95 % interval by Student's t; of one value the interval is the value."""
    mean = statistics.mean(values)
    half = STUDENT[len(values)] * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": round(mean, 5), "low": round(mean - half, 5), "high": round(mean + half, 5)}


class Runs:
    """Finished runs by name, in a file that is written after each."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs.json"
        self.found: dict[str, dict[str, Any]] = json.loads(self.path.read_text()) if self.path.is_file() else {}

    def add(self, name: str, run: dict[str, Any]) -> None:
        """Keep a run."""
        self.found[name] = run
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.found, indent=2) + "\n")
        partial.replace(self.path)


class Bench:
    """One recipe, budget and store.

    Args:
        given: the command line.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        from shikomi.recipe.load import load
        from shikomi.report.status import read_recorded
        from shikomi.tokenizer.codec import Codec
        from shikomi.units import parse_count

        self.given, self.recipe = given, load(given.recipe)
        status = read_recorded(given.store, self.recipe.name)
        folders = {}
        for name in ("tokens", "tokenizer"):
            if not status.stage(name).finished:
                raise driver.BenchError(f"stage {name} of {self.recipe.name} is not built in {given.store}")
            folders[name] = status.stage(name).folder.resolve()
        self.tokens, self.tokenizer = folders["tokens"], folders["tokenizer"]
        self.codec = Codec(self.tokenizer)
        page = self.recipe.pretrain
        budget = parse_count(given.tokens) if given.tokens else page.tokens
        self.steps = math.ceil(budget / page.batch_tokens)
        self.rows = page.batch_tokens // page.sequence_tokens
        self.page = page.model_copy(update={"tokens": self.steps * page.batch_tokens, "mixture": []})
        self.out = given.out or given.store / "quality" / f"{self.recipe.name}-{self.page.tokens}"
        self.out.mkdir(parents=True, exist_ok=True)
        self.runs = Runs(self.out)
        facts = [self.page.identity(), self.recipe.model.identity(), self.tokens.name, self.tokenizer.name]
        self.mark = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
        self.heldout: list[list[int]] = []

    def ours(self, seed: int) -> dict[str, Any]:
        """Our run of a seed."""
        page = self.page.model_copy(update={"seed": seed})
        settings = {"page": page.model_dump(mode="json"), "model": self.recipe.model.model_dump(mode="json")}
        return self._run(OURS, f"shikomi, seed {seed}", settings)

    def theirs(self, seed: int, rate: float) -> dict[str, Any]:
        """Hugging Face's run of a seed and rate, on the rows that ours of that seed sees."""
        shape = self.recipe.model
        settings = {
            "shape": {
                "vocab_size": self.codec.vocab_size, "hidden_size": shape.hidden_size, "head_dim": shape.head_dim,
                "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
                "num_key_value_heads": shape.kv_heads, "intermediate_size": shape.intermediate_size,
                "max_position_embeddings": max(shape.max_tokens, self.page.sequence_tokens + 1),
                "rms_norm_eps": 1e-6, "tie_word_embeddings": shape.tie_embeddings,
                "rope_parameters": {"rope_type": "default", "rope_theta": shape.rope_theta},
                "eos_token_id": self.codec.eos_id, "pad_token_id": self.codec.pad_id, "bos_token_id": None,
            },
            "rows": self.rows, "rate": rate, "warmup_steps": max(1, round(WARMUP_SHARE * self.steps)), "seed": seed,
            "bf16": has_bfloat16(), "windows": str(self.out / f"windows-{seed}.npy"),
        }  # fmt: skip
        return self._run(THEIRS, f"huggingface, rate {rate}, seed {seed}", settings)

    def _run(self, peer: driver.Peer, name: str, settings: dict[str, Any]) -> dict[str, Any]:
        key = f"{name}, {self.mark}"
        if key in self.runs.found:
            return self.runs.found[key]
        folder = self.out / "".join(letter if letter.isalnum() or letter == "." else "-" for letter in key)
        settings |= {"tokens": str(self.tokens), "tokenizer": str(self.tokenizer), "out": str(folder)}
        if "windows" in settings and not Path(settings["windows"]).is_file():
            self._write_windows(Path(settings["windows"]), settings["seed"])
        path = self.out / "settings.json"
        path.write_text(json.dumps(settings))
        threads = str(self.given.threads)
        done = driver.run(peer, [str(path), "--threads", threads], environment={"OMP_NUM_THREADS": threads})
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if (self.tokenizer / file).is_file():
                shutil.copyfile(self.tokenizer / file, folder / file)
        run = done.said | {"bits_per_byte": self._score(folder), "cpu_seconds": round(done.cpu_seconds, 1)}
        self.runs.add(key, run)
        print(f"{name}: {run}", file=sys.stderr, flush=True)
        return run

    def _write_windows(self, path: Path, seed: int) -> None:
        """The rows that our run of a seed sees, in its order."""
        import numpy as np

        from shikomi.data.tokens import TokenShards
        from shikomi.train.batches import CrawlRows

        rows = CrawlRows(TokenShards(self.tokens, "train"), self.page.sequence_tokens, self.codec.eos_id, seed)
        found = [rows.row(index) for index in range(self.steps * self.rows)]
        whole = np.stack([np.append(row.tokens_T, row.targets_T[-1]) for row in found]).astype(np.int32)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, whole)
        partial.replace(path)

    def _score(self, folder: Path) -> float:
        """Bits per byte of a model folder on held-out documents."""
        from shikomi.evaluate.answers import heldout_documents
        from shikomi.evaluate.examinee import LoadedModel
        from shikomi.units import parse_count

        if not self.heldout:
            self.heldout = heldout_documents(self.tokens, parse_count(self.given.heldout), 1)
        examinee = LoadedModel.open(folder)
        bits = examinee.document_bits(self.heldout, self.page.sequence_tokens)
        return round(sum(bits) / sum(examinee.document_bytes(ids) for ids in self.heldout), 5)


def has_bfloat16() -> bool:
    """Whether our trainer takes bfloat16 here by itself: then both do."""
    import torch

    from shikomi.train.device import takes_bfloat16

    return takes_bfloat16(torch.device("cpu"))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The sweep, the seeds, and how they compare."""
    bench = Bench(given)
    seeds = list(range(1, given.seeds + 1))
    ours = [bench.ours(seed) for seed in seeds]
    sweep = {rate: bench.theirs(seeds[0], rate) for rate in sorted(given.rates)}
    best = min(sweep, key=lambda rate: sweep[rate]["bits_per_byte"])
    for _ in range(FURTHER):
        if min(sweep) < best < max(sweep):
            break
        further = best * 2 if best == max(sweep) else best / 2
        sweep[further] = bench.theirs(seeds[0], further)
        best = min(sweep, key=lambda rate: sweep[rate]["bits_per_byte"])
    theirs = [sweep[best], *(bench.theirs(seed, best) for seed in seeds[1:])]
    mine, other = ([run["bits_per_byte"] for run in runs] for runs in (ours, theirs))
    gain = interval([1 - a / b for a, b in zip(mine, other, strict=True)])
    return {
        "date": datetime.date.today().isoformat(), "machine": driver.machine(), "recipe": bench.recipe.name,
        "tokens": bench.page.tokens, "steps": bench.steps, "heldout_tokens": sum(map(len, bench.heldout)) or None,
        "bits_per_byte": interval(mine), "bits_per_byte_hf": interval(other), "gain": gain["mean"],
        "gain_interval": gain, "apart": interval(mine)["high"] < interval(other)["low"], "must": MUST, "goal": GOAL,
        "best_rate": best,
        "best_rate_at_an_end": best in (min(sweep), max(sweep)),
        "sweep": {str(rate): run["bits_per_byte"] for rate, run in sweep.items()}, "seeds": seeds,
        "parameters": {"shikomi": ours[0]["parameters"], "huggingface": theirs[0]["parameters"]},
        "ours": ours, "theirs": theirs, "bfloat16": has_bfloat16(), "threads": given.threads,
    }  # fmt: skip


def main() -> None:
    """Run what is missing and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--tokens", default="", help="tokens a run sees, as 500k; the recipe's if left out")
    parser.add_argument("--heldout", default="100k", help="held-out tokens that are scored, whole documents")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, 6))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder of runs; STORE/quality/RECIPE-TOKENS if left out")
    parser.add_argument("--keep", action="store_true", help="write nothing to bench/results")
    parser.add_argument("--json", action="store_true", help="one line; without it the object is indented")
    given = parser.parse_args()
    driver.use_own_environment()
    from shikomi.errors import ShikomiError

    try:
        result = measure(given)
    except (driver.BenchError, ShikomiError) as error:
        sys.exit(str(error))
    if not given.keep:
        print(f"written: {driver.write_result('quality', result)}", file=sys.stderr)
    print(json.dumps(result, ensure_ascii=False, indent=None if given.json else 2))


if __name__ == "__main__":
    main()
