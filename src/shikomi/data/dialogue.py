"""Dialogues, preferences and questions: the currencies of tuning and evaluation, one JSON object a line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.io import read_jsonl, write_jsonl

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn: ``role`` is one of ``ROLES``, ``content`` is plain text."""

    role: str
    content: str


@dataclass(frozen=True)
class Dialogue:
    """A dialogue to learn from: ends with an assistant turn; every assistant turn is trained on.

    Attributes:
        id: unique in its file.
        messages: the turns, in order.
        task: what kind it is (``qa``, ``extract``, ``summarise``, ``translate``, ``multi_turn``, ``chat``).
        source: where it comes from (a file or generator).
        licence: SPDX-like name of its licence.
        subject: the company it is about; empty where there is none.
    """

    id: str
    messages: tuple[Message, ...]
    task: str = "chat"
    source: str = ""
    licence: str = ""
    subject: str = ""


@dataclass(frozen=True)
class Preference:
    """Two answers to one prompt, the first preferred; ``prompt`` ends with a user turn."""

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    source: str = ""
    licence: str = ""
    subject: str = ""


@dataclass(frozen=True)
class Question:
    """A question with a known answer, never trained on.

    Attributes:
        id: unique in its file.
        question: the user's words.
        answer: the gold answer (for ``extract``: a JSON object as text).
        task: ``fact`` (exact match), ``extract`` (field F1) or ``style`` (gold rule of preference).
        subject: the company asked about; intervals are resampled by it.
        field: which fact is asked.
        form: the wording's id.
        seen_form: whether tuning dialogues use this wording.
        split: ``eval`` (subject in no dialogue) or ``tune`` (subject in dialogues).
    """

    id: str
    question: str
    answer: str
    task: str = "fact"
    subject: str = ""
    field: str = ""
    form: str = ""
    seen_form: bool = True
    split: str = "eval"
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


def write_rows(path: Path, rows: Iterable[Dialogue | Preference | Question]) -> int:
    """Write rows as JSON lines, whole or not at all; returns how many."""
    return write_jsonl(path, (asdict(row) for row in rows))


def read_dialogues(path: Path) -> Iterator[Dialogue]:
    """Read dialogues.

    Raises:
        DataError: a line that is not a dialogue; the file and line are named.
    """
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        fields = _object(row, where, "a dialogue", ("id", "messages"))
        messages = _messages(fields["messages"], where)
        if not messages or messages[-1].role != "assistant":
            raise DataError("line is not a dialogue: the last turn is not the assistant's", where=where)
        yield Dialogue(messages=messages, **_texts(fields, ("id", "task", "source", "licence", "subject"), where))


def read_preferences(path: Path) -> Iterator[Preference]:
    """Read preferences.

    Raises:
        DataError: a line that is not a preference; the file and line are named.
    """
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        fields = _object(row, where, "a preference", ("id", "prompt", "chosen", "rejected"))
        prompt = _messages(fields["prompt"], where)
        if not prompt or prompt[-1].role != "user":
            raise DataError("line is not a preference: the prompt does not end with a user turn", where=where)
        names = ("id", "chosen", "rejected", "source", "licence", "subject")
        yield Preference(prompt=prompt, **_texts(fields, names, where))


def read_questions(path: Path) -> Iterator[Question]:
    """Read questions.

    Raises:
        DataError: a line that is not a question; the file and line are named.
    """
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        fields = _object(row, where, "a question", ("id", "question", "answer"))
        names = ("id", "question", "answer", "task", "subject", "field", "form", "split")
        yield Question(
            seen_form=bool(fields.get("seen_form", True)),
            extra=fields.get("extra") or {},
            **_texts(fields, names, where),
        )


def _object(row: object, where: str, what: str, required: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"line is not {what}: expected an object, found {type(row).__name__}", where=where)
    missing = [name for name in required if name not in row]
    if missing:
        raise DataError(
            f"line is not {what}: no {', '.join(missing)} (found {', '.join(row) or 'nothing'})", where=where
        )
    return row


def _messages(value: object, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise DataError("line is not a dialogue: the turns are not a list", where=where)
    messages = []
    for index, turn in enumerate(value):
        role = turn.get("role") if isinstance(turn, dict) else None
        content = turn.get("content") if isinstance(turn, dict) else None
        if role not in ROLES or not isinstance(content, str) or not content.strip():
            raise DataError(
                f"line is not a dialogue: turn {index + 1} has no usable role and content",
                where=where,
                hint=f"a turn is {{role: one of {', '.join(ROLES)}, content: text}}",
            )
        messages.append(Message(role, content))
    return tuple(messages)


def _texts(fields: dict[str, Any], names: tuple[str, ...], where: str) -> dict[str, str]:
    found = {name: fields[name] for name in names if name in fields}
    for name, value in found.items():
        if not isinstance(value, str):
            raise DataError(f'"{name}" is not text', where=where)
    return found
