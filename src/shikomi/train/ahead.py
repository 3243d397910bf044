"""Batches made ahead of the step that trains on them, so that no step waits for data."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

import torch

Made = TypeVar("Made", covariant=True)


class StepSource(Protocol[Made]):
    """Gives the micro-batches of any step."""

    def step(self, step: int, part: tuple[int, int] = (0, 1)) -> Sequence[Made]:
        """Micro-batches of a step."""
        ...


class Ahead(Generic[Made]):
    """Makes the batches of the next step while the present one trains, in a thread of its own.

    Only for batches that do not depend on the model.
    """

    def __init__(self, batches: StepSource[Made], steps: int) -> None:
        self.batches, self.steps = batches, steps
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._made: dict[tuple[int, tuple[int, int]], Future[Sequence[Made]]] = {}

    def step(self, step: int, part: tuple[int, int] = (0, 1)) -> Sequence[Made]:
        """The micro-batches of step ``step``, waited for if they are not ready; an error met in making them is raised
        here."""
        wanted = [(number, part) for number in (step, step + 1) if number < self.steps or number == step]
        kept = {key: made for key, made in self._made.items() if key in wanted}
        self._made = {key: kept.get(key) or self._pool.submit(self._make, *key) for key in wanted}
        return self._made.pop((step, part)).result()

    def _make(self, step: int, part: tuple[int, int]) -> Sequence[Made]:
        made = self.batches.step(step, part)
        if torch.cuda.is_available() and all(hasattr(one, "pin_memory") for one in made):
            return [one.pin_memory() for one in made]  # type: ignore[attr-defined]
        return made

    def __enter__(self) -> Ahead[Made]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
