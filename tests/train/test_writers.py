"""Curves go to TensorBoard and Weights & Biases where they are wanted and installed; a trace is one flag."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
import types

import pytest

from shikomi.errors import MachineError
from shikomi.model.config import ModelConfig
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train import writers
from shikomi.train.batches import DialogueRows, RowBatches
from shikomi.train.loop import FitSpec, fit
from shikomi.train.objective import NextToken
from shikomi.train.writers import TensorBoard, WeightsAndBiases, check_writers, open_writers

ROWS = [{"step": step, "loss": 3.0 / step, "grad_norm": float("nan") if step == 2 else 1.0} for step in (1, 2, 3)]


def train(out, site, **more):
    model = Transformer(ModelConfig("qwen3", 64, 32, 1, 2, 1, 16, 48, 64))
    initialise(model, 1)
    rows = DialogueRows([([5, 6, 7, 8, 9], [0, 1, 1, 1, 1])] * 4, 16, pad_id=0, seed=1, answers_only=True)
    spec = FitSpec(6, OptimPage(), 10, flops_per_token=1e5)
    return fit(model, NextToken(), RowBatches(rows, 2, 2), spec, out, site=site, **more)


def test_a_missing_package_is_said_before_the_first_step(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match='the writer "wandb" needs a package') as caught:
        train(tmp_path, TrainingSite(precision="float32", writers=["wandb"]))
    assert caught.value.where == "training.writers"
    assert caught.value.hint == "pip install 'shikomi[wandb]', or leave it out of training.writers"
    assert not (tmp_path / "scratch" / "metrics.jsonl").exists()


def test_no_writers_is_nothing_to_check():
    check_writers([])


class FakeRun:
    """Remembers what a run was told."""

    def __init__(self):
        self.logged, self.finished = [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


def test_weights_and_biases_is_offline_by_default_and_gets_finite_numbers(monkeypatch, tmp_path):
    run, asked = FakeRun(), {}
    fake = types.SimpleNamespace(init=lambda **given: asked.update(given) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    writer = WeightsAndBiases(tmp_path / "pretrain-abc", {"steps": 3})
    assert not asked
    for row in ROWS:
        writer.row(row)
    writer.close()
    assert asked["mode"] == "offline"
    assert asked["name"] == "pretrain-abc"
    assert asked["config"] == {"steps": 3}
    whole = [(step, {"loss": 3.0 / step, "grad_norm": 1.0}) for step in (1, 3)]
    assert run.logged == [whole[0], (2, {"loss": 1.5}), whole[1]]
    assert run.finished


def test_a_writer_that_got_no_row_closes_without_opening(tmp_path):
    for kind in (TensorBoard, WeightsAndBiases):
        kind(tmp_path, {}).close()
    assert not list(tmp_path.iterdir())


def test_tensorboard_reads_back_what_was_written(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (writer,) = open_writers(["tensorboard"], tmp_path, {"steps": 3})
    for row in ROWS:
        writer.row(row)
    writer.close()
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 3.0), (2, 1.5), (3, 1.0)]
    assert [event.step for event in found.Scalars("grad_norm")] == [1, 3]


@pytest.mark.slow
def test_weights_and_biases_writes_a_run_that_can_be_sent_later(tmp_path):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    (writer,) = open_writers(["wandb"], tmp_path, {"steps": 3})
    for row in ROWS:
        writer.row(row)
    writer.close()
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))


def test_every_step_tells_what_the_contract_names(tmp_path):
    told = []
    facts = train(tmp_path, TrainingSite(precision="float32"), progress=lambda d, t, u, note="": told.append(note))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    wanted = {"step", "tokens", "loss", "grad_norm", "update_norm", "rate", "tokens_per_second", "mfu", "memory_mb"}
    assert all(wanted <= row.keys() for row in rows)
    assert [row["tokens"] for row in rows] == [32 * step for step in range(1, 7)]
    assert told[-1].startswith("loss ")
    assert facts["peak_basis"].startswith("measured")


def test_a_trace_of_the_steps_asked_for_is_written_and_its_place_said(tmp_path):
    class Says:
        """A progress with a place for sentences."""

        def __init__(self):
            self.said = []

        def __call__(self, done, total, unit, note=""):
            pass

        def say(self, text):
            self.said.append(text)

    says = Says()
    train(tmp_path, TrainingSite(precision="float32", profile_steps="3-4"), progress=says)
    path = tmp_path / "profile" / "steps-3-4.json.gz"
    (sentence,) = says.said
    assert sentence.startswith(f"trace of steps 3 to 4, for https://ui.perfetto.dev: {path} ")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert any("aten::mm" in str(event.get("name")) for event in events)


def test_a_run_that_ends_while_it_is_recorded_writes_what_there_is(tmp_path):
    train(tmp_path, TrainingSite(precision="float32", profile_steps="5-50"))
    assert [path.name for path in (tmp_path / "profile").iterdir()] == ["steps-5-end.json.gz"]


def test_the_names_of_writers_are_those_the_site_knows():
    from typing import get_args

    annotation = TrainingSite.model_fields["writers"].annotation
    assert set(get_args(get_args(annotation)[0])) == set(writers.MODULES)
