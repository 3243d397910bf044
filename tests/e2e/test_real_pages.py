"""The recipe for real pages, at a tiny size, from one real WARC file to a model that is not for release."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.command import STAGES, contents, half_written, stage_folders, succeeded

RECIPE = ROOT / "recipes" / "real-pages.toml"
BUILT = tuple(stage for stage in STAGES if stage != "crawl")

TINY = {
    "tokenizer.vocab_size": 600,
    "model.hidden_size": 32,
    "model.layers": 1,
    "model.heads": 2,
    "model.kv_heads": 1,
    "model.head_dim": 16,
    "model.intermediate_size": 32,
    "model.max_tokens": 256,
    **{f"{stage}.batch_tokens": 256 for stage in ("pretrain", "anneal", "sft")},
    **{f"{stage}.sequence_tokens": 256 for stage in ("pretrain", "anneal", "sft")},
    "pretrain.tokens": 2048,
    "anneal.tokens": 1024,
    "sft.tokens": 1024,
    "dialogues.sources.0.limit": 120,
    "dialogues.sources.1.limit": 800,
    "dialogues.sources.2.limit": 60,
    "dpo.pairs": 4,
    "dpo.batch_pairs": 2,
    "dpo.micro_batch_pairs": 2,
    "evaluate.questions": 2,
    "evaluate.bits_tokens": 256,
    "evaluate.max_answer_tokens": 4,
    "evaluate.resamples": 100,
}


def overrides(real_data: Path) -> list[str]:
    """``--set`` for the tiny size and for where the data lies."""
    places = {
        "corpus.warc": real_data / "crawl" / "pages-00.warc.gz",
        "corpus.licence_table": real_data / "crawl" / "manifest.tsv",
        "dialogues.sources.0.path": real_data / "instruct" / "megagonlabs_instruction_ja.jsonl",
        "dialogues.sources.1.path": real_data / "nlu" / "JaQuAD" / "jaquad_train_0000.json",
        "dialogues.sources.2.path": real_data / "preference" / "pairs-ja.jsonl",
    }
    return [word for key, value in (TINY | places).items() for word in ("--set", f"{key}={value}")]


@pytest.mark.real
def test_real_pages_build_through_to_the_end(real_data: Path, tmp_path: Path):
    words = (RECIPE, "--store", tmp_path / "store", *overrides(real_data))
    plan = succeeded("plan", *words, "--json").json
    assert [stage["stage"] for stage in plan["stages"]] == list(BUILT)
    built = succeeded("build", *words, "--json").json
    assert [stage["name"] for stage in built["stages"]] == list(BUILT)
    assert Path(built["report_path"]).is_file()
    folders = stage_folders(tmp_path / "store")
    assert half_written(tmp_path / "store") == []

    funnel = succeeded("look", "corpus", *words, "--json").json
    assert funnel["read"] == funnel["kept"] + sum(funnel["dropped_by_reason"].values())
    assert 40 < funnel["kept"] < funnel["read"]
    assert funnel["dropped_by_reason"]["not_japanese"] > 20
    assert set(funnel["licences"]) - {"unknown"}, "the licence table was not read"
    assert "shift_jis" in json.dumps(funnel["charsets"]).lower().replace("cp932", "shift_jis")

    dialogues = json.loads((folders["dialogues"] / "manifest.json").read_text(encoding="utf-8"))["facts"]
    assert dialogues["mechanics_only"], "the pairs' prompts are those of an evaluation set"
    for name in ("dialogues.jsonl", "preferences.jsonl", "questions.jsonl", "heldout.jsonl"):
        assert contents(folders["dialogues"])[name]

    told = succeeded("eval", *words, "--json").json
    assert 0 < told["bits_per_byte"] < 8
    assert told["n"] > 0
    assert told["most_frequent"] is None or 0 <= told["most_frequent"] <= 1

    status = succeeded("status", *words, "--json").json
    assert status["complete"]
    assert not status["synthetic"]
    release = json.loads((folders["release"] / "manifest.json").read_text(encoding="utf-8"))["facts"]
    assert not release["releasable"]
    card = (folders["release"] / "README.md").read_text(encoding="utf-8")
    assert "This model must not be released" in card
    base = json.loads((folders["release_base"] / "manifest.json").read_text(encoding="utf-8"))["facts"]
    assert base["instruction_tokens"] == 0
