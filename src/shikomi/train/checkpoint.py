"""Checkpoints a run resumes from: safetensors and JSON, published by one rename, the last two kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from shikomi.io import PARTIAL_SUFFIX, read_json, sync_folder, write_json
from shikomi.model.transformer import Transformer
from shikomi.model.weights import load_tensors, save_tensors
from shikomi.train.optim import Optimiser

KEEP = 2
FILES = ("model.safetensors", "optimiser.safetensors", "state.json")


def save(folder: Path, step: int, model: Transformer, optimiser: Optimiser) -> None:
    """Write the state after ``step`` steps; an interrupted write leaves earlier checkpoints untouched."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:08d}"
    partial = final.with_name(final.name + PARTIAL_SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_tensors(partial / "model.safetensors", dict(model.state_dict()))
    save_tensors(partial / "optimiser.safetensors", optimiser.state())
    write_json(partial / "state.json", {"step": step})
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    sync_folder(folder)
    for old in _finished(folder)[:-KEEP]:
        shutil.rmtree(old)


def resume(folder: Path, model: Transformer, optimiser: Optimiser) -> int:
    """Load the latest finished checkpoint into model and optimiser; returns the steps it holds, 0 if there is none."""
    finished = _finished(folder)
    if not finished:
        return 0
    latest = finished[-1]
    model.load_state_dict(load_tensors(latest / "model.safetensors"))
    optimiser.load(load_tensors(latest / "optimiser.safetensors"))
    return int(read_json(latest / "state.json")["step"])


def _finished(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.glob("step-*")
        if not path.name.endswith(PARTIAL_SUFFIX) and all((path / name).is_file() for name in FILES)
    )
