"""Checkpoints: whole or not there, kept and passed over as they should be, of this model or refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import threading

import pytest
import torch
from safetensors.torch import load_file

from shikomi.compute.mesh import open_world
from shikomi.errors import DataError, Stopped
from shikomi.io import read_json
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train import checkpoint, storage
from shikomi.train.checkpoint import Checkpoints
from shikomi.train.loop import FitSpec, Rows, fit
from shikomi.train.objective import NextToken
from shikomi.train.optim import Optimiser
from tests.laws.layouts import CONFIG, Steps

SITE = TrainingSite(precision="float32")
ALONE = open_world(MeshPage())


def made(seed: int = 1, **changes) -> tuple[Transformer, Optimiser]:
    import dataclasses

    model = Transformer(dataclasses.replace(CONFIG, **changes))
    initialise(model, seed)
    return model, Optimiser(model, OptimPage())


def folders(path) -> list[str]:
    return sorted(found.name for found in path.iterdir())


def equal(one: Transformer, other: Transformer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def saved(path, *steps: int) -> Transformer:
    """Checkpoints of those steps, each of other weights; returns the last one's model."""
    for step in steps:
        model, optimiser = made(step)
        with Checkpoints(path, ALONE, keep=10) as checkpoints:
            checkpoints.save(step, model, optimiser)
    return model


class Heard:
    """Progress that keeps what is said beside it."""

    def __init__(self, act=None) -> None:
        self.said, self.act = [], act

    def __call__(self, done, total, unit, note="") -> None:
        if self.act:
            self.act(done)

    def say(self, text: str) -> None:
        self.said.append(text)


def test_what_is_saved_comes_back_and_only_the_last_are_kept(tmp_path):
    model, optimiser = made()
    checkpoints = Checkpoints(tmp_path, ALONE, keep=2)
    for step in (3, 6, 9):
        assert checkpoints.save(step, model, optimiser) >= 0
    checkpoints.finish()
    assert folders(tmp_path) == ["step-00000006", "step-00000009"]
    assert (checkpoints.written, checkpoints.failed, checkpoints.news()) == (3, 0, [])
    other, fresh = made(seed=2)
    fresh.steps = 5
    assert Checkpoints(tmp_path, ALONE).resume(other, fresh) == 9
    assert equal(model, other)
    assert fresh.steps == 0


def test_a_checkpoint_is_safetensors_and_json_and_nothing_else(tmp_path):
    model = saved(tmp_path, 4)
    folder = tmp_path / "step-00000004"
    assert folders(folder) == ["manifest.json", "rank-00000.safetensors"]
    tensors = load_file(folder / "rank-00000.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(tensors["model." + name], value)
    manifest = read_json(folder / "manifest.json")
    assert (manifest["format"], manifest["step"]) == (1, 4)
    assert manifest["files"] == {"rank-00000.safetensors": (folder / "rank-00000.safetensors").stat().st_size}
    assert manifest["tensors"].keys() == tensors.keys()


def test_the_state_is_copied_before_the_next_step_changes_it(tmp_path, monkeypatch):
    release = threading.Event()
    write = checkpoint.write_state
    monkeypatch.setattr(checkpoint, "write_state", lambda *given, **named: (release.wait(30), write(*given, **named)))
    model, optimiser = made()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with Checkpoints(tmp_path, ALONE) as checkpoints:
        checkpoints.save(1, model, optimiser)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(7.0)
        assert folders(tmp_path) == []  # it is still being written, and the model is free to change
        release.set()
    other, fresh = made(seed=2)
    assert Checkpoints(tmp_path, ALONE).resume(other, fresh) == 1
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_nothing_there_is_a_beginning(tmp_path):
    model, optimiser = made()
    assert Checkpoints(tmp_path / "none", ALONE).resume(model, optimiser) == 0
    (tmp_path / "step-00000004.partial").mkdir()
    (tmp_path / "step-00000008").mkdir()  # no manifest: never finished
    assert Checkpoints(tmp_path, ALONE).resume(model, optimiser) == 0
    assert folders(tmp_path) == ["step-00000008"]


@pytest.mark.parametrize("how", ["cut off", "missing", "manifest"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(how, tmp_path):
    saved(tmp_path, 4, 8)
    path = tmp_path / "step-00000008" / ("manifest.json" if how == "manifest" else "rank-00000.safetensors")
    if how == "missing":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size // 2)
    model, optimiser = made(seed=3)
    checkpoints = Checkpoints(tmp_path, ALONE)
    assert checkpoints.resume(model, optimiser) == 4
    assert equal(model, made(4)[0])
    (news,) = checkpoints.news()
    assert news.startswith("the checkpoint of step 8 is passed over: ")
    assert {"cut off": "bytes", "missing": "is missing", "manifest": "not a JSON"}[how] in news


def test_a_shard_whose_size_is_right_and_whose_inside_is_not_is_passed_over_too(tmp_path):
    saved(tmp_path, 4, 8)
    with open(tmp_path / "step-00000008" / "rank-00000.safetensors", "r+b") as handle:
        handle.write(b"\xff" * 16)
    model, optimiser = made(seed=3)
    checkpoints = Checkpoints(tmp_path, ALONE)
    assert checkpoints.resume(model, optimiser) == 4
    assert "cannot be read" in checkpoints.news()[0]


def test_when_all_are_damaged_the_run_does_not_silently_begin_anew(tmp_path):
    saved(tmp_path, 4, 8)
    for step in (4, 8):
        (tmp_path / f"step-0000000{step}" / "rank-00000.safetensors").unlink()
    with pytest.raises(DataError, match="none of the checkpoints here can be read") as caught:
        Checkpoints(tmp_path, ALONE).resume(*made())
    assert caught.value.where == str(tmp_path)
    assert "delete the folder to begin from the first step" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden_size": 16}, "has shape"),
        ({"layers": 3}, "is not in it"),
        ({"layers": 1}, "is not in this model"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_before_the_first_step(changes, told, tmp_path):
    saved(tmp_path / "scratch" / "checkpoints", 4)
    model, _ = made(**changes)
    ran = Heard(lambda done: pytest.fail("a step was made"))
    with pytest.raises(DataError, match="the checkpoint is of another model: tensor ") as caught:
        fit(model, NextToken(), Steps(64, 2), FitSpec(8, OptimPage(), 4), tmp_path, site=SITE, progress=ran)
    assert told in caught.value.what
    assert caught.value.where.endswith("step-00000004")
    assert len(str(caught.value).splitlines()) == 3


def test_a_full_disk_at_a_checkpoint_does_not_end_the_run(tmp_path, monkeypatch):
    write = storage.write_tensors

    def fails(path, tensors):
        if path.parent.name.startswith("step-00000008"):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, tensors)

    monkeypatch.setattr(storage, "write_tensors", fails)
    heard = Heard()
    model, _ = made()
    spec = FitSpec(14, OptimPage(), checkpoint_steps=4)
    fit(model, NextToken(), Steps(64, 2), spec, tmp_path, site=SITE, progress=heard)
    told = (
        "the checkpoint of step 8 could not be written (No space left on device); the one of step 4 stays the last good"
    )
    assert [text.startswith(told) for text in heard.said] == [True]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 14
    (noted,) = [row for row in rows if "note" in row]
    assert noted["note"] == heard.said[0]
    assert 8 < noted["step"] <= 13, "as soon as it is known, at the latest when the next one begins"
    assert folders(tmp_path / "scratch" / "checkpoints") == ["step-00000004", "step-00000012"]


def test_a_step_s_row_tells_how_long_it_waited_for_a_checkpoint(tmp_path):
    model, _ = made()
    facts = fit(model, NextToken(), Steps(64, 2), FitSpec(6, OptimPage(), 2), tmp_path, site=SITE)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "checkpoint_seconds" in row] == [3, 5]
    assert facts["checkpoint_seconds"] == pytest.approx(sum(row.get("checkpoint_seconds", 0) for row in rows), abs=2e-3)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(number, tmp_path):
    before = signal.getsignal(number)
    heard = Heard(lambda done: os.kill(os.getpid(), number) if done == 5 else None)
    spec = FitSpec(12, OptimPage(), checkpoint_steps=100)
    with pytest.raises(Stopped, match="stopped on request at step 5; the same command goes on") as caught:
        fit(made()[0], NextToken(), Steps(64, 2), spec, tmp_path / "a", site=SITE, progress=heard)
    assert caught.value.exit_code == 0
    assert signal.getsignal(number) is before
    assert folders(tmp_path / "a" / "scratch" / "checkpoints") == ["step-00000005"]
    resumed, straight = made(seed=9)[0], made()[0]
    fit(resumed, NextToken(), Steps(64, 2), spec, tmp_path / "a", site=SITE)
    fit(straight, NextToken(), Steps(64, 2), spec, tmp_path / "b", site=SITE)
    assert equal(resumed, straight)


def test_a_signal_at_the_last_step_stops_nothing(tmp_path):
    heard = Heard(lambda done: os.kill(os.getpid(), signal.SIGUSR1) if done == 4 else None)
    facts = fit(made()[0], NextToken(), Steps(64, 2), FitSpec(4, OptimPage(), 9), tmp_path, site=SITE, progress=heard)
    assert facts["steps"] == 4


def test_a_stop_file_is_a_request_too(tmp_path, monkeypatch):
    monkeypatch.setenv("SHIKOMI_STOP_FILE", str(tmp_path / "stop"))
    heard = Heard(lambda done: (tmp_path / "stop").touch() if done == 3 else None)
    with pytest.raises(Stopped, match="at step 3"):
        fit(made()[0], NextToken(), Steps(64, 2), FitSpec(9, OptimPage(), 100), tmp_path, site=SITE, progress=heard)


def test_stopped_on_a_full_disk_says_which_checkpoint_is_the_last(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, ALONE)
    checkpoints.save(4, *made())
    checkpoints.finish()
    monkeypatch.setattr(checkpoint.ShardWriter, "write_data", lambda *given: (_ for _ in ()).throw(OSError("no room")))
    checkpoints.save(6, *made())
    checkpoints.finish()
    told = checkpoints.stopped(6).what
    assert told.startswith(
        "stopped on request at step 6; its checkpoint could not be written, the last one is of step 4"
    )


def test_tensors_of_every_kind_are_written_as_the_library_reads_them(tmp_path):
    given = {
        "a": torch.arange(6, dtype=torch.int64).view(2, 3),
        "b": torch.randn(5, dtype=torch.bfloat16),
        "c": torch.tensor(3),
        "d": torch.tensor([True, False, True]),
        "e": torch.zeros(0, 4),
        "f": torch.randn(3, 4).T,
        "日本": torch.randn(2, dtype=torch.float64),
    }
    path = tmp_path / "x.safetensors"
    storage.write_tensors(path, [(n, v.dtype, tuple(v.shape), lambda v=v: v) for n, v in given.items()])
    found = load_file(path)
    assert found.keys() == given.keys()
    for name, value in given.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_weights_are_exported_whole(tmp_path):
    model, _ = made(5)
    checkpoints = Checkpoints(tmp_path / "checkpoints", ALONE)
    checkpoints.export(model, tmp_path / "weights")
    state = {"model." + name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    checkpoint.load(tmp_path / "weights", state)
    assert all(torch.equal(state["model." + name], value) for name, value in model.state_dict().items())
    shutil.rmtree(tmp_path / "weights")
    with pytest.raises(DataError, match="file not found"):
        checkpoint.load(tmp_path / "weights", state)


def test_rows_that_a_full_disk_takes_not_wait_until_it_does(tmp_path):
    class Disk:
        """A file on a disk that takes ten bytes, then nothing, then all."""

        def __init__(self) -> None:
            self.taken, self.room = b"", 10

        def write(self, data: bytes) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            part = data[: self.room]
            self.taken, self.room = self.taken + part, self.room - len(part)
            return len(part)

    rows, disk = Rows(tmp_path / "rows.jsonl", 0, writes=True), Disk()
    rows.close()
    rows._file = disk
    for step in (1, 2):
        rows.row({"step": step, "tokens": step, "loss": 1.0})
    assert disk.taken == b'{"step": 1'
    with pytest.raises(OSError, match="No space"):
        rows.flush()
    disk.room = 1000
    rows.row({"step": 3, "tokens": 3, "loss": 1.0})
    assert [json.loads(line)["step"] for line in disk.taken.splitlines()] == [1, 2, 3]
