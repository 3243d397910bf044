"""Outside dialogue forms: each line told apart by its keys, oddities counted, non-dialogues named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shikomi.data.forms import Row, read_rows
from shikomi.errors import DataError


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_one(tmp_path: Path, row: object) -> Row:
    [found] = read_rows(write(tmp_path / "a.jsonl", row))
    return found


def turns(row: Row) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in row.messages]


TALK = [("user", "本社は？"), ("assistant", "みなと市です。")]


@pytest.mark.parametrize(
    ("form", "row"),
    [
        (
            "messages",
            {"messages": [{"role": "user", "content": "本社は？"}, {"role": "assistant", "content": "みなと市です。"}]},
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "本社は？"}, {"from": "gpt", "value": "みなと市です。"}]},
        ),
        (
            "utterances",
            {"utterances": [{"name": "user", "text": "本社は？"}, {"name": "agent", "text": "みなと市です。"}]},
        ),
        ("alpaca", {"instruction": "本社は？", "input": "", "output": "みなと市です。"}),
        ("prompt-completion", {"prompt": "本社は？", "completion": "みなと市です。"}),
        (
            "prompt-completion",
            {
                "prompt": [{"role": "user", "content": "本社は？"}],
                "completion": {"role": "assistant", "content": "みなと市です。"},
            },
        ),
    ],
)
def test_every_form_gives_the_same_dialogue(tmp_path: Path, form: str, row: dict) -> None:
    found = read_one(tmp_path, row)
    assert (found.form, turns(found), found.verdict, found.repairs) == (form, TALK, "", [])
    assert found.first_user_turn == "本社は？"


def test_alpaca_joins_input_history_and_system(tmp_path: Path) -> None:
    row = {"system": "案内係", "history": [["a", "b"]], "instruction": "要約して", "input": "本文", "output": "はい"}
    assert turns(read_one(tmp_path, row)) == [
        ("system", "案内係"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "要約して\n本文"),
        ("assistant", "はい"),
    ]


@pytest.mark.parametrize("placeholder", ["nan", "None", "なし"])
def test_a_placeholder_is_no_input(tmp_path: Path, placeholder: str) -> None:
    found = read_one(tmp_path, {"instruction": "本社は？", "input": placeholder, "output": "みなと市です。"})
    assert turns(found) == TALK
    assert found.repairs == ["placeholder_input"]


def _messages(*pairs: tuple[str, object]) -> dict:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


@pytest.mark.parametrize(
    ("row", "repair", "expected"),
    [
        (_messages(("prompter", "本社は？"), ("Bot", "みなと市です。")), ["role_alias", "role_alias"], TALK),
        (_messages(("system", " "), *TALK), ["blank_system"], TALK),
        (
            _messages(("user", "本社は？"), ("assistant", [{"type": "text", "text": "みなと"}, "市です。"])),
            ["content_parts"],
            TALK,
        ),
        (_messages(*TALK, ("user", "ありがとう")), ["ends_with_user"], TALK),
        (
            _messages(("user", "本社は？"), ("assistant", "<|im_end|>")),
            ["template_token"],
            [TALK[0], ("assistant", "<|im_end|>")],
        ),
        (
            _messages(("user", "a\ud800"), ("assistant", "b")),
            ["half_surrogate"],
            [("user", "a\ufffd"), ("assistant", "b")],
        ),
    ],
)
def test_what_can_be_mended_is_mended_and_named(tmp_path: Path, row: dict, repair: list[str], expected: list) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    [found] = read_rows(path)
    assert found.verdict == ""
    assert found.repairs == repair
    assert turns(found) == expected


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (_messages(("user", "本社は？"), ("assistant", "  ")), "blank_turn"),
        (_messages(("user", None), ("assistant", "はい")), "blank_turn"),
        (_messages(("assistant", "ようこそ"), ("user", "a"), ("assistant", "b")), "starts_with_assistant"),
        (_messages(("user", "本社は？")), "no_answer"),
        (_messages(("user", "a"), ("user", "b"), ("assistant", "c")), "role_twice"),
        (_messages(("user", "a"), ("system", "b"), ("assistant", "c")), "late_system"),
        (_messages(("user", "a"), ("function_call", "{}"), ("assistant", "c")), "tool_turn"),
        (_messages(("user", [{"type": "image", "url": "x"}]), ("assistant", "c")), "not_text"),
        (_messages(("user", "a"), ("assistant", "私はOpenAIが開発したモデルです。")), "names_itself"),
        (_messages(), "no_answer"),
        ({**_messages(*TALK), "ng_translation": 1}, "failed_translation"),
        ({"prompt": "a", "chosen": "ｶﾅ ", "rejected": "カナ"}, "no_difference"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "blank_turn"),
        ({"prompt": " ", "chosen": "b", "rejected": "c"}, "blank_turn"),
        ({"chosen": [{"role": "user", "content": "a"}], "rejected": [{"role": "user", "content": "b"}]}, "no_prompt"),
        ({"context": "青葉精機は1921年創業。", "question": "いつ？", "answers": []}, "no_answer"),
        (
            {"context": "青葉精機は1921年創業。", "question": "いつ？", "answers": [{"text": "1999年"}]},
            "answer_not_in_passage",
        ),
        ({"context": "青葉精機", "question": "", "answers": [{"text": "青葉"}]}, "blank_turn"),
    ],
)
def test_what_cannot_be_mended_is_a_verdict(tmp_path: Path, row: dict, verdict: str) -> None:
    assert read_one(tmp_path, row).verdict == verdict


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (["a"], "expected an object, found list"),
        ("text", "expected an object, found str"),
        ({"title": "x", "body": "y"}, "its keys are title, body"),
        ({}, "its keys are none"),
        ({"messages": [], "instruction": "a", "output": "b"}, "two forms at once: messages and alpaca"),
        ({"messages": "a"}, "turns are not a list"),
        ({"messages": [{"role": "user"}]}, 'turn 1 has no "role" and "content"'),
        ({"conversations": [{"role": "user", "content": "a"}]}, 'turn 1 has no "from" and "value"'),
        (_messages(("narrator", "昔々")), 'spoken by "narrator"'),
        (_messages(("user", 3)), "content is int, not text"),
        ({"instruction": "a", "output": "b", "history": ["c"]}, "history is not a list"),
    ],
)
def test_a_line_that_is_no_dialogue_is_named_with_file_and_line(tmp_path: Path, row: object, words: str) -> None:
    path = write(tmp_path / "対話 1.jsonl", {"prompt": "a", "completion": "b"}, row)
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert words in caught.value.what
    assert caught.value.where == f"{path}:2"


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"prompt": "a", "completion": "b"})
    path.write_text(path.read_text() + '{"prompt": "a", "comp\n')
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert caught.value.where == f"{path}:2"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read file"):
        list(read_rows(tmp_path / "none.jsonl"))


def test_mixed_forms_in_one_file_are_each_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", {"prompt": "a", "completion": "b"}, _messages(*TALK), {"instruction": "x", "output": "y"}
    )
    assert [row.form for row in read_rows(path)] == ["prompt-completion", "messages", "alpaca"]


def test_a_json_array_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = json.dumps([_messages(*TALK), {"messages": 1}])
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    rows = read_rows(tmp_path / "a.jsonl")
    first = next(rows)
    assert (turns(first), first.repairs) == (TALK, ["byte_order_mark", "json_array"])
    with pytest.raises(DataError) as caught:
        next(rows)
    assert caught.value.where.endswith("a.jsonl: item 2")


def test_lines_in_a_json_file_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", _messages(*TALK), _messages(*TALK))
    assert [turns(row) for row in read_rows(path)] == [TALK, TALK]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "本社は？", "chosen": "はい。", "rejected": "いや。"},
        {
            "prompt": {"role": "user", "content": "本社は？"},
            "chosen": {"role": "assistant", "content": "はい。"},
            "rejected": "いや。",
        },
        {"conversations": [{"from": "human", "value": "本社は？"}], "chosen": "はい。", "rejected": "いや。"},
        {"instruction": "本社は？", "chosen": "はい。", "rejected": "いや。"},
        {
            "chosen": [{"role": "user", "content": "本社は？"}, {"role": "assistant", "content": "はい。"}],
            "rejected": [{"role": "user", "content": "本社は？"}, {"role": "assistant", "content": "いや。"}],
        },
        {
            "prompt": "本社は？",
            "chosen": [{"role": "user", "content": "本社は？"}, {"role": "assistant", "content": "はい。"}],
            "rejected": [{"role": "user", "content": "本社は？"}, {"role": "assistant", "content": "いや。"}],
        },
    ],
)
def test_every_form_of_preference_gives_the_same_pair(tmp_path: Path, row: dict) -> None:
    found = read_one(tmp_path, row)
    assert (found.form, found.verdict) == ("preference", "")
    assert (turns(found), found.chosen, found.rejected) == ([TALK[0]], "はい。", "いや。")


def test_squad_articles_become_questions_about_passages(tmp_path: Path) -> None:
    item = {"question": "創業は？", "id": "q1", "answers": [{"text": "1921年"}, {"text": "1921"}, {"text": "1921年"}]}
    article = {"title": "青葉精機", "paragraphs": [{"context": "青葉精機 [SEP] 1921年創業。", "qas": [item]}]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"version": "1", "data": [article]}, indent=1), encoding="utf-8")
    [row] = read_rows(path)
    assert turns(row) == [("user", "文章：1921年創業。\n質問：創業は？"), ("assistant", "1921年")]
    assert (row.title, row.answers) == ("青葉精機", ("1921年", "1921"))


def test_flat_squad_lines_are_read(tmp_path: Path) -> None:
    row = read_one(
        tmp_path,
        {"context": "1921年創業。", "question": "創業は？", "answers": {"text": ["1921年"], "answer_start": [0]}},
    )
    assert (row.form, row.answers, row.title) == ("squad", ("1921年",), "1921年創業。")


@pytest.mark.parametrize(
    "article",
    [
        "text",
        {"title": "a"},
        {"paragraphs": [{"qas": [{"question": "a"}]}]},
        {"paragraphs": [{"context": "a", "qas": ["b"]}]},
    ],
)
def test_a_damaged_squad_article_is_named(tmp_path: Path, article: object) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": [article]}), encoding="utf-8")
    with pytest.raises(DataError, match="not SQuAD's form") as caught:
        list(read_rows(path))
    assert caught.value.where == f"{path}: article 1"
