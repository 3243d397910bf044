"""Signatures of 800 slots as the corpus stage makes them, from text to slots and band keys."""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from shikomi.corpus.copies.clusters import agreement
from shikomi.corpus.copies.minhash import band_keys, signature

SLOTS, BANDS = 800, 40


def sign(text: str) -> np.ndarray:
    values = signature(text, SLOTS)
    band_keys(values, BANDS)
    return values.astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, required=True)
    arguments = parser.parse_args()
    said: dict = {"versions": {name: version(name) for name in ("shikomi", "numpy")}, "shikomi": {}}
    for length, pairs in json.loads(arguments.texts.read_text(encoding="utf-8")).items():
        start = time.process_time()
        made = [(sign(one), sign(other), exact) for one, other, exact in pairs]
        seconds = time.process_time() - start
        errors = np.array([agreement(one[None], other[None])[0] - exact for one, other, exact in made])
        said["shikomi"][length] = {
            "documents_per_cpu_s": round(2 * len(pairs) / seconds, 1),
            "bias": round(float(errors.mean()), 5),
            "rmse": round(float(np.sqrt((errors**2).mean())), 5),
        }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
