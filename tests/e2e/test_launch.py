"""Training stages in two ranks, through the real command: the same model, stopped, killed and gone on with."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from shikomi.cli.options import open_build
from shikomi.io import write_json
from tests.dist.crew import free_port
from tests.e2e.command import Running, shikomi, succeeded
from tests.e2e.tiny import write_recipe

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="other: needs /proc")

LONG = ("--set", "pretrain.tokens=64000", "--set", "pretrain.checkpoint_steps=20")  # 500 steps: seconds to stop them in
MODEL = "pretrain/*/model.safetensors"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A recipe, a site whose products are float32, and a store with everything before training."""
    folder = tmp_path_factory.mktemp("launch")
    recipe, site = write_recipe(folder), folder / "site.toml"
    site.write_text('[training]\nprecision = "float32"\n[launch]\nrestarts = 1\n')
    succeeded("build", recipe, "--store", folder / "store", "--until", "tokens")
    return recipe, site, folder / "store"


def build(start, store: Path, *words: str) -> list[object]:
    recipe, site, before = start
    if not store.exists():
        shutil.copytree(before, store)
    return ["build", recipe, "--store", store, "--site", site, "--until", "pretrain", *words]


TWO = ("--launch", "torchrun", "--ranks", "2")


def weights(store: Path) -> dict[str, np.ndarray]:
    (path,) = store.glob(MODEL)
    return load_file(path)


def close(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.allclose(one[name], other[name], atol=2e-4) for name in one)


def rank_pid(store: Path, rank: int) -> int:
    """The process that is a rank of a build in that store; 0 if there is none."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"RANK={rank}".encode() in environment and str(store).encode() in words and b"shikomi.cli.rank" in words:
            return int(path.name)
    return 0


def saved(store: Path) -> bool:
    """Whether a checkpoint has been written."""
    return any(store.glob("work/pretrain-*/scratch/checkpoints/step-*/manifest.json"))


def test_two_ranks_make_the_model_of_one_process(start, tmp_path):
    succeeded(*build(start, tmp_path / "one"))
    ended = succeeded(*build(start, tmp_path / "two", *TWO))
    assert "Traceback" not in ended.err
    assert close(weights(tmp_path / "one"), weights(tmp_path / "two"))
    manifests = [next((tmp_path / name).glob("pretrain/*/manifest.json")).parent.name for name in ("one", "two")]
    assert manifests[0] == manifests[1], "how it was launched enters no id"


def test_an_error_in_a_rank_is_told_in_three_lines(start, tmp_path):
    store = tmp_path / "store"
    words = build(start, store, *TWO)
    _, opened = open_build(start[0], store, ())
    folder = (
        store / "work" / f"pretrain-{opened.id(opened.step('pretrain'))}" / "scratch" / "checkpoints" / "step-00000004"
    )
    folder.mkdir(parents=True)
    write_json(folder / "manifest.json", {"format": 1, "step": 4, "files": {}, "tensors": {}})
    ended = shikomi(*words)
    assert ended.code == 1
    assert ended.told.what.startswith("the checkpoint is of another model: tensor ")
    assert ended.told.where == str(folder)


@pytest.mark.slow
def test_asked_to_stop_it_saves_ends_with_0_and_the_same_command_goes_on(start, tmp_path):
    store = tmp_path / "store"
    running = Running(*build(start, store, *TWO, *LONG), log=tmp_path / "log")
    running.wait_until(lambda: saved(store))
    os.kill(running.process.pid, signal.SIGUSR1)
    assert running.end() == 0
    assert "stopped on request at step" in running.said
    assert "the same command goes on" in running.said
    assert not list(store.glob(MODEL))
    succeeded(*build(start, store, *TWO, *LONG))
    succeeded(*build(start, tmp_path / "straight", *TWO, *LONG))
    one, other = weights(store), weights(tmp_path / "straight")
    assert all(np.array_equal(one[name], other[name]) for name in one), "bit for bit"


@pytest.mark.slow
def test_a_rank_that_is_killed_comes_back_from_the_last_checkpoint(start, tmp_path):
    store = tmp_path / "store"
    running = Running(*build(start, store, *TWO, *LONG), log=tmp_path / "log")
    running.wait_until(lambda: saved(store) and rank_pid(store, 1) > 0)
    os.kill(rank_pid(store, 1), signal.SIGKILL)
    assert running.end() == 0, running.said
    assert "a rank died; all are started anew (so far: 1)" in running.said
    assert "Traceback" not in running.said
    succeeded(*build(start, tmp_path / "straight", *LONG))
    assert close(weights(store), weights(tmp_path / "straight"))


@pytest.mark.slow
def test_a_killed_build_leaves_no_rank_behind_and_goes_on(start, tmp_path):
    store = tmp_path / "store"
    running = Running(*build(start, store, *TWO, *LONG), log=tmp_path / "log")
    running.wait_until(lambda: saved(store) and rank_pid(store, 1) > 0)
    running.kill_alone()
    waiting = Running("--version", log=tmp_path / "other")  # something to wait beside
    waiting.end()
    for _ in range(1000):
        if not rank_pid(store, 0) and not rank_pid(store, 1):
            break
        signal.sigtimedwait([], 0.01)
    assert not rank_pid(store, 0)
    assert not rank_pid(store, 1)
    succeeded(*build(start, store, *LONG))  # in one process now
    succeeded(*build(start, tmp_path / "straight", *LONG))
    assert close(weights(store), weights(tmp_path / "straight"))


SRUN = """#!/bin/bash
# Runs the command twice on this machine, as two nodes would.
while [[ "$1" == --* ]]; do shift; done
"$@" & one=$!
"$@" & two=$!
wait $one || exit 1
wait $two
"""


@pytest.mark.slow
def test_two_machines_meet_through_srun_as_a_job_s_script_has_it(start, tmp_path):
    srun, site = tmp_path / "bin" / "srun", tmp_path / "site.toml"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    site.write_text(
        '[training]\nprecision = "float32"\n[launch]\nkind = "slurm"\nranks = 1\n[slurm]\nnodes = 2\ngpus = 0\n'
    )
    recipe, _, before = start
    environment = {"PATH": f"{srun.parent}{os.pathsep}{os.environ['PATH']}"}
    words = ("--launch", "torchrun", "--rendezvous", f"localhost:{free_port()}")
    store = tmp_path / "two"
    shutil.copytree(before, store)
    succeeded("build", recipe, "--store", store, "--site", site, "--until", "pretrain", *words, env=environment)
    succeeded(*build(start, tmp_path / "one"))
    assert close(weights(tmp_path / "one"), weights(store))
