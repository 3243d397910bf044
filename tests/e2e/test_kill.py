"""kill -9 at a seeded moment of each stage, then the same command again: the same bytes, the same loss curve."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.e2e.command import (
    MANIFEST,
    STAGES,
    Running,
    contents,
    facts,
    half_written,
    journal,
    stage_folders,
    succeeded,
    wait_until,
)
from tests.e2e.tiny import TinyBuild

ATTEMPTS = 10
"""A kill that comes after the stage's end is tried again, twice as early: how fast a busy machine is nobody knows."""

RESUMABLE = ("pretrain", "anneal", "sft", "dpo", "evaluate")
"""Stages that leave something to go on from within the tiny build."""

WITH_MODEL = (*RESUMABLE, "release_base", "release")
"""Stages that load the library of tensors."""


def began(store: Path, stage: str) -> bool:
    """Whether the journal says that a stage has begun."""
    return any(row["event"] == "stage_started" and row["stage"] == stage for row in journal(store))


def has_written(store: Path, stage: str) -> bool:
    """Whether a stage has left a checkpoint, or answers, to go on from."""
    return any(
        any(store.glob(f"work/{stage}-*/scratch/{pattern}")) for pattern in ("checkpoints/step-*[0-9]", "*.jsonl")
    )


def finished(store: Path, stage: str) -> bool:
    """Whether a stage is finished."""
    return any(store.glob(f"{stage}/*/{MANIFEST}"))


def kill_in(tiny_build: TinyBuild, stage: str, seed: int, folder: Path) -> tuple[Path, bool]:
    """Build up to a stage in copies of the store until a kill comes before the stage's end.

    The moment counts from the stage's start; for stages that can go on from within, with even seeds, from what they
    first leave to go on from.

    Returns:
        The store as the kill left it, and whether the moment counted from what was left.
    """
    rng = random.Random(f"{stage}:{seed}")
    late, found = stage in RESUMABLE and seed % 2 == 0, tiny_build.folders
    # CPU seconds: wall seconds tell how busy the machine was then, not how long the stage takes now.
    cpu = {one: json.loads((folder / MANIFEST).read_text("utf-8"))["cpu_seconds"] for one, folder in found.items()}
    # A stage with a model loads the library first, which here only the first one, pretrain, had to.
    delay = rng.random() * (cpu[stage] / 3 if late else max(cpu[stage], cpu["pretrain"] * (stage in WITH_MODEL)))
    for attempt in range(ATTEMPTS):
        store = tiny_build.copy(folder / f"store-{attempt}", before=stage)
        running = Running(
            "build", tiny_build.recipe, "--store", store, "--until", stage, "--workers", 2,
            log=folder / f"log-{attempt}",
        )  # fmt: skip
        try:
            running.wait_until(lambda store=store: (has_written if late else began)(store, stage))
            if delay > 0.001:
                running.sleep(delay)
        finally:
            running.kill()
        if not finished(store, stage):
            return store, late
        delay /= 2
    pytest.fail(f"no kill in {ATTEMPTS} came before the end of {stage}")


def check_killed(tiny_build: TinyBuild, stage: str, seed: int, folder: Path) -> None:
    """Kill in a stage, build again, and compare with the straight build."""
    store, late = kill_in(tiny_build, stage, seed, folder)
    words = (tiny_build.recipe, "--store", store)
    told = {row["name"]: row["state"] for row in succeeded("status", *words, "--json").json["stages"]}
    at = STAGES.index(stage)
    assert [told[name] for name in STAGES[:at]] == ["finished"] * at
    assert told[stage] in ("unfinished", "missing")
    assert not late or told[stage] == "unfinished"
    again = succeeded("build", *words, "--until", stage, "--workers", 2, "--json").json["stages"]
    assert [one["name"] for one in again if not one["cached"]] == [stage]
    result = store / stage / tiny_build.folders[stage].name
    assert contents(result) == contents(tiny_build.folders[stage])
    assert facts(result) == facts(tiny_build.folders[stage])
    assert half_written(store) == []
    if late:
        assert [row["resumed"] for row in journal(store) if row["event"] == "stage_started"] == [False, True]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_once_and_built_again(tiny_build: TinyBuild, stage: str, tmp_path: Path):
    check_killed(tiny_build, stage, 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_five_more_moments_and_built_again(tiny_build: TinyBuild, stage: str, seed: int, tmp_path: Path):
    check_killed(tiny_build, stage, seed, tmp_path)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are counted in Linux's /proc")
@pytest.mark.parametrize("stage", ["pages", "tokens"])
def test_workers_do_not_outlive_a_killed_build(tiny_build: TinyBuild, stage: str, tmp_path: Path):
    """The kernel, short of memory, kills one process, not a group; a worker left over would write into the next
    build's files."""
    store, words = tmp_path / "store", (tiny_build.recipe, "--until", stage, "--workers", 2)
    if stage == "pages":  # a process a file
        whole = (tiny_build.folders["crawl"] / "warc/crawl-00000.warc.gz").read_bytes()
        for number in range(2):
            (tmp_path / f"{number}.warc.gz").write_bytes(whole)
        words += ("--set", f"corpus.warc={tmp_path}/*.warc.gz", "--set", "corpus.licence=CC0-1.0")
    else:
        tiny_build.copy(store, before=stage)
    running = Running("build", *words, "--store", store, log=tmp_path / "log")
    try:
        running.wait_until(lambda: len(running.children()) >= (2 if stage == "pages" else 1))  # one block of documents
        assert not running.over, running.said
        running.kill_alone()
        wait_until(lambda: not running.group_lives(), running)
    finally:
        running.kill()
    succeeded("build", *words, "--store", store)
    assert half_written(store) == []
    if stage == "tokens":
        assert contents(stage_folders(store)[stage]) == contents(tiny_build.folders[stage])


def test_the_loss_curve_that_is_compared_is_one(tiny_build: TinyBuild):
    """So that equal bytes above mean equal curves: a row a step, and the loss falls."""
    for stage in ("pretrain", "anneal", "sft", "dpo"):
        lines = (tiny_build.folders[stage] / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["step"] for row in rows] == list(range(1, 13)), stage
        assert sum(row["loss"] for row in rows[-4:]) < sum(row["loss"] for row in rows[:4]), stage


def plant(store: Path, name: str, content: bytes = b"torn") -> None:
    """Put a file into a store, as a kill may have left it."""
    path = store / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_no_leftover_is_taken_for_finished(tiny_build: TinyBuild, tmp_path: Path):
    store, ids = tmp_path / "store", {stage: folder.name for stage, folder in tiny_build.folders.items()}
    shard = (tiny_build.folders["corpus"] / "shards/part-00000.parquet").read_bytes()
    weights = (tiny_build.folders["pretrain"] / "model.safetensors").read_bytes()
    # A result without its manifest, cut off while it was being taken away.
    plant(store, f"crawl/{ids['crawl']}/labels.jsonl")
    plant(store, f"pretrain/{ids['pretrain']}/model.safetensors", weights)
    # What stages write before they rename it.
    plant(store, f"work/crawl-{ids['crawl']}/warc/crawl-00000.warc.gz.partial")
    plant(store, f"work/pages-{ids['pages']}/shards/part-00000.parquet.partial", shard[:-9])
    plant(store, f"work/corpus-{ids['corpus']}/scratch/decided/part-00000.parquet.partial", shard[:-9])
    plant(store, f"work/corpus-{ids['corpus']}/shards/part-00000.parquet.partial", shard[:-9])
    plant(store, f"work/tokenizer-{ids['tokenizer']}/tokenizer.json.partial", b"{")
    plant(store, f"work/tokens-{ids['tokens']}/train.bin.partial")
    plant(store, f"work/tokens-{ids['tokens']}/scratch/block-00000-0123456789abcdef.npz.partial")
    plant(store, f"work/pretrain-{ids['pretrain']}/scratch/checkpoints/step-00000009.partial/model.safetensors")
    plant(store, f"work/pretrain-{ids['pretrain']}/model.safetensors.partial", weights[:-9])
    plant(store, f"work/pretrain-{ids['pretrain']}/manifest.json.partial", b"{}")
    # What a kill leaves of the record of times, and of the journal.
    plant(store, f"work/corpus-{ids['corpus']}.spent.json", b'{"seconds": ')
    plant(store, "journal.jsonl", b'{"time": 1, "event": "build_st')
    built = succeeded("build", tiny_build.recipe, "--store", store, "--until", "pretrain", "--json").json["stages"]
    assert not any(one["cached"] for one in built)
    for one in built:
        result, straight = store / one["name"] / one["id"], tiny_build.folders[one["name"]]
        assert contents(result) == contents(straight), one["name"]
        assert facts(result) == facts(straight), one["name"]
    assert half_written(store) == []


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_result_is_built_again(tiny_build: TinyBuild, tmp_path: Path, damage: str):
    store = tiny_build.copy(tmp_path / "store", only=("crawl", "dialogues", "pages", "corpus", "tokenizer"))
    path = store / "tokenizer" / tiny_build.folders["tokenizer"].name / "tokenizer.json"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    ended = succeeded("build", tiny_build.recipe, "--store", store, "--until", "tokenizer", "--json")
    assert [one["name"] for one in ended.json["stages"] if not one["cached"]] == ["tokenizer"]
    assert "tokenizer: the finished result is damaged (tokenizer.json " in ended.err
    assert contents(path.parent) == contents(tiny_build.folders["tokenizer"])
