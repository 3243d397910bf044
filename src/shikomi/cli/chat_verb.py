"""``shikomi chat``: talk to a model, or let it answer questions from a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shikomi.cli.options import finished_folder, open_build, with_recipe

if TYPE_CHECKING:
    from shikomi.cli.talker import Talker
    from shikomi.flow.runner import Build

TALKING = ("dpo", "sft", "anneal", "pretrain")
"""Stages whose model can be talked to, the best first; the base continues text rather than answer."""


@click.command("chat")
@with_recipe
@click.option(
    "--ask",
    type=click.Path(path_type=Path),
    metavar="FILE.jsonl",
    help='Answer its lines {"question": …}; prints each with "answer".',
)
@click.option("--three", is_flag=True, help="Ask three questions of the evaluation and print the answers.")
@click.option(
    "--model",
    "stage",
    default="",
    metavar="STAGE",
    help=f"Whose model: {', '.join(TALKING)}  [default: the last one built]",
)
@click.option(
    "--temperature", type=click.FloatRange(0, 2), default=0.0, show_default=True, help="0: always the likeliest token."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of what a temperature above 0 draws.")
def command(
    recipe: Path | None,
    store: Path,
    overrides: tuple[str, ...],
    ask: Path | None,
    three: bool,
    stage: str,
    temperature: float,
    seed: int,
) -> None:
    """Talk to the model of RECIPE. Without a terminal, three questions are asked and answered."""
    from shikomi.cli.machine import threads_and_workers

    page, build = open_build(recipe, store, overrides)
    questions = read_questions(ask) if ask else None
    folder = finished_folder(build, stage) if stage else latest_model(build)
    threads_and_workers()
    from shikomi.cli.talker import Talker

    talker = Talker(folder, page.evaluate.max_answer_tokens, temperature, seed)
    if questions is not None:
        answer_lines(talker, questions)
    elif three or not sys.stdin.isatty():
        answer_three(talker, build)
    else:
        converse(talker, folder)


def latest_model(build: Build) -> Path:
    """The folder of the last finished model that talks.

    Raises:
        UsageError: none is built yet.
    """
    for name in TALKING[:-1]:
        if build.finished(build.step(name)):
            return build.folder(build.step(name))
    return finished_folder(build, "sft")


def read_questions(path: Path) -> list[dict[str, Any]]:
    """The lines of a file, each an object with the text ``question``.

    Raises:
        DataError: the file or a line is not as expected; the line is named.
    """
    from shikomi.errors import DataError
    from shikomi.io import read_jsonl

    rows = []
    for number, row in read_jsonl(path):
        if not isinstance(row, dict) or not isinstance(row.get("question"), str):
            raise DataError(
                "the line is no question", where=f"{path}:{number}", hint='one object a line: {"question": "…"}'
            )
        rows.append(row)
    return rows


def answer_lines(talker: Talker, rows: list[dict[str, Any]]) -> None:
    """Print each line again with its answer, in order."""
    from shikomi.cli.progress import Screen
    from shikomi.cli.screen import show
    from shikomi.io import dumps

    screen = Screen()
    progress = screen.begin("chat", 1, 1)
    answers = talker.answers([row["question"] for row in rows], lambda done, total: progress(done, total, "questions"))
    screen.close()
    for row, answer in zip(rows, answers, strict=True):
        show(dumps({**row, "answer": answer}))


def answer_three(talker: Talker, build: Build) -> None:
    """Ask three questions and print question and answer."""
    from shikomi.cli.screen import show

    questions = list(three_questions(build))
    for question, answer in zip(questions, talker.answers(questions), strict=True):
        show(f"問: {question}\n答: {answer}\n")


def three_questions(build: Build) -> Iterator[str]:
    """The three questions that the evaluation shows; before it is built, the first three that it will ask."""
    from itertools import islice

    from shikomi.io import read_json, read_jsonl

    evaluate = build.step("evaluate")
    if build.finished(evaluate):
        asked = [one["question"] for one in read_json(build.folder(evaluate) / "scores.json")["answers"]]
        if asked:
            yield from asked
            return
    path = finished_folder(build, "dialogues") / "questions.jsonl"
    yield from (row["question"] for _, row in islice(read_jsonl(path), 3))


def converse(talker: Talker, folder: Path) -> None:
    """A conversation on the terminal: earlier turns are remembered until ``/new``."""
    from shikomi.cli.screen import paint, say

    say(f"モデル: {folder}   /new 新しい会話   /quit 終了 (Ctrl-D)")
    while True:
        try:
            line = input(paint("あなた> ", "cyan")).strip()
        except EOFError:
            say("")
            return
        if line in ("/quit", "/exit"):
            return
        if line == "/new":
            talker.forget()
        elif line:
            for piece in talker.say(line):
                click.echo(piece, nl=False)
            click.echo()
