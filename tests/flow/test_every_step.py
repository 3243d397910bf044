"""kill -9 just before any step that a build takes in the file system: the next build ends in the same bytes.

A child builds a toy and kills itself before its n-th opening, renaming, removing or making of something in the store,
as the interpreter's audit events tell them. So no instant is left to chance, and no clock is asked.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.flow.toy import contents, toy_build

PAGE = {"shards": 3, "factor": 3}

CHILD = """
import os, signal, sys
from pathlib import Path
import shikomi.flow.lock, shikomi.flow.meter  # loaded before counting begins
from shikomi.flow.runner import versions
from tests.flow.toy import toy_build

versions()
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}

def build(root, last):
    count = 0
    def audit(event, arguments):
        nonlocal count
        if event in EVENTS and str(arguments[0]).startswith(root):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(audit)
    toy_build(Path(root), page=PAGE).run()
    return count

for line in sys.stdin:
    root, last = line.rstrip("\\n").split("\\t")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(build(root, int(last))).encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    told = os.read(reading, 100).decode()
    os.close(reading)
    print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, told or "-", flush=True)
""".replace("PAGE", repr(PAGE))


class Children:
    """A process that forks a child for every build asked of it: the libraries are loaded once."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", CHILD]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def build(self, root: Path, last: int) -> tuple[int, str]:
        """Build in a store and die before step ``last`` (0: never); the signal it died of, and the steps it took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{root}\t{last}\n")
        self.process.stdin.flush()
        number, told = self.process.stdout.readline().split()
        return int(number), told

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate()


def check(folder: Path, draws: list[int] | None) -> None:
    """Kill before each of the drawn steps (None: before every one), each in a store of its own."""
    wanted = toy_build(folder / "straight", page=PAGE)
    wanted.run()
    whole = contents(wanted.store.root)
    with Children() as children:
        number, told = children.build(folder / "counted", 0)
        steps = int(told)
        assert (number, steps > 40) == (0, True)
        for moment in sorted({1 + draw % steps for draw in draws or range(steps)}):
            root = folder / f"killed-{moment:04d}"
            assert children.build(root, moment)[0] == signal.SIGKILL
            assert contents(root).items() <= whole.items(), f"killed before step {moment}: half-done looks finished"
            assert children.build(root, 0)[0] == 0
            assert contents(root) == whole, f"killed before step {moment}"
            assert not list(root.glob("work/*")), f"killed before step {moment}"


def test_killed_before_steps_drawn_by_a_seed(tmp_path: Path):
    check(tmp_path, random.Random(20261124).sample(range(10**6), 20))


@pytest.mark.slow
def test_killed_before_every_step(tmp_path: Path):
    check(tmp_path, None)
