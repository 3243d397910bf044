"""Ranks for tests: processes that stay alive for the whole session and are sent work by name.

A rank starts once for each world size (importing torch takes seconds), joins one gloo group, and then runs functions
of test modules: ``crew.run("tests.laws.layouts:train", mesh=…)`` calls ``train(mesh=…)`` on every rank and gives the
list of what they returned. Arguments and results are pickled, so they are plain data or tensors.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import socket
import time
import traceback
from multiprocessing.connection import Connection, wait
from typing import Any

START_SECONDS = 180.0
"""Longest wait for the ranks to import torch and meet; seconds on an idle machine."""
WORK_SECONDS = 300.0
GRACE_SECONDS = 5.0
"""How long other ranks may go on after one has failed: they may be waiting for it in a collective, for ever."""


class RankFailed(AssertionError):
    """Work failed on a rank; the message is the traceback there, of each rank that failed by itself."""


class Crew:
    """``size`` ranks on gloo. ``run`` starts them if they are not there, or were ended after a failure."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._ranks: list[tuple[Any, Connection]] = []

    def run(self, work: str, *, seconds: float = WORK_SECONDS, **arguments: Any) -> list[Any]:
        """Call ``module:function`` on every rank with the same arguments.

        Returns:
            What each rank returned, in the order of ranks.

        Raises:
            RankFailed: with the tracebacks, or naming the ranks that did not answer in time.
        """
        if not self._ranks:
            self._start()
        for _, pipe in self._ranks:
            pipe.send((work, arguments))
        return self._collect(seconds, work)

    def close(self) -> None:
        """End the ranks."""
        for process, pipe in self._ranks:
            pipe.close()
            process.kill()
        for process, _ in self._ranks:
            process.join()
        self._ranks = []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        port = free_port()
        for rank in range(self.size):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, rank, self.size, port), daemon=True)
            process.start()
            there.close()
            self._ranks.append((process, here))
        self._collect(START_SECONDS, "the start")

    def _collect(self, seconds: float, work: str) -> list[Any]:
        results: dict[int, Any] = {}
        failures: dict[int, str] = {}
        pipes = {pipe: rank for rank, (_, pipe) in enumerate(self._ranks)}
        until = time.monotonic() + seconds
        while pipes and (left := until - time.monotonic()) > 0:
            for pipe in wait(list(pipes), timeout=left):
                rank = pipes.pop(pipe)  # type: ignore[call-overload]
                good, value = _receive(pipe)  # type: ignore[arg-type]
                (results if good else failures)[rank] = value
                if not good:
                    until = min(until, time.monotonic() + GRACE_SECONDS)
        if pipes:
            # They may wait in a collective for ever; the next piece of work gets new ranks.
            self.close()
        if failures or pipes:
            told = [f"rank {rank} of {self.size}:\n{text}" for rank, text in sorted(failures.items())]
            waiting = f"ranks {sorted(pipes.values())} of {self.size} did not answer" if pipes else ""
            raise RankFailed("\n".join([work, *told, waiting]))
        return [results[rank] for rank in range(self.size)]


def free_port() -> int:
    """A port that nothing listened to a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _receive(pipe: Connection) -> tuple[bool, Any]:
    try:
        return pipe.recv()
    except EOFError:
        return False, "the process ended"


def _serve(pipe: Connection, rank: int, size: int, port: int) -> None:
    """A rank: join, say so, then answer each piece of work until the pipe closes."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    pipe.send(_answer(_join, {}))
    while True:
        try:
            work, arguments = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        pipe.send(_answer(_named, {"work": work, "arguments": arguments}))


def _answer(function: Any, arguments: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, function(**arguments)
    except BaseException:
        return False, traceback.format_exc()


def _join() -> None:
    import torch

    from shikomi.compute.mesh import open_world
    from shikomi.recipe.mesh import MeshPage

    torch.set_num_threads(1)
    open_world(MeshPage(), join_seconds=START_SECONDS)


def _named(work: str, arguments: dict[str, Any]) -> Any:
    module, _, function = work.partition(":")
    return getattr(importlib.import_module(module), function)(**arguments)
