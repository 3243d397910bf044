"""Questions from a file, three questions, and a conversation; with an invented talker."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from tests.cli.shell import QUESTIONS, Made, Shell, make
from tests.report.fake_store import scores


class Echo:
    """Answers with the question and how many turns there were."""

    made: ClassVar[list[Echo]] = []

    def __init__(self, folder: Path, max_tokens: int, temperature: float = 0.0, seed: int = 0) -> None:
        self.folder, self.given = folder, (max_tokens, temperature, seed)
        self.turns: list[str] = []
        Echo.made.append(self)

    def answers(self, questions: Sequence[str], on_progress: Callable[[int, int], None] | None = None) -> list[str]:
        if on_progress:
            on_progress(len(questions), len(questions))
        return [f"「{question}」です。" for question in questions]

    def say(self, text: str) -> Iterator[str]:
        self.turns.append(text)
        yield f"{len(self.turns)}回目 "
        yield text

    def forget(self) -> None:
        self.turns = []


class Keyboard(io.StringIO):
    """What a user types on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def talkers(monkeypatch: pytest.MonkeyPatch) -> list[Echo]:
    """The talkers that are made; no model is loaded, and standard input is no terminal."""
    module: Any = ModuleType("shikomi.cli.talker")
    module.Talker = Echo
    monkeypatch.setitem(sys.modules, "shikomi.cli.talker", module)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(Echo, "made", [])
    return Echo.made


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_file_is_answered_line_by_line(shikomi: Shell, made: Made, tmp_path: Path, talkers: list[Echo]):
    rows = [{"question": "本社は？", "id": 3}, {"question": "社長は？", "more": ["深い"]}]
    path = write(tmp_path / "問い.jsonl", *(json.dumps(row, ensure_ascii=False) for row in rows))
    out = shikomi.done("chat", *made.words, "--ask", path, "--temperature", 0.5, "--seed", 9).out
    assert [json.loads(line) for line in out.splitlines()] == [
        {**row, "answer": f"「{row['question']}」です。"} for row in rows
    ]
    assert "本社" in out
    (talker,) = talkers
    assert talker.folder == made.folder("dpo")
    assert talker.given == (8, 0.5, 9)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"text": "本社は？"}', "the line is no question"),
        ('{"question": 3}', "the line is no question"),
        ('"本社は？"', "the line is no question"),
        ("{", "line is not JSON"),
    ],
)
def test_a_line_that_is_no_question_is_named(shikomi: Shell, made: Made, tmp_path: Path, line: str, what: str):
    path = write(tmp_path / "ask.jsonl", '{"question": "本社は？"}', line)
    ended = shikomi("chat", *made.words, "--ask", path)
    assert ended.code == 1
    assert ended.out == ""
    assert ended.told.where == f"{path}:2"
    assert Echo.made == []
    assert what in ended.told.what


def test_a_file_of_questions_that_is_not_there(shikomi: Shell, made: Made, tmp_path: Path):
    ended = shikomi("chat", *made.words, "--ask", tmp_path / "無い.jsonl")
    assert ended.code == 1
    assert "無い.jsonl" in ended.err


def test_without_a_terminal_the_three_questions_of_the_evaluation_are_asked(shikomi: Shell, made: Made):
    wanted = "".join(f"問: {one['question']}\n答: 「{one['question']}」です。\n\n" for one in scores()["answers"])
    assert shikomi.done("chat", *made.words).out == wanted


def test_three_on_a_terminal(shikomi: Shell, made: Made, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", Keyboard())
    assert shikomi.done("chat", *made.words, "--three").out.count("答: ") == len(scores()["answers"])


def test_before_the_evaluation_the_first_of_its_questions_are_asked(shikomi: Shell, tmp_path: Path):
    made = make(tmp_path, finished=("crawl", "dialogues", "anneal", "sft"))
    out = shikomi.done("chat", *made.words).out
    assert [line[3:] for line in out.splitlines() if line.startswith("問: ")] == [
        row["question"] for row in QUESTIONS[:3]
    ]
    assert Echo.made[0].folder == made.folder("sft")


def test_an_evaluation_without_answers_is_as_none(shikomi: Shell, tmp_path: Path):
    made = make(tmp_path, finished=("dialogues", "dpo"))
    _, build = made.open()
    from tests.cli.shell import finish

    finish(build, "evaluate", {"scores.json": scores() | {"answers": []}})
    assert "問: 問い0\n" in shikomi.done("chat", *made.words).out


@pytest.mark.parametrize("stage", ["pretrain", "anneal", "sft", "dpo"])
def test_the_model_of_any_stage(shikomi: Shell, made: Made, stage: str, talkers: list[Echo]):
    shikomi.done("chat", *made.words, "--model", stage)
    assert talkers[0].folder == made.folder(stage)


def test_a_base_alone_is_not_talked_to_unasked(shikomi: Shell, tmp_path: Path):
    made = make(tmp_path, finished=("pretrain", "dialogues"))
    ended = shikomi("chat", *made.words)
    assert ended.code == 2
    assert ended.told.what == "stage sft is not built yet"
    shikomi.done("chat", *made.words, "--model", "pretrain")


def talk(shikomi: Shell, made: Made, monkeypatch: pytest.MonkeyPatch, *lines: str) -> tuple[str, str]:
    monkeypatch.setattr(sys, "stdin", Keyboard("".join(line + "\n" for line in lines)))
    ended = shikomi.done("chat", *made.words)
    return ended.out, ended.err


def test_a_conversation_until_the_end_of_input(shikomi: Shell, made: Made, monkeypatch: pytest.MonkeyPatch):
    out, err = talk(shikomi, made, monkeypatch, "本社は？", "", "  社長は？  ", "/new", "設立は？")
    assert out == "あなた> 1回目 本社は？\nあなた> あなた> 2回目 社長は？\nあなた> あなた> 1回目 設立は？\nあなた> "
    assert str(made.folder("dpo")) in err
    assert "/quit" in err


@pytest.mark.parametrize("word", ["/quit", "/exit"])
def test_a_conversation_until_a_word(shikomi: Shell, made: Made, monkeypatch: pytest.MonkeyPatch, word: str):
    out, _ = talk(shikomi, made, monkeypatch, word, "本社は？")
    assert "1回目" not in out


def test_ctrl_c_ends_a_conversation(shikomi: Shell, made: Made, monkeypatch: pytest.MonkeyPatch):
    def interrupted(self: Echo, text: str) -> Iterator[str]:
        yield "途中"
        raise KeyboardInterrupt

    monkeypatch.setattr(Echo, "say", interrupted)
    monkeypatch.setattr(sys, "stdin", Keyboard("本社は？\n"))
    ended = shikomi("chat", *made.words)
    assert ended.code == 130
    assert "Traceback" not in ended.err
