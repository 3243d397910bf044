"""kill -9 at any instant, then the same build: the same ids, the same bytes, nothing half-done in the store.

A child process builds the toy chain and kills itself just before its n-th step in the file system (opening, renaming,
removing, making a folder), as the interpreter's audit events tell them; then another one builds in the same store.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shikomi.flow.runner import Build
from shikomi.flow.store import Store
from tests.flow.toys import chain, contents

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import os, signal, sys
from pathlib import Path
from shikomi.flow.lock import hold  # loaded before counting begins
from shikomi.flow.meter import Meter
from shikomi.flow.runner import Build, versions
from shikomi.flow.store import Store
from tests.flow.toys import chain

versions()
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}

def build(root, last):
    count = 0
    def audit(event, arguments):
        nonlocal count
        if event in EVENTS and str(arguments[0]).startswith(root):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(audit)
    Build(chain(), Store(Path(root))).run()
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
"""


class Children:
    """A process that forks a child for every build asked of it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def build(self, root: Path, last: int) -> tuple[int, str]:
        """Build in a store and die before step ``last`` (0: never); (signal, steps taken)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{root}\t{last}\n")
        self.process.stdin.flush()
        number, told = self.process.stdout.readline().split()
        return int(number), told


def check(tmp_path: Path, moments: list[int] | None) -> None:
    Build(chain(), Store(tmp_path / "whole")).run()
    wanted = contents(tmp_path / "whole")
    children = Children()
    number, told = children.build(tmp_path / "counted", 0)
    assert number == 0
    steps = int(told)
    assert steps > 60, "the audit hook sees the build"
    chosen = moments or list(range(1, steps + 1))
    for moment in sorted({1 + (one - 1) % steps for one in chosen}):
        root = tmp_path / f"killed-{moment}"
        number, _ = children.build(root, moment)
        assert number == signal.SIGKILL
        for path, found in contents(root).items():
            assert wanted[path] == found, f"killed before step {moment}: {path} looks finished and is not"
        number, _ = children.build(root, 0)
        assert number == 0
        assert contents(root) == wanted, f"killed before step {moment}"
        assert not list(root.glob("work/*")), f"killed before step {moment}"
    assert children.process.stdin is not None
    children.process.stdin.close()
    children.process.wait()


def test_killed_at_seeded_moments(tmp_path: Path) -> None:
    check(tmp_path, random.Random(20261124).sample(range(1, 10_000), 25))


@pytest.mark.slow
def test_killed_at_every_moment(tmp_path: Path) -> None:
    check(tmp_path, None)


def test_killed_again_and_again(tmp_path: Path) -> None:
    Build(chain(), Store(tmp_path / "whole")).run()
    children, root, rounds = Children(), tmp_path / "killed", 0
    while children.build(root, 45)[0] == signal.SIGKILL:
        rounds += 1
        assert rounds < 60, "every attempt gets further than the last"
    assert rounds > 1
    assert contents(root) == contents(tmp_path / "whole")
    assert children.process.stdin is not None
    children.process.stdin.close()
    children.process.wait()
