"""Layers shared by ranks: whatever the schedule, the curve is that of one process."""

from __future__ import annotations

from typing import Any

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.train.pipelined import check_stages
from tests.laws import shares
from tests.laws.layouts import CONFIG
from tests.laws.test_layouts import alone, compare, curves, differ

LAYERS = (("layers", 4),)
LAYOUTS = {
    "pipeline-2": (2, {"pipeline": 2}),
    "interleaved-2": (2, {"pipeline": 2, "schedule": "interleaved"}),
    "zero-bubble-2": (2, {"pipeline": 2, "schedule": "zero-bubble"}),
    "pipeline-2-fsdp-2": (4, {"pipeline": 2, "shard": 2}),
}


def train(crew: Any, folder: Any, shape: Any = LAYERS, **arguments: Any) -> dict[str, Any]:
    return crew.run("tests.laws.layouts:train", config=dict(shape), folder=str(folder), **arguments)[0]


@curves(LAYOUTS)
def test_every_pipeline_gives_the_curve_of_one_process(layout, kind, double, crews, tmp_path):
    ranks, mesh = LAYOUTS[layout]
    steps, limits = (20, {20: 1e-11}) if double else (50, {20: 1e-6, 50: 1e-5})
    run = train(crews(ranks), tmp_path, mesh=mesh, kind=kind, steps=steps, double=double)
    compare(alone(config=LAYERS, kind=kind, steps=steps, double=double), run, limits)


@pytest.mark.parametrize("schedule", ["1f1b", "interleaved"])
def test_an_untied_head_a_padded_vocabulary_and_uneven_micro_batches(schedule, crews, tmp_path):
    shape = (("layers", 5), ("tie_embeddings", False), ("vocab_size", 61), ("vocab_multiple", 8))
    mesh = {"pipeline": 2, "schedule": schedule}
    run = train(crews(2), tmp_path, shape, mesh=mesh, steps=10, micro_rows=3)
    compare(alone(config=shape, steps=10, micro_rows=3), run, {10: 1e-6})


COMPOSED = [
    {"pipeline": 2, "context": 2},
    {"pipeline": 2, "shard": 2, "schedule": "zero-bubble"},
    {"pipeline": 2, "tensor": 2, "schedule": "interleaved"},
]


@pytest.mark.parametrize("mesh", COMPOSED, ids=lambda mesh: "-".join(mesh))
def test_pipelines_compose(mesh, crews, tmp_path):
    run = train(crews(4), tmp_path, mesh=mesh, steps=10, site={"recompute": mesh.get("context", 1) > 1})
    assert differ(alone(config=LAYERS, kind="adamw", steps=10), run) <= 1e-6


def test_preferences_of_many_lengths_are_tuned_alike(crews, tmp_path):
    plain = {"rows": shares.prefer()}
    run = {"rows": crews(2).run("tests.laws.shares:prefer", mesh={"pipeline": 2}, folder=str(tmp_path))[0]}
    for name in ("loss", "margin", "chosen_logp", "grad_norm"):
        assert differ(plain, run, name) <= 1e-5


@pytest.mark.parametrize("mesh", [{"pipeline": 2}, {"context": 2}], ids=lambda mesh: "-".join(mesh))
def test_stages_of_a_build_follow_one_another(mesh, crews, tmp_path):
    shares.make_inputs(tmp_path / "inputs")
    alone = shares.build(str(tmp_path / "inputs"), str(tmp_path / "alone"))
    run = crews(2).run("tests.laws.shares:build", inputs=str(tmp_path / "inputs"), out=str(tmp_path / "run"), mesh=mesh)
    for name, losses in alone.items():
        assert run[0][name] == pytest.approx(losses, rel=1e-5), name


REFUSED = {
    "3 layers cannot be cut into 4 pipeline stages": (2, {"pipeline": 2, "schedule": "interleaved"}, {"layers": 3}),
    "cannot be tuned by ranks that share both": (4, {"pipeline": 2, "context": 2}, {"pairs": True}),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_is_refused_before_the_first_step(words, crews):
    ranks, mesh, arguments = REFUSED[words]
    said = crews(ranks).run("tests.laws.shares:refusal", mesh=mesh, **arguments)
    assert words in said[0]
    assert "site: training.mesh" in said[0]
    assert "hint: " in said[0]
    assert len(set(said)) == 1


def test_compiled_layers_and_zero_bubble_are_refused():
    site = TrainingSite(mesh=MeshPage(pipeline=2, schedule="zero-bubble"), compile=True)
    with pytest.raises(RecipeError, match="compiled layers") as caught:
        check_stages(CONFIG, site)
    assert "interleaved" in str(caught.value.hint)
    assert [len(part) for part in check_stages(CONFIG, TrainingSite())] == [2]
