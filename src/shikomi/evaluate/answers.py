"""Puts every question to one model, and remembers under ``scratch/`` what is done, so that a kill loses a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shikomi.data.tokens import TokenShards
from shikomi.evaluate.examinee import Examinee
from shikomi.evaluate.task import GENERATED, Item, Rules, draw_key, grade
from shikomi.io import dumps
from shikomi.recipe.evaluate import EvaluatePage

ROWS_AT_ONCE = 64
PROMPT_POSITIONS = 8192
"""A block of prompts holds at most so many rows and, with padding, positions: about a second of work for a small
model, so that progress is told that often."""

SPARE_TOKENS = 16
"""Room an answer has beyond twice the longest gold answer of its task: enough for an ending or a second sentence,
little enough that a base model, which never ends, is cut soon. Half the context always stays for the question."""

PAIRS_AT_ONCE = 8
DOCUMENTS_AT_ONCE = 16


@dataclass(frozen=True)
class Result:
    """What one model did.

    Attributes:
        answers: its answer to each generated item, by id.
        grades: marks of every item, by id (see ``task.grade``; ``preference``: ``sum token``, nats in favour of the
            chosen answer).
        bits: bits of each held-out document.
        bytes: UTF-8 bytes of each held-out document.
        prompts_cut: prompts that did not fit.
    """

    answers: dict[str, str]
    grades: dict[str, dict[str, float]]
    bits: list[float]
    bytes: list[int]
    prompts_cut: int


class Memory:
    """Finished pieces of work, a JSON line each; a line torn by a crash is done again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pieces: dict[str, Any] = {}
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
            try:
                piece = json.loads(line)
                self.pieces[piece["key"]] = piece["value"]
            except (ValueError, TypeError, KeyError):
                break
            whole += len(line)
        if path.exists():
            with open(path, "r+b") as handle:
                handle.truncate(whole)

    def once(self, key: str, work: Callable[[], Any]) -> Any:
        """The value of ``work()``, done now or remembered; it must consist of JSON values."""
        if key not in self.pieces:
            value = work()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as handle:
                handle.write(dumps({"key": key, "value": value}) + "\n")
            self.pieces[key] = value
        return self.pieces[key]


def examine(
    open_model: Callable[[], Examinee],
    items: Sequence[Item],
    heldout: Sequence[Sequence[int]],
    page: EvaluatePage,
    rules: Rules,
    memory: Memory,
    told: Callable[[int], None],
) -> Result:
    """Put everything to one model.

    Args:
        open_model: loads it; called only if something is left to do.
        heldout: ids of the held-out documents.
        told: called with the number of items and documents just done.
    """
    opened: list[Examinee] = []

    def model() -> Examinee:
        if not opened:
            opened.append(open_model())
        return opened[0]

    blocks = memory.once("blocks", lambda: _blocks(model(), items, page))
    by_id = {item.row.id: item for item in items}
    answers: dict[str, str] = {}
    grades: dict[str, dict[str, float]] = {}
    for number, block in enumerate(blocks):
        members = [by_id[name] for name in block["ids"]]
        replies = memory.once(f"block {number}", lambda m=members, b=block: _answer(model(), m, b["limit"]))
        for item, (text, cut) in zip(members, replies, strict=True):
            answers[item.row.id] = text
            grades[item.row.id] = grade(item, text, cut, rules)
        told(len(members))
    pairs = [item for item in items if item.task == "preference"]
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        members = pairs[start : start + PAIRS_AT_ONCE]
        found = memory.once(f"pairs {start}", lambda m=members: [_compare(model(), item) for item in m])
        grades.update({item.row.id: marks for item, marks in zip(members, found, strict=True)})
        told(len(members))
    bits, sizes = _documents(model, heldout, page, memory, told)
    return Result(answers, grades, bits, sizes, sum(block["cut"] for block in blocks))


def work_of(items: Sequence[Item], heldout: Sequence[Sequence[int]]) -> int:
    """How much ``told`` will sum up to for one model."""
    return len(items) + len(heldout)


def _blocks(model: Examinee, items: Sequence[Item], page: EvaluatePage) -> list[dict[str, Any]]:
    """Which questions are asked together: of one limit, like lengths beside each other."""
    found = []
    for task in GENERATED:
        members = [item for item in items if item.task == task]
        if not members:
            continue
        longest = max(model.count(answer) for item in members for answer in item.gold)
        limit = min(page.max_answer_tokens, 2 * longest + SPARE_TOKENS, model.max_tokens // 2)
        room = model.max_tokens - limit
        sizes = {item.row.id: len(model.prompt(item.prompt)) for item in members}
        ordered = sorted(sizes, key=lambda name: (sizes[name], name))
        for block in _cut(ordered, sizes):
            over = sum(sizes[name] > room for name in block)
            found.append({"ids": block, "limit": limit, "cut": over})
    return found


def _cut(ordered: Sequence[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    block: list[str] = []
    for name in ordered:
        if block and (len(block) == ROWS_AT_ONCE or (len(block) + 1) * sizes[name] > PROMPT_POSITIONS):
            yield block
            block = []
        block.append(name)
    if block:
        yield block


def _answer(model: Examinee, members: Sequence[Item], limit: int) -> list[list[Any]]:
    replies = model.reply([model.prompt(item.prompt) for item in members], limit)
    return [[reply.text, reply.cut] for reply in replies]


def _compare(model: Examinee, item: Item) -> dict[str, float]:
    (chosen, chosen_tokens), (rejected, rejected_tokens) = model.pair_log_probs(item.prompt, item.pair)
    per_token = chosen / max(1, chosen_tokens) - rejected / max(1, rejected_tokens)
    return {"sum": round(chosen - rejected, 6), "token": round(per_token, 6)}


def _documents(
    model: Callable[[], Examinee],
    heldout: Sequence[Sequence[int]],
    page: EvaluatePage,
    memory: Memory,
    told: Callable[[int], None],
) -> tuple[list[float], list[int]]:
    bits: list[float] = []
    sizes: list[int] = []
    for start in range(0, len(heldout), DOCUMENTS_AT_ONCE):
        members = heldout[start : start + DOCUMENTS_AT_ONCE]

        def score(members: Sequence[Sequence[int]] = members) -> list[list[float]]:
            found = model().document_bits(members, page.window_tokens)
            return [[round(value, 6), model().document_bytes(ids)] for value, ids in zip(found, members, strict=True)]

        for value, size in memory.once(f"documents {start}", score):
            bits.append(value)
            sizes.append(int(size))
        told(len(members))
    return bits, sizes


def heldout_documents(tokens: Path, wanted_tokens: int, seed: int) -> list[list[int]]:
    """Held-out documents in an order drawn by ``seed``, whole, until ``wanted_tokens`` are reached (all, if fewer)."""
    shards = TokenShards(tokens, "heldout")
    order = sorted(range(shards.num_documents), key=lambda index: draw_key(str(index), seed))
    found: list[list[int]] = []
    count = 0
    for index in order:
        if count >= wanted_tokens:
            break
        found.append(shards.document(index).tolist())
        count += len(found[-1])
    return found
