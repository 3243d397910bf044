"""``shikomi look batch``: the row that a training stage sees at a step, made by the code that trains on it."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shikomi.cli.options import finished_folder
from shikomi.errors import UsageError

if TYPE_CHECKING:
    from shikomi.flow.runner import Build
    from shikomi.recipe.schema import Recipe
    from shikomi.tokenizer.codec import Codec
    from shikomi.train.batches import Row, RowBatches

LEARNED = ("⟦", "⟧")
"""Stand around what is learned from where there is no colour."""


def batch_row(recipe: Recipe, build: Build, folder: Path, stage: str, step: int, place: int) -> dict[str, Any]:
    """One row of one step, document by document.

    Args:
        recipe: what is built.
        build: its steps in a store; tokenizer and tokens (and dialogues, where the stage reads them) are finished.
        folder: where the recipe's relative paths start.
        stage: ``pretrain``, ``anneal`` or ``sft``.
        step, place: which row of which step, both from 1.

    Returns:
        ``stage``, ``step``, ``row``, ``position`` (of the row in the stage's order, from 1), ``source``, ``tokens``,
        ``learned_tokens``, and ``documents``: each with ``tokens``, ``learned_tokens``, ``padding`` and ``parts``, runs
        of ids with their ``text`` that are ``learned`` from or not.

    Raises:
        UsageError: no such step or row, or a stage it needs is not built yet.
        DataError, RecipeError: what the training stage itself would refuse.
    """
    from shikomi.tokenizer.codec import Codec
    from shikomi.train.text import num_steps

    codec = Codec(finished_folder(build, "tokenizer"))
    batches = _batches(recipe, build, folder, stage, codec)
    for name, found, last in (
        ("--step", step, num_steps(getattr(recipe, stage))),
        ("--row", place, batches.rows_per_step),
    ):
        if found > last:
            raise UsageError(f"{name} {found}: {stage} has {last}", where=name, hint=f"from 1 to {last}")
    row = batches.row(step - 1, place - 1)
    documents = _documents(row, codec)
    return {
        "stage": stage,
        "step": step,
        "row": place,
        "position": batches.position(step - 1, place - 1) + 1,
        "source": row.source,
        "tokens": len(row.tokens_T),
        "learned_tokens": int((row.weights_T > 0).sum()),
        "documents": documents,
    }


def _batches(recipe: Recipe, build: Build, folder: Path, stage: str, codec: Codec) -> RowBatches:
    from shikomi.recipe.files import mixture_folders
    from shikomi.train.text import anneal_rows, pretrain_rows, row_batches, sft_rows

    page, tokens = getattr(recipe, stage), finished_folder(build, "tokens")
    outside = mixture_folders(page.mixture, folder, stage) if stage != "sft" else {}
    if stage == "pretrain":
        return row_batches(pretrain_rows(page, tokens, codec, codec.vocab_size, outside), page)
    dialogues = finished_folder(build, "dialogues")
    if stage == "anneal":
        rows, _ = anneal_rows(page, tokens, dialogues, codec, codec.vocab_size, outside)
    else:
        rows, _ = sft_rows(page, tokens, dialogues, codec, codec.vocab_size)
    return row_batches(rows, page)


def _documents(row: Row, codec: Codec) -> list[dict[str, Any]]:
    """Each document's tokens, the target behind its last position included, cut where learning begins or ends."""
    found = []
    for number in dict.fromkeys(row.documents_T.tolist()):
        inside = row.documents_T == number
        tokens, weights = row.tokens_T[inside].tolist(), row.weights_T[inside].tolist()
        # A position's weight is that of its target: the token after it. The first token is only ever context.
        ids, learned = tokens, [False, *(weight > 0 for weight in weights[:-1])]
        if weights[-1] > 0:
            ids, learned = [*ids, int(row.targets_T[inside][-1])], [*learned, True]
        padding = not any(learned) and set(ids) == {codec.pad_id}
        parts: list[dict[str, Any]] = []
        for id, is_learned in zip(ids, learned, strict=True):
            if not parts or parts[-1]["learned"] != is_learned:
                parts.append({"learned": is_learned, "ids": []})
            parts[-1]["ids"].append(id)
        for part in parts:
            part["text"] = codec.shown(part["ids"])
        sizes = {"tokens": len(tokens), "learned_tokens": sum(learned), "padding": padding}
        found.append({**sizes, "parts": parts})
    return found


def batch_text(told: dict[str, Any]) -> str:
    """A row for the terminal: what is learned from in colour, or in ⟦ ⟧ where there is none; a line between documents.

    Args:
        told: what ``batch_row`` gives.
    """
    import sys

    from shikomi.cli.screen import coloured, paint

    colour = coloured(sys.stdout)
    head = (
        f"{told['stage']} step {told['step']}, row {told['row']} (row {told['position']:,} of its order)"
        f" from {told['source']}: {told['tokens']} tokens, {told['learned_tokens']} learned from"
    )
    lines = [paint(head, "bold"), "learned from: " + _marked("like this", True, colour) + "; the rest is context"]
    for number, document in enumerate(told["documents"], start=1):
        what = "padding" if document["padding"] else f"{document['learned_tokens']} learned from"
        lines.append(paint(f"── document {number}: {document['tokens']} tokens, {what} ──", "cyan"))
        if not document["padding"]:
            lines.append("".join(_marked(part["text"], part["learned"], colour) for part in document["parts"]))
    return "\n".join(lines)


def _marked(text: str, learned: bool, colour: bool) -> str:
    from shikomi.cli.screen import paint

    shown = "".join(map(_visible, text))
    if colour:
        # Style line by line: pagers forget a colour at the end of a line.
        return "\n".join(paint(line, "green" if learned else "dim") if line else "" for line in shown.split("\n"))
    return f"{LEARNED[0]}{shown}{LEARNED[1]}" if learned else shown


def _visible(letter: str) -> str:
    """A character as it may be sent to a terminal: control characters as their pictures, direction marks left out."""
    if letter in "\n\t":
        return letter
    if ord(letter) < 0x20:
        return chr(0x2400 + ord(letter))
    return "" if unicodedata.category(letter) in ("Cc", "Cf") else letter
