"""Writers that pass a run's rows on to other programs: TensorBoard and Weights & Biases, both extras.

A writer is anything with ``row(row)`` and ``close()``; it never sees the model. These open their files at the first
row, so that of many ranks only the one that gets rows writes.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shikomi.errors import MachineError

MODULES = {"tensorboard": "tensorboard", "wandb": "wandb"}
"""Writers by name, and the module each needs."""


def check_writers(names: Sequence[str]) -> None:
    """Refuse writers whose extra is not installed, before anything is trained.

    Raises:
        MachineError: a module is missing.
    """
    for name in names:
        if importlib.util.find_spec(MODULES[name]) is None:
            raise MachineError(
                f'the writer "{name}" needs a package that is not installed',
                where="training.writers",
                hint=f"pip install 'shikomi[{name}]', or leave it out of training.writers",
            )


def open_writers(names: Sequence[str], out: Path, facts: Mapping[str, Any]) -> list[Any]:
    """The writers of those names, for the stage that works in folder ``out``.

    Args:
        names: of ``MODULES``.
        out: their files go to ``out/tensorboard`` and ``out/wandb``.
        facts: of the run (stage, steps, parameters), shown beside its curves.

    Raises:
        MachineError: a module is missing.
    """
    check_writers(names)
    kinds = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
    return [kinds[name](out, facts) for name in names]


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if name != "step" and isinstance(value, int | float) and math.isfinite(value):
            yield name, value


class TensorBoard:
    """Event files under ``out/tensorboard``, one scalar a number of the row; see them with ``tensorboard --logdir``.

    Rows of an attempt that was cut off are hidden by the next one (``purge_step``).
    """

    def __init__(self, out: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self.facts = out / "tensorboard", facts
        self._writer: Any = None

    def row(self, row: Mapping[str, Any]) -> None:
        """Write one step."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=row["step"])
            told = "".join(f"- {name}: {value}\n" for name, value in self.facts.items())
            self._writer.add_text("run", told, row["step"])
        for name, value in _numbers(row):
            self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Flush and close the file."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run under ``out/wandb``, offline unless ``WANDB_MODE`` says otherwise; ``wandb sync`` sends it later."""

    def __init__(self, out: Path, facts: Mapping[str, Any]) -> None:
        self.out, self.facts = out, facts
        self._run: Any = None

    def row(self, row: Mapping[str, Any]) -> None:
        """Write one step."""
        if self._run is None:
            self._run = importlib.import_module("wandb").init(
                project=os.environ.get("WANDB_PROJECT", "shikomi"),
                id=self.out.name,  # attempts of one stage are one run
                name=self.out.name,
                dir=str(self.out),
                config=dict(self.facts),
                mode=os.environ.get("WANDB_MODE", "offline"),
                resume="allow",
            )
        self._run.log(dict(_numbers(row)), step=row["step"])

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish()
