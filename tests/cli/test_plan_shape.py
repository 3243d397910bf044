"""``shikomi plan`` on a model: the dial's numbers with their reasons, and what the ranks of a cluster hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.shell import Shell


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    """A recipe whose model is one dial."""
    path = tmp_path / "一つの つまみ.toml"
    path.write_text(
        'name = "つまみ"\n[model]\nparams = "1.3B"\n[tokenizer]\nvocab_size = 65536\n'
        '[pretrain]\ntokens = "26B"\nbatch_tokens = 1048576\nsequence_tokens = 4096\n',
        encoding="utf-8",
    )
    return str(path), "--store", str(tmp_path / "store")


def test_a_dial_is_told_number_by_number(shikomi: Shell, words: tuple[str, ...]):
    out = shikomi.done("plan", *words).out
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "hidden_size / head_dim" in rows["heads"]
    assert "of model.params = 1.3B" in rows["parameters"]
    told = json.loads(shikomi.done("plan", *words, "--json").out)
    shape = {row["field"]: row["value"] for row in told["shape"]}
    assert abs(shape["parameters"] / 1.3e9 - 1) < 0.01
    pretrain = next(stage for stage in told["stages"] if stage["stage"] == "pretrain")
    assert pretrain["parameters"] == shape["parameters"]


def test_one_number_is_explained(shikomi: Shell, words: tuple[str, ...]):
    assert "tiles of" in shikomi.done("plan", *words, "--explain", "model.hidden_size").out
    told = json.loads(shikomi.done("plan", *words, "--explain", "rope_theta", "--json").out)
    assert told == {"field": "rope_theta", "value": 10_000.0, "why": "the default"}
    failed = shikomi("plan", *words, "--explain", "model.width")
    assert failed.code == 2
    assert "model.width is not explained" in failed.err


def test_a_cluster_is_planned_without_one(shikomi: Shell, words: tuple[str, ...]):
    out = shikomi.done("plan", *words, "--mesh", "2x8").out
    assert "1.29B parameters on 16 ranks: shard 16" in out
    assert "placements made on meta tensors for 16 ranks" in out
    told = json.loads(shikomi.done("plan", *words, "--mesh", "shard=2,tensor=4", "--json").out)
    assert (told["ranks"], told["degrees"]["tensor"], told["fits"]) == (8, 4, True)
    parts = {part["name"]: part["bytes"] for part in told["parts"]}
    assert parts["parameters"] == pytest.approx(4 * told["parameters"] / 8, rel=0.01)
    assert told["peak_bytes"] > parts["parameters"] + parts["optimiser"]
    out = shikomi.done("plan", *words, "--mesh", "shard=2", "--gpu-memory", "20GB").out
    assert "too much" in out
    assert "hint: training.recompute = true and pretrain.micro_batch_sequences = " in out
    for wrong, message in ((("gpus=4",), "is no degree"), (("2x8", "--gpu-memory", "80"), "--gpu-memory")):
        ended = shikomi("plan", *words, "--mesh", *wrong)
        assert ended.code == 2
        assert message in ended.err
