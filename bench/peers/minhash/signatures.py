"""Signatures of 800 values by the libraries datasketch and rensa, over the same character 5-grams."""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import datasketch
import rensa

SLOTS = 800


def grams(text: str) -> list[str]:
    return list({text[i : i + 5] for i in range(max(1, len(text) - 4))})


def by_datasketch(text: str):
    made = datasketch.MinHash(num_perm=SLOTS)
    made.update_batch([gram.encode("utf-8") for gram in grams(text)])
    return made


def by_rensa(text: str):
    made = rensa.RMinHash(num_perm=SLOTS, seed=1)
    made.update(grams(text))
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, required=True)
    arguments = parser.parse_args()
    lengths = json.loads(arguments.texts.read_text(encoding="utf-8"))
    said: dict = {"versions": {name: version(name) for name in ("datasketch", "rensa")}}
    for name, sign in (("datasketch", by_datasketch), ("rensa", by_rensa)):
        said[name] = {}
        for length, pairs in lengths.items():
            start = time.process_time()
            made = [(sign(one), sign(other), exact) for one, other, exact in pairs]
            seconds = time.process_time() - start
            errors = [one.jaccard(other) - exact for one, other, exact in made]
            said[name][length] = {
                "documents_per_cpu_s": round(2 * len(pairs) / seconds, 1),
                "bias": round(sum(errors) / len(errors), 5),
                "rmse": round((sum(error**2 for error in errors) / len(errors)) ** 0.5, 5),
            }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
