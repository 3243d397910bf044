"""Work on a Ray cluster: the same functions over the same items as on this machine, with the same results.

A worker is a Ray actor that holds one item at a time. When its process or its node is lost, the item is tried again on
another one; a lost node is nobody's fault and is not counted against the item. Inputs and outputs are files in a folder
that every node sees; only names and small answers travel.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from shikomi.compute.pool import TICK_SECONDS, Crew, Item, Limits, OnDeath, OnTick, Result, add_counts, listening
from shikomi.errors import MachineError, ShikomiError
from shikomi.io import write_as

START_SECONDS = 120.0
"""How long a cluster may have no worker at all for us before that is an error."""
CONNECT_SECONDS = 5.0
"""How long the cluster's head may take to answer a knock; Ray itself would try for minutes."""
MAX_LOSSES = 20
"""Nodes that may be lost under one item."""
ALIKE = ("shikomi", "numpy", "pyarrow", "fastwarc", "resiliparse")
"""Packages whose version decides bytes: every worker must have the parent's."""


class RayPool:
    """Runs a function over items on the workers of a Ray cluster; see ``compute.pool.Pool``.

    Args:
        address: the cluster's head, ``host:port``, or ``auto``.
        workers: processes to use; 0: one for each processor of the cluster.
        attempts: how often an item is tried when its worker dies.
        limits: what a page may take in a worker.
        shared: a folder that every worker must see; None: not checked.
    """

    def __init__(
        self,
        address: str = "auto",
        *,
        workers: int = 0,
        attempts: int = 2,
        limits: Limits | None = None,
        shared: Path | None = None,
    ) -> None:
        self.address = address
        self.wanted = workers
        self.attempts = attempts
        self.limits = limits or Limits()
        self.shared = shared

    @property
    def workers(self) -> int:
        """Processes to use: the number asked for, else the processors of the cluster.

        Raises:
            MachineError: Ray is not installed, or the cluster does not answer.
        """
        if self.wanted:
            return self.wanted
        return max(1, int(connect(self.address).cluster_resources().get("CPU", 1)))

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        on_tick: OnTick | None = None,
        on_death: OnDeath | None = None,
    ) -> Iterator[Result]:
        """See ``compute.pool.Pool.map``.

        Raises:
            MachineError: no cluster, one that gives no worker, or whose workers have other versions or see other files.
        """
        return _RayCrew(self, function, items, on_tick, on_death).results()


def connect(address: str) -> Any:
    """The module ``ray``, connected to a cluster. It tells nobody that it is used, and its logs stay on the nodes.

    Raises:
        MachineError: Ray is not installed, or the cluster does not answer.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    host, _, port = address.rpartition(":")
    if host in ("localhost", "127.0.0.1"):
        # A cluster that listens on the loopback alone is not found under the address that Ray would put in its place.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise MachineError(
            "Ray is not installed", where="site: ray", hint="pip install 'shikomi[cluster]'; or use another site file"
        ) from error
    if ray.is_initialized() and port and ray.get_runtime_context().gcs_address != address:
        ray.shutdown()  # another cluster's
    if not ray.is_initialized():
        try:
            if port:
                socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            _silence()
        except (OSError, RuntimeError, ValueError) as error:
            raise MachineError(
                f"no Ray cluster answers: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                where=f"site: ray.address = {address}",
                hint="on its head: ray start --head; then name its host:port in the site file",
            ) from error
    return ray


def _silence() -> None:
    """Keep Ray from printing the deaths of workers on the output: they are dealt with here, and data goes there."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def versions() -> dict[str, str]:
    """Versions of what decides bytes, in this process."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in ALIKE}


class Worker:
    """What runs on the cluster: one item at a time, with its progress kept for whoever asks."""

    def __init__(self, function: Callable[[Any], Any], allowed: Limits, folder: str, mark: str) -> None:
        self.function, self.allowed, self.folder, self.mark = function, allowed, folder, mark
        self.counts: dict[str, float] = {}
        self.lock = threading.Lock()

    def ready(self) -> tuple[str, dict[str, str]]:
        """Take up the parent's folder; returns what is wrong with this node (empty: nothing) and its versions."""
        try:
            os.chdir(self.folder)
        except OSError as error:
            return f"does not see the folder {self.folder} ({error.strerror})", versions()
        write_as(f"{socket.gethostname()}-{os.getpid()}")
        if self.mark and not Path(self.mark).exists():
            return f"does not see the files in {Path(self.mark).parent}", versions()
        return "", versions()

    def work(self, item: Any) -> tuple[str, Any, dict[str, float]]:
        """Work on an item: ``result`` or ``error``, its value, and what has not been told of its progress."""
        with listening(self._hear, self.allowed):
            try:
                kind, value = "result", self.function(item)
            except Exception as error:
                kind, value = "error", error
        return kind, value, self.told()

    def told(self) -> dict[str, float]:
        """What was done since the last call."""
        with self.lock:
            counts, self.counts = self.counts, {}
        return counts

    def _hear(self, counts: dict[str, float]) -> None:
        with self.lock:
            add_counts(self.counts, counts)


class _Hand:
    """The parent's side of one worker: the actor, and the answers it owes."""

    def __init__(self, actor: Any, ready: Any) -> None:
        self.actor = actor
        self.ready = ready
        """Its answer to ``ready``; None once it has come."""
        self.work: Any = None
        self.told: Any = None
        self.index: int | None = None


class _RayCrew(Crew):
    """Workers that are actors of a Ray cluster."""

    def __init__(
        self, pool: RayPool, function: Any, items: Iterable, on_tick: OnTick | None, on_death: OnDeath | None
    ) -> None:
        items = list(items)
        super().__init__(items, pool.workers if items else 0, pool.attempts, on_tick, on_death)
        self.pool, self.function = pool, function
        self.hands: list[_Hand] = []
        self.mark: Path | None = None
        self.losses = [0] * len(self.items)
        self.stillborn = 0

    def start(self) -> None:
        if not self.items:
            return
        self.ray = connect(self.pool.address)
        if self.pool.shared is not None:
            self.pool.shared.mkdir(parents=True, exist_ok=True)
            self.mark = self.pool.shared.absolute() / f".seen-{secrets.token_hex(8)}"
            self.mark.touch()
        # One thread works, the other answers how far the work is.
        self.kind = self.ray.remote(num_cpus=1, max_restarts=0, max_concurrency=2, scheduling_strategy="SPREAD")(Worker)
        self.function_there = self.ray.put(self.function)
        self.asked = time.monotonic()
        self.alone_since = time.monotonic()
        for _ in range(self.size):
            self._hire()

    def stop(self) -> None:
        for hand in self.hands:
            self.ray.kill(hand.actor)
        if self.mark is not None:
            self.mark.unlink(missing_ok=True)

    def _hire(self) -> None:
        mark = str(self.mark) if self.mark else ""
        actor = self.kind.remote(self.function_there, self.pool.limits, str(Path.cwd()), mark)
        self.hands.append(_Hand(actor, actor.ready.remote()))

    def give(self) -> bool:
        hand = next((hand for hand in self.hands if hand.ready is None and hand.index is None), None)
        if hand is None:
            return False
        hand.index = self.take()
        hand.work = hand.actor.work.remote(self.items[hand.index])
        return True

    def listen(self) -> None:
        owed = {}
        for hand in self.hands:
            if hand.ready is not None:
                owed[hand.ready] = hand
            elif hand.index is not None:
                owed[hand.work] = hand
        done, _ = self.ray.wait(list(owed), num_returns=1, timeout=TICK_SECONDS)
        for answer in done:
            hand = owed[answer]
            try:
                value = self.ray.get(answer)
            except self.ray.exceptions.RayTaskError as error:
                raise ShikomiError(
                    f"a worker's answer cannot be sent back: {error.cause}", where=self._where(hand)
                ) from error
            except self.ray.exceptions.RayError as error:
                self._bury(hand, error)
                continue
            if answer == hand.ready:
                self._admit(hand, *value)
            else:
                self._close(hand, *value)
        self._ask()
        self._check_alone()

    def _admit(self, hand: _Hand, wrong: str, theirs: dict[str, str]) -> None:
        ours = versions()
        other = [f"{name} {theirs[name]} (here {ours[name]})" for name in ours if theirs[name] != ours[name]]
        if other:
            wrong = f"has other versions: {', '.join(other)}"
        if wrong:
            raise MachineError(
                f"a node of the cluster {wrong}",
                where=f"site: ray.address = {self.pool.address}",
                hint="every node needs the same environment and the same files: a folder that all nodes see (--store)",
            )
        hand.ready = None
        self.stillborn = 0

    def _close(self, hand: _Hand, kind: str, value: Any, counts: dict[str, float]) -> None:
        index = hand.index
        assert index is not None
        self._collect(hand, wait_seconds=10)
        self.hear(index, counts)
        hand.index = hand.work = None
        if kind == "error":
            raise value
        self.finish(index, value)

    def _ask(self) -> None:
        """Ask every busy worker how far it is, twice a second, and take what earlier questions brought."""
        due = time.monotonic() - self.asked >= TICK_SECONDS
        for hand in self.hands:
            if hand.index is not None:
                self._collect(hand)
                if due and hand.told is None:
                    hand.told = hand.actor.told.remote()
        if due:
            self.asked = time.monotonic()

    def _collect(self, hand: _Hand, wait_seconds: float = 0) -> None:
        if hand.told is None or not self.ray.wait([hand.told], timeout=wait_seconds)[0]:
            return
        try:
            counts = self.ray.get(hand.told)
        except self.ray.exceptions.RayError:
            counts = {}  # it died: its work's own answer says so
        hand.told = None
        assert hand.index is not None
        self.hear(hand.index, counts)

    def _bury(self, hand: _Hand, error: Exception) -> None:
        """Replace a worker that died, or whose node did."""
        self.hands.remove(hand)
        self.ray.kill(hand.actor)
        lost = "died because its node has died" in str(error)
        if hand.index is None:
            self.stillborn += not lost
            if self.stillborn > self.size * self.attempts:
                raise MachineError(
                    f"workers of the cluster end as they start: {(str(error).splitlines() or [''])[-1]}",
                    where=f"site: ray.address = {self.pool.address}",
                    hint="every node needs the same environment: pip install 'shikomi[cluster]' at the same versions",
                ) from error
        else:
            self.losses[hand.index] += lost
            blameless = lost and self.losses[hand.index] <= MAX_LOSSES
            self.died(hand.index, "its node was lost" if lost else "its process ended", counts=not blameless)
        self._hire()

    def _check_alone(self) -> None:
        if any(hand.ready is None for hand in self.hands):
            self.alone_since = time.monotonic()
        elif time.monotonic() - self.alone_since > START_SECONDS:
            raise MachineError(
                f"the cluster gave no worker for {START_SECONDS:.0f} s",
                where=f"site: ray.address = {self.pool.address}",
                hint="`ray status` shows its nodes and who uses them; other work may hold all processors",
            )

    def _where(self, hand: _Hand) -> str:
        return str(self.items[hand.index]) if hand.index is not None else f"site: ray.address = {self.pool.address}"
