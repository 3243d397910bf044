"""Ranks under torchrun: what they tell arrives, how they end is told in three lines, and none is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shikomi.compute.torchrun import Ranks, Torchrun
from shikomi.errors import DataError, MachineError, RecipeError, ShikomiError, Stopped
from tests.dist.crew import free_port

WAIT_SECONDS = 60.0


class Heard:
    """Progress that keeps all it is told."""

    def __init__(self) -> None:
        self.told, self.said = [], []

    def __call__(self, done, total, unit, note="") -> None:
        self.told.append((done, total, unit, note))

    def say(self, text: str) -> None:
        self.said.append(text)


def launch(how: str, out: Path, heard: Heard | None = None, **about):
    """Run a stage whose torchrun is ``tests.compute.ranks``."""
    ranks = Ranks(2, through=(sys.executable, "-m", "tests.compute.ranks", how), **about)
    return Torchrun(ranks, lambda stage, identity: ["module", stage, identity], 4)(
        "pretrain", "abc", out, heard or Heard()
    )


def test_on_this_machine_torchrun_finds_a_free_port_by_itself():
    words = Ranks(4, restarts=2).command("pretrain-abc", ["shikomi.cli.rank", "recipe.toml"])
    assert words == [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4", "--max-restarts=2",
        "-m", "shikomi.cli.rank", "recipe.toml",
    ]  # fmt: skip


def test_on_several_machines_they_meet_where_they_are_told():
    ranks = Ranks(8, 4, 3, "node1:29500", ("srun", "--nodes=4"), "python3")
    assert ranks.total == 32
    assert ranks.command("pretrain-abc", ["m"]) == [
        "srun", "--nodes=4", "python3", "-m", "torch.distributed.run", "--nnodes=4", "--rdzv-backend=c10d",
        "--rdzv-endpoint=node1:29500", "--rdzv-id=pretrain-abc", "--nproc-per-node=8", "--max-restarts=3", "-m", "m",
    ]  # fmt: skip


def test_progress_facts_and_news_arrive_and_the_rest_is_logged(tmp_path):
    heard = Heard()
    assert launch("works", tmp_path, heard) == {"loss": 1.5, "threads": "2"}
    assert heard.told == [(1, 2, "steps", "loss 3"), (2, 2, "steps", "")]
    assert heard.said == [
        "the checkpoint of step 1 could not be written",
        "a rank died; all are started anew (so far: 1)",
    ]
    log = (tmp_path / "scratch" / "ranks.log").read_text()
    assert "a library's warning" in log
    assert "half a line" in log
    assert "facts" not in log


def test_an_error_of_a_rank_is_raised_here_and_ends_the_others(tmp_path):
    with pytest.raises(DataError) as caught:
        launch("fails", tmp_path)
    assert str(caught.value).splitlines() == [
        "the shard is cut off", "  at: tokens/0.bin", "hint: copy it again",
    ]  # fmt: skip
    with pytest.raises(RecipeError) as caught:
        launch("fails_without_a_place", tmp_path)
    assert caught.value.where == "stage pretrain, rank 0"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("crashes", "the ranks of stage pretrain failed: rank 0: KeyError: 'x'"),
        ("dies", "the ranks of stage pretrain failed: rank 1 was ended by signal 9"),
        ("silent", "the ranks of stage pretrain failed: exit code 0"),
    ],
)
def test_how_ranks_ended_is_told_in_three_lines(how, told, tmp_path):
    with pytest.raises(ShikomiError) as caught:
        launch(how, tmp_path)
    what, where, hint = str(caught.value).splitlines()
    assert what == told
    assert where == f"  at: {tmp_path / 'scratch' / 'ranks.log'}"
    assert hint.startswith("hint: that log tells more")


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MachineError, match=f"port {port} is in use") as caught:
            launch("works", tmp_path, rendezvous=f"127.0.0.1:{port}")
    assert len(str(caught.value).splitlines()) == 3
    assert not (tmp_path / "scratch" / "ranks.log").exists()
    with pytest.raises(MachineError, match="in use"):
        launch("port", tmp_path, rendezvous=f"127.0.0.1:{free_port()}")


def test_a_machine_that_never_comes_is_told(tmp_path):
    with pytest.raises(MachineError, match="not all 2 machines came to the meeting of stage pretrain") as caught:
        launch("alone", tmp_path, machines=2, rendezvous=f"127.0.0.1:{free_port()}")
    assert len(str(caught.value).splitlines()) == 3


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MachineError, match="the ranks cannot be started: No such file") as caught:
        Torchrun(Ranks(2, through=("no-such-srun",)), lambda stage, identity: ["m"], 2)("s", "i", tmp_path, Heard())
    assert caught.value.where == "no-such-srun"


def test_asked_to_stop_the_ranks_are_asked_too(tmp_path):
    class Asks(Heard):
        def __call__(self, *told) -> None:
            os.kill(os.getpid(), signal.SIGUSR1)

    with pytest.raises(Stopped, match="stopped on request at step 7"):
        launch("stops", tmp_path, Asks())
    (tmp_path / "scratch" / "stop").touch()  # of an earlier attempt: it stops nothing
    assert launch("works", tmp_path)["loss"] == 1.5


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="other: needs /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_ranks_die_with_whoever_started_them_however_it_died(number, tmp_path):
    command = [sys.executable, "-m", "tests.compute.ranks", "parent", str(tmp_path)]
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + WAIT_SECONDS
    try:
        while len(pids := [int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal()]) < 2:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert all(map(alive, pids))
        os.kill(parent.pid, number)
        parent.wait(WAIT_SECONDS)
        while any(map(alive, pids)):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        parent.kill()


def test_outside_the_main_thread_signals_are_left_alone(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(launch("works", tmp_path)))
    thread.start()
    thread.join(WAIT_SECONDS)
    assert found[0]["loss"] == 1.5
