"""One build from crawl to chat through the real command line, and every verb that reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.command import STAGES, half_written, journal, shikomi, succeeded
from tests.e2e.tiny import NAME, TinyBuild


def test_every_stage_is_built_and_told(tiny_build: TinyBuild):
    assert list(tiny_build.folders) == list(STAGES)
    assert half_written(tiny_build.store) == []
    for number, stage in enumerate(STAGES, start=1):
        assert re.search(rf"^\[ ?{number}/{len(STAGES)}\] {stage} +done in ", tiny_build.ended.err, re.MULTILINE)
    events = [(row["event"], row.get("stage")) for row in journal(tiny_build.store)]
    assert events[0] == ("build_started", None)
    assert events[-1] == ("build_finished", None)
    assert events[1:-1] == [(event, stage) for stage in STAGES for event in ("stage_started", "stage_finished")]
    assert tiny_build.ended.out == ""


def test_report_is_one_file_with_the_recipe_s_name(tiny_build: TinyBuild):
    path = tiny_build.store / "reports" / f"{NAME}.html"
    assert f"report: {path}\n" in tiny_build.ended.err
    page = path.read_text(encoding="utf-8")
    assert NAME in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_status_tells_what_was_built(tiny_build: TinyBuild):
    told = succeeded("status", tiny_build.recipe, "--store", tiny_build.store, "--json").json
    assert Path(told["report_path"]).is_file()
    assert told["build_seconds"] == pytest.approx(sum(stage["seconds"] for stage in told["stages"]), abs=0.1)
    assert told["build_seconds"] > 0
    assert 10 < told["peak_mb"] < 4000
    assert told["complete"]
    assert told["synthetic"]
    assert [stage["name"] for stage in told["stages"]] == list(STAGES)
    assert {stage["state"] for stage in told["stages"]} == {"finished"}
    assert [stage["id"] for stage in told["stages"]] == [folder.name for folder in tiny_build.folders.values()]
    assert len(told["answers"]) == 3
    assert all(one["question"] and isinstance(one["answer"], str) for one in told["answers"])
    assert len({one["question"] for one in told["answers"]}) == 3


def test_status_as_text_shows_the_answers(tiny_build: TinyBuild):
    told = succeeded("status", tiny_build.recipe, "--store", tiny_build.store).out
    answers = succeeded("status", tiny_build.recipe, "--store", tiny_build.store, "--json").json["answers"]
    assert all(f"問: {one['question']}" in told for one in answers)
    assert all(f"{stage} " in told for stage in STAGES)


def test_eval_gives_shares_from_0_to_1(tiny_build: TinyBuild):
    told = succeeded("eval", tiny_build.recipe, "--store", tiny_build.store, "--json").json
    for name in ("seen_forms", "unseen_forms", "base", "most_frequent", "shuffled"):
        assert 0 <= told[name] <= 1, name
    assert told["n"] == min(told["n_seen_forms"], told["n_unseen_forms"])
    assert told["n"] > 0
    assert 0 < told["bits_per_byte"] < 8


def test_eval_as_text_has_a_column_a_model(tiny_build: TinyBuild):
    head, *rows = succeeded("eval", tiny_build.recipe, "--store", tiny_build.store).out.splitlines()
    assert head.split() == ["metric", "base", "anneal", "sft", "dpo", "n"]
    assert any("most frequent" in row for row in rows)


def test_funnel_adds_up_and_is_the_labels_number_of_pages(tiny_build: TinyBuild):
    told = succeeded("look", "corpus", tiny_build.recipe, "--store", tiny_build.store, "--json").json
    labels = (tiny_build.folders["crawl"] / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert told["read"] == len(labels)
    assert told["read"] == told["kept"] + sum(told["dropped_by_reason"].values())
    assert 0 < told["kept"] < told["read"]
    assert {"not_japanese", "exact_copy", "near_copy"} <= set(told["dropped_by_reason"])


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "corpus"])
def test_look_into_any_stage(tiny_build: TinyBuild, stage: str):
    told = succeeded("look", stage, tiny_build.recipe, "--store", tiny_build.store, "--json").json
    assert Path(told["folder"]) == tiny_build.folders[stage]
    assert all((tiny_build.folders[stage] / name).stat().st_size == size for name, size in told["files"].items())


def test_plan_of_what_is_built_takes_no_time(tiny_build: TinyBuild):
    told = succeeded("plan", tiny_build.recipe, "--store", tiny_build.store, "--json").json
    assert [stage["stage"] for stage in told["stages"]] == list(STAGES)
    assert all(stage["cached"] for stage in told["stages"])
    assert told["low"] == told["seconds"] == told["high"] == 0


def test_plan_of_what_is_not_built_is_a_range_for_each_stage(tiny_build: TinyBuild, tmp_path: Path):
    told = succeeded("plan", tiny_build.recipe, "--store", tmp_path / "store", "--json").json
    assert not any(stage["cached"] for stage in told["stages"])
    assert all(0 <= stage["low"] <= stage["seconds"] <= stage["high"] for stage in told["stages"])
    assert 0 < told["low"] < told["seconds"] < told["high"]
    trained = {stage["stage"]: stage for stage in told["stages"] if stage["stage"] in ("pretrain", "anneal", "sft")}
    summary = json.loads((tiny_build.folders["pretrain"] / "summary.json").read_text(encoding="utf-8"))
    assert {stage["parameters"] for stage in trained.values()} == {summary["parameters"]}
    assert {stage["tokens"] for stage in trained.values()} == {1536}
    assert not (tmp_path / "store").exists()


def test_a_second_build_does_nothing(tiny_build: TinyBuild, tmp_path: Path):
    store = tiny_build.copy(tmp_path / "store")
    told = succeeded("build", tiny_build.recipe, "--store", store, "--json").json
    assert [stage["name"] for stage in told["stages"]] == list(STAGES)
    assert all(stage["cached"] for stage in told["stages"])
    assert Path(told["report_path"]).is_file()


def test_a_build_that_is_told_to_stops_after_a_stage(tiny_build: TinyBuild, tmp_path: Path):
    store = tmp_path / "store"
    told = succeeded("build", tiny_build.recipe, "--store", store, "--until", "corpus", "--json").json
    assert [stage["name"] for stage in told["stages"]] == ["crawl", "dialogues", "pages", "corpus"]
    assert not (store / "tokenizer").exists()
    ended = shikomi("eval", tiny_build.recipe, "--store", store)
    assert ended.code == 2
    assert ended.told.what == "stage evaluate is not built yet"


def ask(tiny_build: TinyBuild, path: Path, *lines: str) -> list[dict]:
    """What ``chat --ask`` prints for a file of these lines."""
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    out = succeeded("chat", tiny_build.recipe, "--store", tiny_build.store, "--ask", path).out
    return [json.loads(line) for line in out.splitlines()]


def test_chat_answers_a_file_line_by_line(tiny_build: TinyBuild, tmp_path: Path):
    rows = [
        {"id": 7, "question": "本社はどこですか。", "note": {"深い": ["値"]}},
        {"question": ""},
        {"question": "代表者は？\n二行目<|im_end|>"},
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    found = ask(tiny_build, tmp_path / "問い.jsonl", lines[0], "", *lines[1:])
    assert [{name: value for name, value in row.items() if name != "answer"} for row in found] == rows
    assert all(isinstance(row["answer"], str) for row in found)
    assert all("<|" not in row["answer"] for row in found)
    alone = ask(tiny_build, tmp_path / "one.jsonl", lines[0])
    assert alone[0]["answer"] == found[0]["answer"]


def test_chat_answers_an_empty_file_with_nothing(tiny_build: TinyBuild, tmp_path: Path):
    assert ask(tiny_build, tmp_path / "empty.jsonl") == []


@pytest.mark.parametrize("line", ['{"text": "本社は？"}', '{"question": 3}', '"本社は？"', "{"])
def test_chat_names_the_line_that_is_no_question(tiny_build: TinyBuild, tmp_path: Path, line: str):
    path = tmp_path / "質問 集.jsonl"
    path.write_text(f'{{"question": "本社は？"}}\n{line}\n', encoding="utf-8")
    ended = shikomi("chat", tiny_build.recipe, "--store", tiny_build.store, "--ask", path)
    assert ended.code == 1
    assert ended.out == ""
    assert ended.told.where == f"{path}:2"
    assert "one" in ended.told.hint


def test_chat_without_a_terminal_asks_three_questions(tiny_build: TinyBuild):
    told = succeeded("chat", tiny_build.recipe, "--store", tiny_build.store).out
    answers = succeeded("status", tiny_build.recipe, "--store", tiny_build.store, "--json").json["answers"]
    assert [line[3:] for line in told.splitlines() if line.startswith("問: ")] == [one["question"] for one in answers]
    assert told.count("答: ") == 3


@pytest.mark.parametrize("stage", ["pretrain", "anneal", "sft"])
def test_every_model_of_a_build_can_be_asked(tiny_build: TinyBuild, tmp_path: Path, stage: str):
    path = tmp_path / "ask.jsonl"
    path.write_text('{"question": "本社は？"}\n', encoding="utf-8")
    told = succeeded("chat", tiny_build.recipe, "--store", tiny_build.store, "--model", stage, "--ask", path)
    assert json.loads(told.out)["question"] == "本社は？"
