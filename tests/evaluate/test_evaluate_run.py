"""The whole evaluation with examinees that answer by rule: scores, baselines, differences, resuming."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shikomi.data.dialogue import Dialogue, Message, Question, write_rows
from shikomi.errors import DataError
from shikomi.evaluate.run import evaluate
from shikomi.io import read_json
from shikomi.recipe.evaluate import EvaluatePage
from tests.evaluate.rule_examinee import RuleExaminee, knows

PAGE = EvaluatePage(resamples=400, bits_tokens=256)
MODELS = {
    "base": RuleExaminee(lambda question: "えええ" * 200, 10.0),
    "anneal": RuleExaminee(knows(3, "だよ。"), 9.0),
    "sft": RuleExaminee(knows(4, "だよ。"), 9.0),
    "dpo": RuleExaminee(knows(3), 9.5),
}


def run(exam: Path, out: Path, models=MODELS, **more):
    out.mkdir(exist_ok=True)
    folders = {name: Path(name) for name in models}
    return evaluate(
        more.pop("page", PAGE), folders, exam / "dialogues", exam / "tokens", out,
        open_model=lambda folder: models[folder.name], **more,
    )  # fmt: skip


def test_every_score_is_what_the_rules_make_it(exam, tmp_path):
    facts = run(exam, tmp_path / "out", normalise=lambda text: text.split("です")[0].split("だよ")[0])
    scores = read_json(tmp_path / "out" / "scores.json")
    models = scores["models"]
    assert [models[name]["facts"]["value"] for name in MODELS] == [0.0, 0.75, 1.0, 0.75]
    assert models["dpo"]["facts_seen"] == models["dpo"]["facts_unseen"]
    assert models["dpo"]["facts_seen"]["n"] == 8
    assert models["dpo"]["facts_seen"]["clusters"] == 4
    assert models["dpo"]["tuned"]["value"] == 0.0
    assert models["dpo"]["extract_f1"]["value"] == 1.0
    assert models["base"]["extract_valid"]["value"] == 0.0
    assert [models[name]["preference"]["value"] for name in MODELS] == [0, 0, 0, 1]
    assert models["dpo"]["pairs_sum"]["value"] == 1.0
    assert models["dpo"]["pairs_token"]["value"] == 0.0
    assert [models[name]["bits_per_byte"]["value"] for name in MODELS] == [10.0, 9.0, 9.0, 9.5]
    assert facts["seen_forms"] == scores["headline"]["seen_forms"] == 0.75
    assert facts["base"] == 0.0
    assert facts["n"] == 8
    assert facts["questions"] == 33
    assert facts["subjects_in_training"] == 0
    assert facts["heldout_bytes"] >= 256


def test_baselines_are_what_guessing_is_worth(exam, tmp_path):
    run(exam, tmp_path / "out", normalise=lambda text: text.split("です")[0].split("だよ")[0])
    baselines = read_json(tmp_path / "out" / "scores.json")["baselines"]
    # Of four companies two are in Kyoto, and each year is another: (2 + 1) of 8.
    assert baselines["most_frequent"]["facts"]["value"] == pytest.approx(3 / 8)
    # The final model knows companies 0 to 2. Cities: two in Kyoto meet each other in one of three exchanges each, in
    # two wordings; years never: (1/3 + 1/3) of 8 facts.
    assert baselines["shuffled"]["dpo"]["value"] == pytest.approx((2 / 3) / 8, abs=1e-6)
    assert baselines["shuffled"]["base"]["value"] == 0.0


def test_differences_are_paired_and_count_gains_and_losses(exam, tmp_path):
    run(exam, tmp_path / "out", normalise=lambda text: text.split("です")[0].split("だよ")[0])
    rows = read_json(tmp_path / "out" / "scores.json")["differences"]
    found = {(row["before"], row["after"], row["metric"]): row for row in rows}
    lost = found["sft", "dpo", "facts"]
    assert (lost["value"], lost["gained"], lost["lost"]) == (-0.25, 0, 4)
    assert lost["low"] <= -0.25 <= lost["high"]
    assert found["sft", "dpo", "preference"]["gained"] == 4
    assert found["anneal", "dpo", "facts"]["value"] == 0
    bits = found["sft", "dpo", "bits_per_byte"]
    assert bits["value"] == pytest.approx(0.5)
    assert bits["gained"] is None


def test_by_field_says_which_facts_are_known(exam, tmp_path):
    run(exam, tmp_path / "out", normalise=lambda text: text.split("です")[0].split("だよ")[0])
    cell = read_json(tmp_path / "out" / "scores.json")["by_field"]["head_office"]["dpo"]
    assert cell["seen"]["value"] == 0.75
    assert cell["unseen"]["n"] == 4


def test_three_answers_and_chats_are_drawn_before_they_are_known(exam, tmp_path):
    run(exam, tmp_path / "out")
    scores = read_json(tmp_path / "out" / "scores.json")
    answers = scores["answers"]
    assert [row["seen_form"] for row in answers] == [True, True, False]
    assert len({row["subject"] for row in answers}) == 3
    assert all({"question", "answer", "gold", "right"} <= row.keys() for row in answers)
    other = {**MODELS, "dpo": RuleExaminee(lambda question: "しらない")}
    run(exam, tmp_path / "other", other)
    again = read_json(tmp_path / "other" / "scores.json")["answers"]
    assert [row["question"] for row in again] == [row["question"] for row in answers]
    chats = scores["chats"]
    assert [chat["kind"] for chat in chats] == ["question", "extract", "multi_turn"]
    turns = chats[2]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
    assert "会社4番" not in json.dumps(chats, ensure_ascii=False)
    assert chats[2]["right"] is None


def test_every_question_is_in_the_answers_file(exam, tmp_path):
    run(exam, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 33
    assert list(rows[0]["answers"]) == list(MODELS)
    assert rows[-1]["answers"] == {}
    assert rows[-1]["grades"]["dpo"]["sum"] > 0 > rows[-1]["grades"]["dpo"]["token"]


def test_a_base_that_never_ends_is_cut(exam, tmp_path):
    run(exam, tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    lengths = {row["task"]: len(row["answers"]["base"]) for row in rows if row["answers"]}
    assert lengths["fact"] == 2 * len("1950年") + 16
    assert max(lengths.values()) <= PAGE.max_answer_tokens


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("kill_at", [1, 3, 4, 7])
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(exam, tmp_path, kill_at):
    run(exam, tmp_path / "whole")
    calls = 0

    class Fragile(RuleExaminee):
        def reply(self, prompts, max_tokens):
            nonlocal calls
            calls += 1
            if calls == kill_at:
                raise Killed
            return super().reply(prompts, max_tokens)

    fragile = {name: Fragile(one.answer, one.bits_per_id) for name, one in MODELS.items()}
    out = tmp_path / "cut"
    with pytest.raises(Killed):
        run(exam, out, fragile)
    assert not (out / "scores.json").exists()
    for memory in (out / "scratch").iterdir():
        memory.write_bytes(memory.read_bytes() + b'{"key": "torn')
    run(exam, out, fragile)
    for name in ("scores.json", "answers.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    asked = [question for one in fragile.values() for question in one.asked]
    told = [question for one in fragile.values() for question in set(one.asked)]
    # Only chats repeat a question that was asked before.
    assert len(asked) - len(told) <= 2


def test_progress_reaches_its_total(exam, tmp_path):
    told = []
    run(exam, tmp_path / "out", progress=lambda done, total, unit, note="": told.append((done, total, unit, note)))
    assert told[-1][0] == told[-1][1]
    assert [row[0] for row in told] == sorted(row[0] for row in told)
    assert {row[3] for row in told} == set(MODELS)


def test_outside_questions_are_scored_without_companies(exam, tmp_path):
    rows = [
        Question(f"q{n}", f"会社{n}番は…。設立年は。", f"{1950 + n}年", subject=f"記事{n}", form="squad")
        for n in range(4)
    ]
    write_rows(exam / "dialogues" / "questions.jsonl", rows)
    (exam / "dialogues" / "dialogues.jsonl").unlink()
    talk = [("user", "やあ"), ("assistant", "はい"), ("user", "会社1番の設立年は"), ("assistant", "1951年")]
    turns = tuple(Message(*turn) for turn in talk)
    write_rows(exam / "dialogues" / "heldout.jsonl", [Dialogue("h0", turns), Dialogue("h1", turns[:2])])
    facts = run(exam, tmp_path / "out")
    scores = read_json(tmp_path / "out" / "scores.json")
    assert scores["models"]["dpo"]["reading"]["value"] == 0.75
    assert facts["seen_forms"] == 0.75
    assert facts["unseen_forms"] is None
    assert facts["most_frequent"] is None
    assert len(scores["answers"]) == 3
    assert [chat["kind"] for chat in scores["chats"]] == ["question", "multi_turn", "chat"]


def test_prompts_that_do_not_fit_are_counted(exam, tmp_path):
    tight = {"dpo": RuleExaminee(knows(4), max_tokens=20)}
    facts = run(exam, tmp_path / "out", tight)
    scores = read_json(tmp_path / "out" / "scores.json")
    # Half the context is left to the question: 10 of the 12 to 16 characters of most.
    assert facts["prompts_cut"] == scores["prompts_cut"] > 20
    assert run(exam, tmp_path / "wide", {"dpo": RuleExaminee(knows(4))})["prompts_cut"] == 0


def test_a_model_of_another_vocabulary_is_refused(exam, tmp_path):
    small = RuleExaminee(knows(4))
    small.vocab_size = 320
    with pytest.raises(DataError, match="the model one of 320"):
        run(exam, tmp_path / "out", {"dpo": small})
