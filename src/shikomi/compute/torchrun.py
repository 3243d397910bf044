"""Ranks under torchrun: one training stage in several processes, on this machine or on many, as one call.

The caller starts torchrun, which starts the ranks and starts them anew when one dies; every rank runs the same command.
What they have to tell (progress, facts, errors) they tell in marked lines on standard output, which comes through
torchrun and srun alike; everything else they print goes into a log beside their files.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from shikomi import errors
from shikomi.compute.stop import STOP_FILE, StopRequest
from shikomi.errors import MachineError, ShikomiError, Stopped
from shikomi.log import Progress, tell

MARK = "\x1eshikomi "
"""Begins a line that is meant for whoever started the ranks (a record separator: no library prints one)."""
TICK_SECONDS = 0.2
"""How often the caller looks up from listening: whether it was asked to stop."""
END_SECONDS = 15.0
"""How long processes on other machines may take to end when told to."""
TAIL_LINES = 200
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when its parent dies."""


@dataclass(frozen=True)
class Ranks:
    """How many ranks, where, and how they find each other.

    Attributes:
        here: ranks on each machine.
        machines: machines; 1: this one.
        restarts: how often the ranks may be started anew, from the last checkpoint, when one of them dies.
        rendezvous: ``host:port`` where the machines meet; empty: this machine alone, on a free port.
        through: words in front of the command that start it on every machine (``srun …``).
        python: the ranks' Python.
    """

    here: int
    machines: int = 1
    restarts: int = 3
    rendezvous: str = ""
    through: tuple[str, ...] = ()
    python: str = sys.executable

    @property
    def total(self) -> int:
        """All ranks."""
        return self.here * self.machines

    def command(self, name: str, words: list[str]) -> list[str]:
        """The whole command: torchrun, and what every rank runs (``python -m`` and these words).

        Args:
            name: tells one meeting of ranks from another at the same place.
            words: a module and its arguments.
        """
        meet = ["--standalone"]
        if self.rendezvous:
            meet = [f"--nnodes={self.machines}", "--rdzv-backend=c10d", f"--rdzv-endpoint={self.rendezvous}"]
            meet += [f"--rdzv-id={name}"]
        torchrun = [self.python, "-m", "torch.distributed.run", *meet, f"--nproc-per-node={self.here}"]
        return [*self.through, *torchrun, f"--max-restarts={self.restarts}", "-m", *words]


class Torchrun:
    """Runs a stage in ranks of its own; ``flow.step.Launch`` is what it is to a build.

    Args:
        ranks: how many, where.
        words: for a stage's name and id the module, with its arguments, that every rank runs.
        threads: processors of each machine; ranks share them evenly.
    """

    def __init__(self, ranks: Ranks, words: Callable[[str, str], list[str]], threads: int) -> None:
        self.ranks, self.words, self.threads = ranks, words, threads

    def __call__(self, stage: str, identity: str, out: Path, progress: Progress) -> dict[str, Any]:
        """Run the stage; returns the facts that the main rank told.

        Raises:
            Stopped: this process or a rank was asked to stop, and the ranks have written their checkpoint.
            MachineError: the port to meet at is taken, or the ranks cannot be started.
            ShikomiError: what a rank raised, or that ranks died more often than they may be started anew.
        """
        scratch = out / "scratch"
        scratch.mkdir(parents=True, exist_ok=True)
        stop_file = scratch / "stop"
        stop_file.unlink(missing_ok=True)
        self._check_port()
        threads = str(max(1, self.threads // self.ranks.here))
        more = {STOP_FILE: str(stop_file.absolute()), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        command = self.ranks.command(f"{stage}-{identity}", self.words(stage, identity))
        hearing = _Hearing(stage, scratch / "ranks.log", progress, self.ranks)
        with StopRequest() as stop, open(hearing.log, "ab", buffering=0) as log:
            process = _start(command, {**os.environ, **more})
            try:
                for line in _lines(process):
                    if stop.asked and not stop_file.exists():
                        stop_file.touch()
                    if line is not None:
                        hearing.hear(line, log)
            finally:
                _end(process, gently=bool(self.ranks.through))
        return hearing.result(process.returncode)

    def _check_port(self) -> None:
        """Say that the port is taken before anything is started, where the machines meet on this one."""
        host, _, port = self.ranks.rendezvous.rpartition(":")
        if not host:
            return
        try:
            socket.create_server((host, int(port))).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _port_in_use(self.ranks.rendezvous) from error


class _Hearing:
    """What the ranks have told so far."""

    def __init__(self, stage: str, log: Path, progress: Progress, ranks: Ranks) -> None:
        self.stage, self.log, self.progress, self.ranks = stage, log, progress, ranks
        self.facts: dict[str, Any] | None = None
        self.stopped = ""
        self.crash = ""
        self.anew = 0
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def hear(self, line: bytes, log: IO[bytes]) -> None:
        """Take a line in: a message of a rank, or something to keep in the log.

        Raises:
            ShikomiError: a rank raised it.
        """
        text = line.decode("utf-8", errors="replace")
        before, mark, message = text.partition(MARK)
        if not mark:
            with contextlib.suppress(OSError):  # a full disk ends no run
                log.write(line)
            self.tail.append(text.rstrip())
            return
        if before.strip():
            with contextlib.suppress(OSError):
                log.write(before.encode() + b"\n")
        with contextlib.suppress(json.JSONDecodeError):
            self._take(json.loads(message))

    def _take(self, told: dict[str, Any]) -> None:
        match told["kind"]:
            case "progress":
                self.progress(told["done"], told["total"], told["unit"], told["note"])
            case "say":
                tell(self.progress, told["text"])
            case "begun" if told["restart"]:
                self.crash = ""
                self.anew += 1  # agents of several machines each count their own
                tell(self.progress, f"a rank died; all are started anew (so far: {self.anew})")
            case "facts":
                self.facts = told["facts"]
            case "stopped":
                self.stopped = told["what"]
            case "crash":
                self.crash = self.crash or f"rank {told['rank']}: {told['what']}"
            case "error":
                raise getattr(errors, told["class"], ShikomiError)(
                    told["what"], where=told["where"] or f"stage {self.stage}, rank {told['rank']}", hint=told["hint"]
                )

    def result(self, code: int) -> dict[str, Any]:
        """The facts, once all processes have ended with exit code ``code``.

        Raises:
            Stopped, MachineError, ShikomiError: there are none.
        """
        if self.stopped:
            raise Stopped(self.stopped)
        if code == 0 and self.facts is not None:
            return self.facts
        said = "\n".join(self.tail)
        if "EADDRINUSE" in said or "address already in use" in said.lower():
            raise _port_in_use(self.ranks.rendezvous or "a port of this machine")
        if "RendezvousTimeoutError" in said:
            raise MachineError(
                f"not all {self.ranks.machines} machines came to the meeting of stage {self.stage} in time",
                where=f"{self.ranks.rendezvous}, {self.log}",
                hint="see that every node starts its ranks and reaches that address; the same command goes on",
            )
        again = f" (started anew so far: {self.anew})" if self.anew else ""
        raise ShikomiError(
            f"the ranks of stage {self.stage} failed{again}: {self.crash or _died(said) or f'exit code {code}'}",
            where=str(self.log),
            hint="that log tells more; the same command goes on from the last checkpoint",
        )


def _died(said: str) -> str:
    """Which rank torchrun's closing report names first, and how it ended; empty if it names none."""
    said = said.rpartition("Root Cause")[2]
    found = re.search(r"rank\s*:\s*(\d+)\s*\(local_rank.*?exitcode\s*:\s*(-?\d+)", said, flags=re.DOTALL)
    if not found:
        return ""
    rank, code = int(found[1]), int(found[2])
    return f"rank {rank} " + (f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}")


def _port_in_use(where: str) -> MachineError:
    return MachineError(
        f"port {where.rpartition(':')[2]} is in use" if ":" in where else "a port is in use",
        where=where,
        hint="another run meets there: end that one, or choose another port ([launch] port in the site file)",
    )


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    library = ctypes.CDLL(None, use_errno=True)  # loaded here: between fork and exec nothing may be imported
    prctl = getattr(library, "prctl", None)

    def end_with_parent() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    except OSError as error:
        raise MachineError(
            f"the ranks cannot be started: {error.strerror}", where=command[0], hint="see that it is on the PATH here"
        ) from error


def _lines(process: subprocess.Popen[bytes]) -> Iterator[bytes | None]:
    """Every line a process and its children print, and None now and then while they print nothing."""
    assert process.stdout is not None
    found: queue.Queue[bytes | None] = queue.Queue()

    def read(stream: IO[bytes]) -> None:
        for line in stream:
            found.put(line)
        found.put(None)

    threading.Thread(target=read, args=(process.stdout,), name="ranks", daemon=True).start()
    while True:
        try:
            line = found.get(timeout=TICK_SECONDS)
        except queue.Empty:
            if process.poll() is not None:
                return  # whoever still holds the pipe open is none of ours
            yield None
            continue
        if line is None:
            process.wait()
            return
        yield line


def _end(process: subprocess.Popen[bytes], *, gently: bool) -> None:
    """See that nothing is left running: ranks die with torchrun."""
    if process.poll() is None and gently:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_with_torchrun() -> None:
    """Called in a rank as it starts: from now on it dies when torchrun does, however that ended (Linux).

    A rank that outlives a killed build would go on writing into the files of the next attempt.
    """
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None and "TORCHELASTIC_RUN_ID" in os.environ:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            os._exit(1)


def is_main() -> bool:
    """Whether this process is rank 0."""
    return os.environ.get("RANK", "0") == "0"


def send(kind: str, **told: Any) -> None:
    """Tell whoever started the ranks something, in one line and one write."""
    line = f"\n{MARK}{json.dumps({'kind': kind, 'rank': int(os.environ.get('RANK', '0')), **told})}\n"
    with contextlib.suppress(BrokenPipeError):
        os.write(1, line.encode())


def send_error(error: ShikomiError) -> None:
    """Tell whoever started the ranks an error, to be raised there."""
    if isinstance(error, Stopped):
        if is_main():
            send("stopped", what=error.what)
        return
    send("error", **{"class": type(error).__name__}, what=error.what, where=error.where, hint=error.hint)
