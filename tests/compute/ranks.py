"""Stands for torchrun and its ranks: ``python -m tests.compute.ranks HOW …`` does one thing and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from shikomi.compute.torchrun import end_with_torchrun, send, send_error
from shikomi.errors import DataError, RecipeError, Stopped

REPORT = """
Failures:
[0]:
  rank      : 0 (local_rank: 0)
  exitcode  : -15 (pid: 2)  (SIGTERM)
Root Cause (first observed failure):
[1]:
  time      : now
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 1)
"""


def works() -> None:
    """Tell what a rank tells, between lines of no meaning, one of them not yet ended."""
    print("a library's warning", flush=True)
    send("begun", restart=0)
    send("progress", done=1, total=2, unit="steps", note="loss 3")
    os.write(1, b"half a line")
    send("say", text="the checkpoint of step 1 could not be written")
    send("begun", restart=1)
    send("progress", done=2, total=2, unit="steps", note="")
    send("facts", facts={"loss": 1.5, "threads": os.environ["OMP_NUM_THREADS"]})


def fails() -> None:
    """Tell an error of the user's, and hang as ranks do that wait for another."""
    send_error(DataError("the shard is cut off", where="tokens/0.bin", hint="copy it again"))
    time.sleep(600)


def fails_without_a_place() -> None:
    """An error that names no place."""
    send_error(RecipeError("too long", hint="shorten it"))


def crashes() -> None:
    """Two ranks end by defects of ours."""
    send("crash", what="KeyError: 'x'")
    send("crash", what="RuntimeError: connection closed by peer")
    sys.exit(1)


def dies() -> None:
    """A rank is killed: torchrun alone tells."""
    print(REPORT, flush=True)
    sys.exit(1)


def port() -> None:
    """The port is taken where torchrun listens."""
    print("The server socket has failed to listen on any local network address. EADDRINUSE", flush=True)
    sys.exit(1)


def alone() -> None:
    """Another machine never came."""
    print("torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError", flush=True)
    sys.exit(1)


def silent() -> None:
    """Nothing is told."""


def stops() -> None:
    """Wait for the file that asks to stop."""
    asked = Path(os.environ["SHIKOMI_STOP_FILE"])
    send("progress", done=1, total=9, unit="steps", note="")
    while not asked.exists():
        time.sleep(0.01)
    send_error(Stopped("stopped on request at step 7; the same command goes on"))


def lives() -> None:
    """Start a rank that lives for ever, as torchrun does, and live as long."""
    os.environ["TORCHELASTIC_RUN_ID"] = "x"
    subprocess.Popen([sys.executable, "-m", "tests.compute.ranks", "sleeps", sys.argv[2]], start_new_session=True)
    sleeps()


def sleeps() -> None:
    """Write this process's id down and sleep."""
    end_with_torchrun()
    (Path(sys.argv[2]) / str(os.getpid())).touch()
    time.sleep(600)


def parent() -> None:
    """The process that starts the ranks; interrupted, it ends, be it that its own parent ignores interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from shikomi.compute.torchrun import Ranks, Torchrun
    from shikomi.log import silent as unheard

    folder = sys.argv[2]
    ranks = Ranks(2, through=(sys.executable, "-m", "tests.compute.ranks", "lives", folder))
    Torchrun(ranks, lambda stage, identity: ["x"], 2)("s", "id", Path(folder) / "out", unheard)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
