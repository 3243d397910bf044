"""The parent's side of ``pace``: peers that live on, run in rounds, one at a time, measured against each other."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import driver


class Paced:
    """A started peer that waits for orders.

    Args:
        peer: what to run; its script calls ``pace.Pace``.
        arguments: its command line.
        threads: of its products.
    """

    def __init__(self, peer: driver.Peer, arguments: list[str], threads: int) -> None:
        if not peer.python.exists():
            raise driver.BenchError(f"{peer.name}: no {peer.environment}; run make bench-setup")
        self.peer = peer
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [str(peer.python), str(driver.BENCH / "peers" / peer.script), "--threads", str(threads), *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=environment, text=True
        )
        self._answer()  # that it is ready

    def steps(self, number: int) -> dict[str, list[float]]:
        """Have it make so many steps: ``seconds`` and ``cpu_seconds`` of each."""
        return self._order(str(number))

    def stop(self) -> dict[str, Any]:
        """End it; what it says last."""
        return self._order("stop")

    def __enter__(self) -> Paced:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _order(self, order: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise driver.BenchError(f"{self.peer.name} ended: {self._errors.read().decode()[-2000:]}")
        return json.loads(line)


def rounds(
    peers: list[Paced],
    repeats: int,
    steps: int,
    tell: Callable[[str], None],
    of_steps: Callable[[Sequence[float]], float] = statistics.median,
) -> dict[str, dict[str, list[float]]]:
    """Seconds and CPU seconds of a step of each peer, one number a round (``of_steps``: the steps' median, or mean);
    one round before them is not counted.

    The order is turned round every time, so that what a peer leaves behind (heat, caches) falls on all.
    """
    found = {paced.peer.name: {"seconds": [], "cpu_seconds": []} for paced in peers}
    for number in range(-1, repeats):
        for paced in peers if number % 2 else peers[::-1]:
            took = paced.steps(steps)
            if number < 0:
                continue
            for what, values in found[paced.peer.name].items():
                values.append(of_steps(took[what]))
        if number >= 0:
            last = {name: round(values["seconds"][-1], 3) for name, values in found.items()}
            tell(f"round {number + 1}/{repeats}: seconds a step {last}")
    return found
