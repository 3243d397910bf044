"""kill -9 at any moment: the next build goes on, and ends in the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shikomi.flow.store import Store
from tests.conftest import ROOT
from tests.flow.toy import SHARDS, contents, toy_build


def run_until_killed(store: Path, after_shards: int, pause: float) -> int:
    """Build in another process and kill it ``pause`` seconds after it wrote so many shards; returns its exit code."""
    command = [sys.executable, "-m", "tests.flow.toy", str(store)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(after_shards):
            process.stdout.readline()
        time.sleep(pause)
        process.kill()
        process.stdout.read()
    return process.returncode


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_build_goes_on_and_ends_in_the_same_bytes(tmp_path: Path, seed: int):
    wanted = toy_build(tmp_path / "straight")
    wanted.run()
    draw, root, killed = random.Random(seed), tmp_path / "仕込み の 倉", 0
    for _ in range(4):
        code = run_until_killed(root, draw.randint(1, SHARDS // 4), draw.random() * 0.02)
        killed += code == -signal.SIGKILL
        build = toy_build(root)
        assert contents(root).items() <= contents(wanted.store.root).items()
        assert all(not build.store.damage(step.name, build.id(step)) for step in build.steps)
    assert killed, "no build was caught alive"
    toy_build(root).run(wait=False)
    assert contents(root) == contents(wanted.store.root)
    events = [event["event"] for event in Store(root).journal.read()]
    assert 0 <= events.count("build_started") - events.count("build_finished") <= killed
