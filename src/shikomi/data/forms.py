"""Readers of dialogue forms written elsewhere: each line is told apart by its keys and read as our own currency.

A line that is no dialogue at all ends the run with its file and line; what is merely odd, as files in the wild are,
is repaired or dropped under a counted name (``Row.repairs``, ``Row.verdict``).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shikomi.data.dialogue import Message
from shikomi.errors import DataError
from shikomi.io import read_jsonl

FORM_KEYS = {
    "preference": ("chosen", "rejected"),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "prompt-completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "utterances": ("utterances",),
    "squad": ("context", "question", "answers"),
}
"""A line has a form when it has all of the form's keys. ``preference`` may stand beside one other form, its prompt."""

ROLES = {
    "system": "system",
    **dict.fromkeys(("user", "human", "prompter", "instruction", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "agent", "model", "chatbot", "ai", "operator"), "assistant"),
}
"""Names of roles seen in the wild, lower case."""
OWN_NAMES = {"sharegpt": ("human", "gpt"), "utterances": ("user", "agent")}
"""Names that a form itself gives the speakers: no oddity there."""
TOOL_ROLES = ("tool", "function", "function_call", "observation", "ipython", "tool_call", "tool_response")
PLACEHOLDERS = ("", "nan", "none", "null", "n/a", "なし", "無し")
"""Inputs of the Alpaca form that stand for no input (lower case)."""
TEMPLATE_TOKEN = re.compile(r"<\|(?:im_start|im_end|endoftext|eot_id|start_header_id|end_header_id)\|>")
SQUAD_FORM = "an article has paragraphs, each a context and qas: a list of question and answers"
NAMES_ITSELF = re.compile(r"ChatGPT|OpenAI|AI言語モデル|大規模言語モデルである|as an AI language model", re.IGNORECASE)
"""An answer in which another generator speaks of itself."""


@dataclass
class Row:
    """One outside line as ours: a dialogue, a pair of answers, or a question about a passage.

    Attributes:
        where: file and line.
        form: the form it was written in.
        messages: the turns; for a pair the prompt; for a question the turns with the gold answer.
        chosen, rejected: the answers of a pair.
        answers: gold answers of a question, the first one the trained one.
        title: what the passage is about (its article), for splitting and resampling.
        repairs: oddities that were mended, by name.
        verdict: why the row is dropped, one word; empty if kept.
    """

    where: str
    form: str
    messages: tuple[Message, ...] = ()
    chosen: str = ""
    rejected: str = ""
    answers: tuple[str, ...] = ()
    title: str = ""
    repairs: list[str] = field(default_factory=list)
    verdict: str = ""

    @property
    def first_user_turn(self) -> str:
        """The prompt that splits are drawn by: rows with the same opening never part."""
        return next((message.content for message in self.messages if message.role == "user"), "")


class _Drop(Exception):
    """A row that is odd beyond repair; carries the verdict."""


def read_rows(path: Path) -> Iterator[Row]:
    """Read a file of dialogues: JSON lines, one JSON array, or SQuAD's nested JSON.

    Raises:
        DataError: missing, not UTF-8, not JSON, or a line that is not a dialogue (file and line named).
    """
    for where, value, repairs in _values(path):
        if isinstance(value, dict) and isinstance(value.get("data"), list):
            yield from _squad_articles(value["data"], where)
            continue
        yield _read(value, where, list(repairs))


def _values(path: Path) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """``(where, value, repairs)`` of each row; a file that is one JSON value as a whole is taken apart."""
    try:
        with open(path, "rb") as handle:
            head = handle.read(4096)
    except OSError as error:
        raise DataError(f"cannot read file: {error.strerror}", where=str(path)) from error
    repairs = ("byte_order_mark",) if head.startswith(b"\xef\xbb\xbf") else ()
    first_line = head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n")[0].strip()
    if path.suffix == ".json" or first_line in (b"[", b"{") or first_line.startswith(b"["):
        whole = _whole(path)
        if isinstance(whole, list):
            odd = () if path.suffix == ".json" else ("json_array",)
            for index, value in enumerate(whole, start=1):
                yield f"{path}: item {index}", value, (*repairs, *odd)
            return
        if isinstance(whole, dict):
            yield str(path), whole, repairs
            return
    for number, value in read_jsonl(path):
        yield f"{path}:{number}", value, repairs if number == 1 else ()


def _whole(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError:
        return None  # not one document: read as lines, whose reader names the line that is wrong


def _read(value: Any, where: str, repairs: list[str]) -> Row:
    row = Row(where, _form(value, where), repairs=repairs)
    if str(value.get("ng_translation", "0")) in ("1", "1.0", "True", "true"):
        row.verdict = "failed_translation"
        return row
    try:
        if row.form == "squad":
            _squad(row, value)
        elif row.form == "preference":
            _preference(row, value)
        else:
            row.messages = _dialogue(row, _turns(row, value), answered=True)
    except _Drop as found:
        row.verdict = str(found)
    return row


def _form(value: Any, where: str) -> str:
    """Which form a line has.

    Raises:
        DataError: none, or two at once.
    """
    if not isinstance(value, dict):
        raise DataError(
            f"line is not a dialogue: expected an object, found {type(value).__name__}",
            where=where,
            hint="one JSON object a line",
        )
    found = [form for form, keys in FORM_KEYS.items() if all(value.get(key) is not None for key in keys)]
    if "preference" in found and len(found) == 2:
        return "preference"
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"line is not a dialogue: its keys are {', '.join(map(str, value)) or 'none'}",
            where=where,
            hint="known forms: " + "; ".join(f"{form} ({', '.join(keys)})" for form, keys in FORM_KEYS.items()),
        )
    raise DataError(f"line has two forms at once: {' and '.join(found)}", where=where, hint="keep the keys of one")


def _turns(row: Row, value: dict[str, Any]) -> list[tuple[str, Any]]:
    """The turns of a line as ``(role as written, content)``, system prompt first."""
    form = row.form if row.form != "preference" else _prompt_form(value)
    turns: list[tuple[str, Any]] = []
    if isinstance(value.get("system"), str) and value["system"].strip():
        turns.append(("system", value["system"]))
    if form == "messages":
        return turns + _list(value["messages"], "role", "content", row.where)
    if form == "sharegpt":
        return turns + _list(value["conversations"], "from", "value", row.where)
    if form == "utterances":
        return turns + _list(value["utterances"], "name", "text", row.where)
    if form == "alpaca":
        return turns + _alpaca(row, value)
    return (
        turns
        + _side(value["prompt"], "user", row.where)
        + (_side(value["completion"], "assistant", row.where) if form == "prompt-completion" else [])
    )


def _prompt_form(value: dict[str, Any]) -> str:
    for form, key in (("messages", "messages"), ("sharegpt", "conversations"), ("alpaca", "instruction")):
        if value.get(key) is not None and value.get("prompt") is None:
            return form
    return "prompt"


def _alpaca(row: Row, value: dict[str, Any]) -> list[tuple[str, Any]]:
    turns: list[tuple[str, Any]] = []
    for pair in value.get("history") or []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise DataError(
                "line is not a dialogue: history is not a list of [user, answer]",
                where=row.where,
                hint="every earlier pair of turns is [user, answer], both text",
            )
        turns += [("user", pair[0]), ("assistant", pair[1])]
    question, extra = value["instruction"], value.get("input")
    if isinstance(extra, str) and extra.strip().lower() not in PLACEHOLDERS:
        question = f"{question}\n{extra}"
    elif isinstance(extra, str) and extra.strip():
        row.repairs.append("placeholder_input")
    turns.append(("user", question))
    return turns if value.get("output") is None else [*turns, ("assistant", value["output"])]


def _list(turns: Any, role: str, content: str, where: str) -> list[tuple[str, Any]]:
    if not isinstance(turns, list):
        raise DataError(
            "line is not a dialogue: its turns are not a list",
            where=where,
            hint=f'a list of {{"{role}": …, "{content}": …}}',
        )
    found = []
    for index, turn in enumerate(turns, start=1):
        if not isinstance(turn, dict) or not isinstance(turn.get(role), str) or content not in turn:
            raise DataError(
                f'line is not a dialogue: turn {index} has no "{role}" and "{content}"',
                where=where,
                hint=f'every turn is {{"{role}": …, "{content}": …}}',
            )
        found.append((turn[role], turn[content]))
    return found


def _side(value: Any, role: str, where: str) -> list[tuple[str, Any]]:
    """A prompt or an answer: text, one message, or a list of messages."""
    if isinstance(value, dict):
        value = [value]
    return _list(value, "role", "content", where) if isinstance(value, list) else [(role, value)]


def _dialogue(row: Row, turns: list[tuple[str, Any]], *, answered: bool) -> tuple[Message, ...]:
    """Turns as ours: roles by their usual names, user and assistant in turn.

    Args:
        answered: whether it ends with an answer (a dialogue) or with the user (a prompt).
    """
    messages: list[Message] = []
    for name, value in turns:
        role = _role(row, name)
        content = _content(row, value)
        if not content and role == "system":
            row.repairs.append("blank_system")
            continue
        if not content:
            raise _Drop("blank_turn")
        if role == "system" and messages:
            raise _Drop("late_system")
        if messages and messages[-1].role == role:
            raise _Drop("role_twice")
        if role == "assistant" and NAMES_ITSELF.search(content):
            raise _Drop("names_itself")
        messages.append(Message(role, content))
    talk = [message.role for message in messages if message.role != "system"]
    if talk[:1] == ["assistant"]:
        raise _Drop("starts_with_assistant")
    if answered and talk and talk[-1] == "user":
        row.repairs.append("ends_with_user")
        messages.pop()
        talk.pop()
    if not talk or (talk[-1] == "assistant") != answered:
        raise _Drop("no_answer" if answered else "no_prompt")
    return tuple(messages)


def _role(row: Row, name: str) -> str:
    role = ROLES.get(name.strip().lower())
    if role is None and name.strip().lower() in TOOL_ROLES:
        raise _Drop("tool_turn")
    if role is None:
        raise DataError(
            f'line is not a dialogue: a turn is spoken by "{name}"',
            where=row.where,
            hint=f"known speakers: {', '.join(ROLES)}",
        )
    if role != name and name not in OWN_NAMES.get(row.form, ()):
        row.repairs.append("role_alias")
    return role


def _content(row: Row, value: Any) -> str:
    """A turn's text, stripped; parts are joined, half surrogates replaced; empty if there is none."""
    if isinstance(value, list):
        row.repairs.append("content_parts")
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        if not all(isinstance(part, str) for part in parts):
            raise _Drop("not_text")
        value = "".join(part for part in parts if isinstance(part, str))
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"line is not a dialogue: a turn's content is {type(value).__name__}, not text",
            where=row.where,
            hint="what a turn says is text in quotes, or a list of parts with text",
        )
    whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if whole != value:
        row.repairs.append("half_surrogate")
    if TEMPLATE_TOKEN.search(whole):
        row.repairs.append("template_token")
    return whole.strip()


def _preference(row: Row, value: dict[str, Any]) -> None:
    sides = [_side(value[key], "assistant", row.where) for key in ("chosen", "rejected")]
    if any(value.get(key) is not None for key in ("prompt", "messages", "conversations", "instruction")):
        prompt = _turns(row, {key: content for key, content in value.items() if key != "output"})
        sides = [side[-1:] for side in sides]
    else:  # both sides hold the whole dialogue: what they share is the prompt
        shared = 0
        while shared < min(map(len, sides)) and sides[0][shared] == sides[1][shared]:
            shared += 1
        prompt, sides = sides[0][:shared], [side[shared:] for side in sides]
    if any(len(side) != 1 for side in sides):
        raise _Drop("no_single_answer")
    row.messages = _dialogue(row, prompt, answered=False)
    if any(_role(row, side[0][0]) != "assistant" for side in sides):
        raise _Drop("no_answer")
    row.chosen, row.rejected = (_content(row, side[0][1]) for side in sides)
    if not row.chosen or not row.rejected:
        raise _Drop("blank_turn")
    if unicodedata.normalize("NFKC", row.chosen) == unicodedata.normalize("NFKC", row.rejected):
        raise _Drop("no_difference")


def _squad_articles(articles: list[Any], where: str) -> Iterator[Row]:
    for article_number, article in enumerate(articles, start=1):
        spot = f"{where}: article {article_number}"
        try:
            title = str(article.get("title", ""))
            questions = [
                (paragraph["context"], question) for paragraph in article["paragraphs"] for question in paragraph["qas"]
            ]
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"not SQuAD's form: {error!r} in an article", where=spot, hint=SQUAD_FORM) from error
        for context, question in questions:
            if not isinstance(question, dict) or not isinstance(question.get("question"), str):
                raise DataError("not SQuAD's form: an item has no question", where=spot, hint=SQUAD_FORM)
            yield _read({"context": context, "answers": [], "title": title} | question, spot, [])


def _squad(row: Row, value: dict[str, Any]) -> None:
    """A passage and a question about it; the answer is a piece of the passage."""
    answers = value["answers"]
    found = answers.get("text", []) if isinstance(answers, dict) else [item.get("text") for item in answers]
    row.answers = tuple(dict.fromkeys(text.strip() for text in found if isinstance(text, str) and text.strip()))
    row.title = str(value.get("title") or "")
    # JSQuAD writes "title [SEP] passage" into the context.
    context = _content(row, value["context"]).rpartition("[SEP]")[2].strip()
    question = _content(row, value["question"])
    if not context or not question:
        raise _Drop("blank_turn")
    if not row.answers:
        raise _Drop("no_answer")
    if row.answers[0] not in context:
        raise _Drop("answer_not_in_passage")
    row.title = row.title or context
    row.messages = (Message("user", f"文章：{context}\n質問：{question}"), Message("assistant", row.answers[0]))
