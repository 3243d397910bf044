"""Answers to show: three questions drawn by the seed before anything is known of their answers, and example chats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shikomi.data.dialogue import Dialogue, Message, read_dialogues
from shikomi.evaluate.answers import Memory, Result
from shikomi.evaluate.examinee import Examinee
from shikomi.evaluate.task import Item, draw_key

SHOWN_CHATS = 3


@dataclass(frozen=True)
class Plan:
    """A chat to be held: the user's turns, said one after another, the model answering each.

    Attributes:
        kind: ``question``, ``extract``, ``multi_turn`` or ``chat``.
        item: the question it is, for one whose answer is known.
    """

    kind: str
    user_turns: tuple[str, ...]
    subject: str = ""
    item: Item | None = None


def three_answers(items: Sequence[Item], result: Result, seed: int) -> list[dict[str, Any]]:
    """Three questions about evaluation companies with the final model's answers, right or wrong as they are.

    Two in wordings used in tuning and one in a wording never used, of different companies and fields where there are
    such; without facts, three questions about passages.
    """
    chosen: list[Item] = []
    for seen in (True, True, False):
        pool = [item for item in _drawn(items, ("fact",), seed) if item.row.seen_form is seen]
        chosen += _unlike(pool, chosen)[:1]
    rest = [item for item in _drawn(items, ("fact", "reading"), seed) if item not in chosen]
    while rest and len(chosen) < 3:
        chosen += _unlike(rest, chosen)[:1]
        rest = [item for item in rest if item not in chosen]
    return [_shown(item, result) for item in chosen]


def _shown(item: Item, result: Result) -> dict[str, Any]:
    return {
        "question": item.row.question,
        "answer": result.answers[item.row.id],
        "gold": item.gold[0],
        "right": bool(result.grades[item.row.id]["right"]),
        "seen_form": item.row.seen_form,
        "subject": item.row.subject,
    }


def _drawn(items: Sequence[Item], tasks: tuple[str, ...], seed: int) -> list[Item]:
    """Evaluation items of some tasks in an order drawn by the seed."""
    found = [item for item in items if item.task in tasks and item.row.split == "eval"]
    return sorted(found, key=lambda item: draw_key(item.row.id, seed))


def _unlike(pool: list[Item], chosen: list[Item]) -> list[Item]:
    """The pool, those first that share neither subject nor field with what is chosen."""
    subjects, fields = {item.cluster for item in chosen}, {item.row.field for item in chosen}
    return sorted(pool, key=lambda item: (item.cluster in subjects) + (item.row.field in fields))


def plan_chats(items: Sequence[Item], dialogues: Path, seed: int) -> list[Plan]:
    """Three chats: a question, an extraction and one of several turns, as far as there is material for them.

    The turns of the last one come from a tuning dialogue, its company exchanged for an evaluation company; or from a
    dialogue that was held out.
    """
    plans = []
    for tasks, kind in ((("fact", "reading"), "question"), (("extract",), "extract")):
        found = _drawn(items, tasks, seed + 1)
        if found:
            plans.append(Plan(kind, (found[0].row.question,), found[0].row.subject, found[0]))
    plans += list(_turns_of_tuning(items, dialogues, seed))[:1] or list(_held_out(dialogues, seed, "multi_turn"))[:1]
    plans += list(_held_out(dialogues, seed, "chat"))[: SHOWN_CHATS - len(plans)]
    return plans


def _turns_of_tuning(items: Sequence[Item], dialogues: Path, seed: int) -> Iterator[Plan]:
    companies = _drawn(items, ("fact",), seed + 2)
    path = dialogues / "dialogues.jsonl"
    if not companies or not path.is_file():
        return
    rows = [row for row in read_dialogues(path) if row.task == "multi_turn" and row.subject]
    for row in sorted(rows, key=lambda row: draw_key(row.id, seed)):
        turns = _user_turns(row)
        if len(turns) > 1 and row.subject in turns[0] and row.subject not in turns[-1]:
            subject = companies[0].row.subject
            yield Plan("multi_turn", tuple(turn.replace(row.subject, subject) for turn in turns), subject)
            return


def _held_out(dialogues: Path, seed: int, kind: str) -> Iterator[Plan]:
    path = dialogues / "heldout.jsonl"
    rows = list(read_dialogues(path)) if path.is_file() else []
    for row in sorted(rows, key=lambda row: draw_key(row.id, seed)):
        turns = _user_turns(row)
        if (len(turns) > 1) == (kind == "multi_turn") and turns:
            yield Plan(kind, turns, row.subject)


def _user_turns(row: Dialogue) -> tuple[str, ...]:
    return tuple(message.content for message in row.messages if message.role == "user")


def hold_chats(plans: Sequence[Plan], model: Examinee, max_tokens: int, memory: Memory) -> list[dict[str, Any]]:
    """Hold the chats with one model; every later turn sees the model's own earlier answers."""
    rows = []
    for number, plan in enumerate(plans):
        messages = memory.once(f"chat {number}", lambda plan=plan: _hold(plan, model, max_tokens))
        gold = plan.item.gold[0] if plan.item else ""
        rows.append({"kind": plan.kind, "subject": plan.subject, "messages": messages, "gold": gold})
    return rows


def _hold(plan: Plan, model: Examinee, max_tokens: int) -> list[dict[str, str]]:
    messages: list[Message] = []
    for turn in plan.user_turns:
        messages.append(Message("user", turn))
        reply = model.reply([model.prompt(messages)], min(max_tokens, model.max_tokens - 1))[0]
        messages.append(Message("assistant", reply.text))
    return [{"role": message.role, "content": message.content} for message in messages]
