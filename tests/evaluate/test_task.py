"""Questions become items; drawing some of them is fair and repeatable."""

from __future__ import annotations

import pytest

from shikomi.data.dialogue import Question, write_rows
from shikomi.errors import DataError
from shikomi.evaluate.task import Rules, grade, load_items, subjects_in_training
from shikomi.io import write_jsonl


def test_items_keep_file_order_and_know_their_cluster(exam):
    items = load_items(exam / "dialogues" / "questions.jsonl", 0, 5)
    assert [item.row.id for item in items][:3] == ["q000", "q001", "q002"]
    assert items[0].cluster == "会社0番"
    assert items[-1].cluster == "pair"
    assert items[-1].pair == ("短い。", "とても長いのです。")


def test_a_limit_draws_the_same_items_and_a_larger_one_keeps_them(exam):
    path = exam / "dialogues" / "questions.jsonl"
    two = {item.row.id for item in load_items(path, 2, 5)}
    three = {item.row.id for item in load_items(path, 3, 5)}
    assert two == {item.row.id for item in load_items(path, 2, 5)}
    assert two < three
    # fact x (eval, tune) x (seen, unseen), extract, style: six groups of two; one pair.
    assert len(two) == 13
    assert two != {item.row.id for item in load_items(path, 2, 6)}


def test_questions_about_passages_are_a_task_of_their_own(tmp_path):
    row = Question("a", "文章…いつ？", "1987年", subject="記事", form="squad", extra={"answers": ["1987年", "87年"]})
    write_rows(tmp_path / "questions.jsonl", [row])
    (item,) = load_items(tmp_path / "questions.jsonl", 0, 5)
    assert item.task == "reading"
    assert grade(item, "87年です。", False, Rules()) == {"right": 1.0, "f1": 1.0}


def test_a_pair_is_asked_with_all_its_turns(tmp_path):
    turns = [
        {"role": "user", "content": "一"},
        {"role": "assistant", "content": "二"},
        {"role": "user", "content": "三"},
    ]
    extra = {"chosen": "a", "rejected": "b", "prompt": turns}
    write_rows(tmp_path / "questions.jsonl", [Question("a", "三", "a", "preference", extra=extra)])
    (item,) = load_items(tmp_path / "questions.jsonl", 0, 5)
    assert [turn.content for turn in item.prompt] == ["一", "二", "三"]


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([], "no question to ask"),
        ([{"id": "a", "question": "?", "answer": "!", "task": "riddle"}], 'has the task "riddle"'),
        ([{"id": "a", "question": "?", "answer": "!", "task": "preference"}], "lacks its chosen"),
        ([{"id": "a", "question": "?", "answer": "!"}] * 2, 'two questions have the id "a"'),
    ],
)
def test_unusable_questions_are_refused_by_name(tmp_path, rows, what):
    write_jsonl(tmp_path / "questions.jsonl", rows)
    with pytest.raises(DataError, match=what) as caught:
        load_items(tmp_path / "questions.jsonl", 0, 5)
    assert "questions.jsonl" in caught.value.where


def test_an_answer_without_end_has_no_style(exam):
    items = load_items(exam / "dialogues" / "questions.jsonl", 0, 5)
    style = next(item for item in items if item.task == "style")
    assert grade(style, "京都市です。", False, Rules()) == {"follows": 1.0, "right": 1.0}
    assert grade(style, "京都市です。", True, Rules()) == {"follows": 0.0, "right": 1.0}


def test_subjects_that_training_saw_are_counted(exam, questions):
    items = load_items(exam / "dialogues" / "questions.jsonl", 0, 5)
    assert subjects_in_training(items, exam / "dialogues") == 0
    rows = [{"id": "x", "messages": [{"role": "assistant", "content": "やあ"}], "subject": "会社0番"}]
    write_jsonl(exam / "dialogues" / "dialogues.jsonl", rows)
    assert subjects_in_training(items, exam / "dialogues") == 1
    assert subjects_in_training(items, exam / "nowhere") == 0
