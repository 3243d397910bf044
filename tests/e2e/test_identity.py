"""The same recipe gives the same bytes anywhere; a change rebuilds what stands on it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import STAGES, contents, facts, succeeded
from tests.e2e.tiny import TinyBuild

NEVER_SEES_DIALOGUES = ("crawl", "pages", "corpus", "tokenizer", "tokens", "pretrain", "release_base")
STANDS_ON_DIALOGUES = ("dialogues", "anneal", "sft", "dpo", "evaluate", "release")


def ids(recipe: Path, store: Path, *overrides: str) -> dict[str, str]:
    """The id of each stage of a recipe under overrides; nothing is built."""
    words = [word for override in overrides for word in ("--set", override)]
    told = succeeded("status", recipe, "--store", store, "--json", *words).json
    return {stage["name"]: stage["id"] for stage in told["stages"]}


def changed(recipe: Path, store: Path, *overrides: str) -> tuple[str, ...]:
    """Which stages have another id under overrides."""
    before, after = ids(recipe, store), ids(recipe, store, *overrides)
    assert list(after) == list(before) == list(STAGES)
    return tuple(name for name in STAGES if before[name] != after[name])


@pytest.mark.parametrize("stage", STAGES)
def test_two_runs_give_the_same_ids_and_bytes(tiny_build: TinyBuild, second_build: TinyBuild, stage: str):
    first, second = tiny_build.folders[stage], second_build.folders[stage]
    assert first.name == second.name
    assert contents(first) == contents(second)
    assert facts(first) == facts(second)


def test_bytes_that_are_compared_are_there(tiny_build: TinyBuild):
    """So that the comparison above cannot hold of nothing."""
    wanted = {
        "crawl": {"warc/crawl-00000.warc.gz", "labels.jsonl", "facts.jsonl", "README.txt"},
        "pages": {"shards/part-00000.parquet", "pages.json", "ledger.jsonl"},
        "corpus": {
            "shards/part-00000.parquet",
            "signatures/part-00000.parquet",
            "clusters.parquet",
            "funnel.json",
            "samples.json",
            "duplicates.json",
            "contamination.json",
            "ledger.jsonl",
        },
        "tokenizer": {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"},
        "tokens": {"train.bin", "heldout.bin", "train.offsets.bin", "heldout.offsets.bin", "index.json"},
        "dialogues": {"dialogues.jsonl", "preferences.jsonl", "questions.jsonl"},
        "evaluate": {"scores.json", "answers.jsonl"},
    }
    model = {"config.json", "model.safetensors", "tokenizer.json"}
    wanted |= {stage: model | {"metrics.jsonl", "summary.json"} for stage in ("pretrain", "anneal", "sft", "dpo")}
    released = model | {"README.md", "LICENSE", "SHA256SUMS", "reproduce.json", "generation_config.json"}
    wanted |= dict.fromkeys(("release_base", "release"), released)
    for stage in STAGES:
        assert wanted[stage] <= set(contents(tiny_build.folders[stage])), stage


@pytest.mark.parametrize(
    "override",
    [
        "dialogues.seed=12",
        "dialogues.forms_per_field=5",
        "dialogues.dialogues_per_fact=3",
    ],
)
def test_changing_a_dialogue_leaves_the_base_alone(tiny_build: TinyBuild, override: str):
    assert changed(tiny_build.recipe, tiny_build.store, override) == STANDS_ON_DIALOGUES


def test_dialogues_of_one_s_own_leave_the_base_alone(tiny_build: TinyBuild, tmp_path: Path):
    path = tmp_path / "対話.jsonl"
    row = '{"messages": [{"role": "user", "content": "本社は？"}, {"role": "assistant", "content": "東京です。"}]}\n'
    path.write_text(row, encoding="utf-8")
    source = f'dialogues.sources=[{{path = "{path}", form = "messages", licence = "CC0-1.0"}}]'
    before = ids(tiny_build.recipe, tiny_build.store, source)
    assert changed(tiny_build.recipe, tiny_build.store, source) == STANDS_ON_DIALOGUES
    path.write_text(row.replace("東京", "大阪"), encoding="utf-8")
    after = ids(tiny_build.recipe, tiny_build.store, source)
    assert {name for name in STAGES if before[name] != after[name]} == set(STANDS_ON_DIALOGUES)


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("sample.seed=8", "crawl"),
        ("corpus.cut_footer=false", "pages"),
        ("corpus.rules.min_letters=120", "corpus"),
        ("corpus.copies.jaccard=0.8", "corpus"),
    ],
)
def test_changing_the_crawl_or_the_corpus_changes_all_that_follows(tiny_build: TinyBuild, override: str, first: str):
    found = set(changed(tiny_build.recipe, tiny_build.store, override))
    after = set(STAGES[STAGES.index(first) :])
    # The dialogues are written from the crawl's facts; the corpus is nothing to them.
    assert found == (after if first == "crawl" else after - {"dialogues"})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.layers=2", ("pretrain", "release_base", "anneal", "sft", "dpo", "evaluate", "release")),
        ("sft.seed=9", ("sft", "dpo", "evaluate", "release")),
        ("evaluate.questions=3", ("evaluate", "release")),
        ("pretrain.checkpoint_steps=7", ()),
        ("pretrain.micro_batch_sequences=1", ()),
    ],
)
def test_a_change_reaches_what_stands_on_it(tiny_build: TinyBuild, override: str, expected: tuple[str, ...]):
    assert changed(tiny_build.recipe, tiny_build.store, override) == expected


def test_status_says_why(tiny_build: TinyBuild):
    words = ("status", tiny_build.recipe, "--store", tiny_build.store, "--why", "anneal", "--json")
    assert succeeded(*words).json["why"] == "cached"
    told = succeeded(*words, "--set", "dialogues.seed=12").json["why"]
    assert told.startswith("input dialogues ← dialogues: page.seed: 11 → 12")


def test_the_base_has_seen_no_instruction(tiny_build: TinyBuild):
    card = (tiny_build.folders["release_base"] / "README.md").read_text(encoding="utf-8")
    assert "0 instruction tokens" in card
    assert facts(tiny_build.folders["release_base"])["facts"]["instruction_tokens"] == 0
    final = (tiny_build.folders["release"] / "README.md").read_text(encoding="utf-8")
    assert "**0 instruction tokens" not in final
    assert facts(tiny_build.folders["release"])["facts"]["instruction_tokens"] > 0
