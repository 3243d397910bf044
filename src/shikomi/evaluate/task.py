"""What is asked: questions with known answers, grouped into the tasks that are scored alike."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shikomi.data.dialogue import Message, Question, read_dialogues, read_preferences, read_questions
from shikomi.errors import DataError
from shikomi.evaluate import score

TASKS = ("fact", "reading", "extract", "style", "preference")
"""``fact``: a value known from training; ``reading``: a value in the passage that the question brings along;
``extract``: fields as JSON; ``style``: does the answer follow the preferred style; ``preference``: a held-out pair."""

GENERATED = ("fact", "reading", "extract", "style")
"""Tasks that the model answers in words; a pair is only compared by likelihood."""


@dataclass(frozen=True)
class Item:
    """One question as it is put to every model.

    Attributes:
        row: the question with its gold answer.
        task: one of ``TASKS``.
        prompt: the turns before the answer, the last of them the user's.
        gold: every answer that counts as right.
        cluster: what its interval is resampled by: the subject, or the item itself where it has none.
    """

    row: Question
    task: str
    prompt: tuple[Message, ...]
    gold: tuple[str, ...]
    cluster: str

    @property
    def pair(self) -> tuple[str, str]:
        """The chosen and the rejected answer of a ``preference`` item."""
        return self.row.extra["chosen"], self.row.extra["rejected"]


@dataclass(frozen=True)
class Rules:
    """How answers are read: ``normalise`` gives an answer's value, ``follows`` tells whether its style is preferred."""

    normalise: Callable[[str], str] = score.plain_value
    follows: Callable[[str], bool] = score.polite_sentence


def load_items(path: Path, limit: int, seed: int) -> list[Item]:
    """Read questions, in file order.

    Args:
        path: ``questions.jsonl``.
        limit: at most so many of each task, split and kind of wording, drawn by ``seed``; 0: all.

    Raises:
        DataError: a line that is no question, a task of no known name, a pair without its two answers, no question,
            or two of the same id.
    """
    items: list[Item] = []
    seen: set[str] = set()
    for row in read_questions(path):
        if row.id in seen:
            raise DataError(f'two questions have the id "{row.id}"', where=str(path))
        seen.add(row.id)
        items.append(_item(row, path))
    if not items:
        raise DataError("there is no question to ask", where=str(path), hint="hold some out: dialogues.test_share")
    return _limited(items, limit, seed) if limit else items


def _item(row: Question, path: Path) -> Item:
    task = "reading" if row.task == "fact" and not row.field else row.task
    if task not in TASKS:
        raise DataError(
            f'question "{row.id}" has the task "{row.task}"',
            where=str(path),
            hint="one of fact, extract, style, preference",
        )
    prompt = (Message("user", row.question),)
    if task == "preference":
        if not all(isinstance(row.extra.get(name), str) for name in ("chosen", "rejected")):
            raise DataError(f'pair "{row.id}" lacks its chosen or rejected answer', where=str(path))
        turns = row.extra.get("prompt") or []
        prompt = tuple(Message(turn["role"], turn["content"]) for turn in turns) or prompt
    gold = tuple(row.extra.get("answers") or (row.answer,))
    return Item(row, task, prompt, gold, row.subject or row.id)


def _limited(items: list[Item], limit: int, seed: int) -> list[Item]:
    """A draw that depends on ids and seed alone, and grows with the limit without losing a member."""
    groups: dict[tuple[Any, ...], list[Item]] = defaultdict(list)
    for item in items:
        groups[(item.task, item.row.split, item.row.seen_form)].append(item)
    chosen = set()
    for members in groups.values():
        members.sort(key=lambda item: draw_key(item.row.id, seed))
        chosen.update(item.row.id for item in members[:limit])
    return [item for item in items if item.row.id in chosen]


def draw_key(name: str, seed: int) -> bytes:
    """A key that orders names at random, the same way on every machine."""
    return hashlib.blake2b(name.encode(), digest_size=8, key=f"draw {seed}".encode()).digest()


def grade(item: Item, answer: str, cut: bool, rules: Rules) -> dict[str, float]:
    """Marks of one answer.

    Args:
        cut: the answer was still going on when its room was used up: then its style cannot be the preferred one.

    Returns:
        By task: fact ``right``; reading ``right f1``; extract ``found given wanted valid``; style ``follows right``.
    """
    if item.task == "extract":
        return dict(score.extracted_fields(answer, item.gold[0], rules.normalise))
    right = {"right": float(score.exact_match(answer, item.gold, rules.normalise))}
    if item.task == "reading":
        return right | {"f1": round(score.character_f1(answer, item.gold, rules.normalise), 6)}
    if item.task == "style":
        return {"follows": float(not cut and rules.follows(answer))} | right
    return right


def subjects_in_training(items: Iterable[Item], dialogues: Path) -> int:
    """How many evaluation subjects some training dialogue or preference pair is about."""
    asked = {item.row.subject for item in items if item.row.split == "eval" and item.row.subject}
    trained: set[str] = set()
    for name, read in (("dialogues.jsonl", read_dialogues), ("preferences.jsonl", read_preferences)):
        if (dialogues / name).is_file():
            trained.update(row.subject for row in read(dialogues / name))
    return len(asked & trained)
