"""Our ``pretrain`` stage as the recipe has it, with another budget and seed; the stage's own function.

    python quality.py SETTINGS.json --threads 2

``SETTINGS.json``: ``page`` and ``model`` (pages of the recipe), ``tokens`` and ``tokenizer`` (folders), ``out``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from shikomi.recipe.model import ModelPage
from shikomi.recipe.train import TrainPage
from shikomi.tokenizer.codec import Codec
from shikomi.train.stretch import pretrain


def main() -> None:
    """Train once and say how long it took and what the last loss was."""
    settings = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(int(sys.argv[sys.argv.index("--threads") + 1]))
    tokenizer, out = Path(settings["tokenizer"]), Path(settings["out"])
    out.mkdir(parents=True, exist_ok=True)
    page = TrainPage.model_validate_json(json.dumps(settings["page"]))
    shape = ModelPage.model_validate_json(json.dumps(settings["model"]))
    begun = time.perf_counter()
    facts = pretrain(page, shape, None, Path(settings["tokens"]), tokenizer, Codec(tokenizer), out)
    seconds = time.perf_counter() - begun
    said = {"seconds": round(seconds, 1), "final_loss": facts["final_loss"], "parameters": facts["parameters"]}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
