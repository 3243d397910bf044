"""Rows of tuning and evaluation go out and come back the same; a wrong line is named with its file and number."""

from __future__ import annotations

import json

import pytest

from shikomi.data.dialogue import (
    Dialogue,
    Message,
    Preference,
    Question,
    read_dialogues,
    read_preferences,
    read_questions,
    write_rows,
)
from shikomi.errors import DataError

TURNS = (Message("system", "簡潔に。"), Message("user", "設立は？"), Message("assistant", "1998年です。"))

DIALOGUE = {"id": "d1", "messages": [{"role": "user", "content": "問"}, {"role": "assistant", "content": "答"}]}
PREFERENCE = {"id": "p1", "prompt": [{"role": "user", "content": "問"}], "chosen": "良", "rejected": "悪"}
QUESTION = {"id": "q1", "question": "問", "answer": "答"}

READERS = {
    "dialogue": (read_dialogues, DIALOGUE),
    "preference": (read_preferences, PREFERENCE),
    "question": (read_questions, QUESTION),
}


def test_dialogues_round_trip(tmp_path):
    rows = [
        Dialogue("d1", TURNS, task="qa", source="sample", licence="synthetic", subject="架空商事"),
        Dialogue("d2", (Message("user", "a\nb"), Message("assistant", "c"), *TURNS[1:])),
    ]
    assert write_rows(tmp_path / "dialogues.jsonl", rows) == 2
    assert list(read_dialogues(tmp_path / "dialogues.jsonl")) == rows


def test_preferences_round_trip(tmp_path):
    rows = [Preference("p1", TURNS[:2], "1998年です。", "わかりません。", subject="架空商事")]
    write_rows(tmp_path / "preferences.jsonl", rows)
    assert list(read_preferences(tmp_path / "preferences.jsonl")) == rows


def test_questions_round_trip_and_keep_their_defaults(tmp_path):
    rows = [
        Question("q1", "設立は？", "1998年", subject="架空商事", field="founded", form="f7", seen_form=False),
        Question("q2", "抜き出せ", '{"設立": "1998年"}', task="extract", split="tune", extra={"fields": ["設立"]}),
    ]
    write_rows(tmp_path / "questions.jsonl", rows)
    assert list(read_questions(tmp_path / "questions.jsonl")) == rows
    (tmp_path / "short.jsonl").write_text(json.dumps(QUESTION), encoding="utf-8")
    (bare,) = read_questions(tmp_path / "short.jsonl")
    assert (bare.task, bare.seen_form, bare.split, bare.extra) == ("fact", True, "eval", {})


def test_fields_of_other_programs_are_passed_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**DIALOGUE, "upstream": {"score": 3}}), encoding="utf-8")
    (dialogue,) = read_dialogues(path)
    assert dialogue.messages[-1].content == "答"


WRONG = [
    ("dialogue", ["not", "an", "object"], "expected an object, found list"),
    ("dialogue", {"id": "x"}, "no messages"),
    ("dialogue", {"messages": []}, "no id"),
    ("dialogue", {**DIALOGUE, "messages": []}, "last turn is not the assistant's"),
    ("dialogue", {**DIALOGUE, "messages": DIALOGUE["messages"][:1]}, "last turn is not the assistant's"),
    ("dialogue", {**DIALOGUE, "messages": "問答"}, "not a list"),
    ("dialogue", {**DIALOGUE, "messages": [{"role": "human", "content": "問"}]}, "turn 1 has no usable role"),
    ("dialogue", {**DIALOGUE, "messages": [*DIALOGUE["messages"], {"role": "user"}]}, "turn 3 has no usable role"),
    ("dialogue", {**DIALOGUE, "messages": [{"role": "assistant", "content": "  "}]}, "turn 1 has no usable role"),
    ("dialogue", {**DIALOGUE, "messages": ["問"]}, "turn 1 has no usable role"),
    ("dialogue", {**DIALOGUE, "id": 7}, '"id" is not text'),
    ("preference", {**PREFERENCE, "prompt": DIALOGUE["messages"]}, "does not end with a user turn"),
    ("preference", {"id": "p", "prompt": [], "chosen": "良"}, "no rejected"),
    ("preference", {**PREFERENCE, "prompt": []}, "does not end with a user turn"),
    ("preference", {**PREFERENCE, "chosen": None}, '"chosen" is not text'),
    ("question", "問", "expected an object, found str"),
    ("question", {"id": "q", "question": "問"}, "no answer"),
    ("question", {**QUESTION, "answer": 1998}, '"answer" is not text'),
]


@pytest.mark.parametrize(("kind", "row", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_a_wrong_row_is_named_with_file_and_line(tmp_path, kind, row, said):
    read, right = READERS[kind]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(value, ensure_ascii=False) for value in (right, row)) + "\n", encoding="utf-8")
    rows = read(path)
    assert next(rows).id == right["id"]
    with pytest.raises(DataError) as caught:
        next(rows)
    assert said in str(caught.value)
    assert caught.value.where == f"{path}:2"


def test_a_line_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(DIALOGUE) + "\n問：設立は？\n", encoding="utf-8")
    with pytest.raises(DataError, match="not JSON") as caught:
        list(read_dialogues(path))
    assert caught.value.where == f"{path}:2"
