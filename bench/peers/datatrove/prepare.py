"""Trains the stand-in for lid.176.bin, which cannot be had here: a fastText model of the same shape, seeded.

Shape as published for lid.176: 176 labels, 16 dimensions, character 2- to 4-grams in 2,000,000 buckets, hierarchical
softmax. The training text is made up: every label has an alphabet of its own. It is there for its cost only.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import fasttext

LABELS, LINES, WORDS = 176, 60, 40
MODEL = Path(sys.prefix) / "lid.bin"


def made_up_text() -> str:
    """A training file: ``__label__NAME words``."""
    rnd = random.Random(176)
    lines = []
    for label in range(LABELS):
        first = rnd.choice([0x61, 0x410, 0x3041, 0x30A1, 0x4E00, 0xAC00, 0x5D0, 0x621, 0xE01, 0x905])
        alphabet = [chr(first + rnd.randrange(60)) for _ in range(30)]
        for _ in range(LINES):
            words = ["".join(rnd.choices(alphabet, k=rnd.randint(2, 8))) for _ in range(WORDS)]
            lines.append(f"__label__l{label:03d} " + " ".join(words))
    rnd.shuffle(lines)
    return "\n".join(lines) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        path.write_text(made_up_text(), encoding="utf-8")
        model = fasttext.train_supervised(
            str(path), dim=16, minn=2, maxn=4, bucket=2_000_000, loss="hs", epoch=2, thread=1, seed=1, verbose=0
        )
        model.save_model(str(MODEL))
    print(f"{MODEL.name}: {MODEL.stat().st_size / 1e6:.0f} MB, {len(model.labels)} labels")


if __name__ == "__main__":
    main()
