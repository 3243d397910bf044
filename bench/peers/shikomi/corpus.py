"""Ours, run as a peer: the whole corpus stage with one worker: every measure, both searches for copies, shards."""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path

from shikomi.corpus.pipeline import build_corpus
from shikomi.recipe.corpus import CorpusPage


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("warc", type=Path, nargs="+")
    arguments = parser.parse_args()
    facts = build_corpus(CorpusPage(), arguments.warc, arguments.out)
    versions = {name: version(name) for name in ("shikomi", "fastwarc", "resiliparse", "numpy", "pyarrow")}
    print(json.dumps({"pages": facts["read"], "kept": facts["kept"], "versions": versions}))


if __name__ == "__main__":
    main()
