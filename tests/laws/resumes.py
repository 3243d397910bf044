"""Runs that are stopped in one layout and gone on with in another, as ranks are sent them (``tests.dist.crew``)."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any

from shikomi.errors import Stopped
from shikomi.log import Progress, silent
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train import storage
from shikomi.train.loop import FitSpec, fit
from shikomi.train.objective import NextToken
from tests.laws.layouts import CONFIG, Keep, Steps

STEPS = 16


def go(
    folder: str,
    mesh: dict[str, int],
    *,
    kind: str,
    stop_at: int = 0,
    seed: int = 1,
    config: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train to the end, or until asked to stop after step ``stop_at``, from whatever checkpoint the folder holds.

    Returns:
        Rows of this attempt and, of a main rank that came to the end, the weights by name.
    """
    model = Transformer(dataclasses.replace(CONFIG, **(config or {})))
    initialise(model, seed)
    kept = Keep()
    site = TrainingSite(mesh=MeshPage(**mesh), precision="float32")
    spec = FitSpec(STEPS, OptimPage(kind=kind, rate=0.003), checkpoint_steps=5)
    batches = Steps(model.config.vocab_size, 4)
    stopped = ""
    try:
        fit(
            model, NextToken(), batches, spec, Path(folder), site=site, writers=[kept], progress=progress,
            stop_requested=lambda: bool(kept.rows) and kept.rows[-1]["step"] == stop_at,
        )  # fmt: skip
    except Stopped as told:
        stopped = told.what
    weights = {name: p.detach().numpy() for name, p in model.named_parameters() if not p.is_meta} if not stopped else {}
    return {"rows": kept.rows, "weights": weights, "stopped": stopped}


def go_with_a_full_disk(folder: str, mesh: dict[str, int], *, rank: int, step: int) -> dict[str, Any]:
    """Train to the end while one rank has no room for one step's checkpoint.

    Returns:
        What ``go`` returns, and under ``said`` what was told beside the progress on this rank.
    """
    write, said = storage.write_tensors, []

    class Hears:
        def __call__(self, *told: Any) -> None:
            pass

        def say(self, text: str) -> None:
            said.append(text)

    def fails(path: Path, tensors: Any) -> None:
        if path.parent.name.startswith(f"step-{step:08d}") and path.name == f"rank-{rank:05d}.safetensors":
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, tensors)

    storage.write_tensors = fails
    try:
        return go(folder, mesh, kind="adamw", progress=Hears()) | {"said": said}
    finally:
        storage.write_tensors = write
