"""Writes ``docs/reference/commands.md`` from the command line's own help: ``make reference``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from shikomi.cli.main import VERBS

KINDS = {"INTEGER": "N", "INTEGER RANGE": "N", "FLOAT": "X", "FLOAT RANGE": "X"}
"""How values of these kinds are shown."""

TARGET = Path(__file__).with_name("commands.md")

HEAD = """\
# Command reference / コマンドの参照

<!-- Written by docs/reference/generate_commands.py (make reference). Change the help in src/shikomi/cli/, not here. -->

日本語：`shikomi 動詞 レシピ --store フォルダ` の形です。読むだけの動詞には `--json` があります。
結果は標準出力へ、進み具合と誤りは標準エラーへ出ます。

The program is `.venv/bin/shikomi`. Data goes to stdout, progress and errors to stderr; colours are left out where that
is no terminal, or `NO_COLOR` is set. An error has three lines: what, where (`at:`), what to do (`hint:`).

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: data, or the work itself |
| 2 | wrong recipe or command |
| 3 | this machine cannot do it: memory, disk, a missing program |
| 130 | stopped by Ctrl-C; the same command goes on from there |
"""

TAIL = """\
## JSON

With `--json` a verb prints one object, and nothing else, to stdout. These keys are kept stable; there are more.

| key | meaning |
|---|---|
| **`shikomi status RECIPE --json`** | |
| `report_path` | where the report is, or null |
| `build_seconds`, `peak_mb` | sum of the stages' wall seconds; most memory of any |
| `answers` | three of the final model: `question`, `answer` |
| `stages` | every stage: `name`, `id`, whether finished, what it took |
| **`shikomi eval RECIPE --json`** | shares run from 0 to 1 |
| `seen_forms`, `unseen_forms`, `n` | right answers of the final model about evaluation companies; questions |
| `base`, `most_frequent`, `shuffled` | base model, trivial baseline and control on the same questions |
| `bits_per_byte` | final model on held-out text |
| **`shikomi look corpus RECIPE --json`** | |
| `read`, `kept`, `dropped_by_reason` | pages |
| **`shikomi chat RECIPE --ask FILE.jsonl`** | prints each line again with `answer`, one a line |
"""


def render() -> str:
    """The whole reference as Markdown."""
    return "\n".join([HEAD, *(_verb(verb) for verb in VERBS), TAIL])


def _verb(verb: str) -> str:
    command = importlib.import_module(f"shikomi.cli.{verb}_verb").command
    context = click.Context(command, info_name=f"shikomi {verb}")
    usage = " ".join(["shikomi", verb, *command.collect_usage_pieces(context)])
    rows = [_option(item, context) for item in command.params if isinstance(item, click.Option)]
    table = ["| option | meaning |", "|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## `shikomi {verb}`", "", "```", usage, "```", "", _paragraphs(command.help or ""), "", *table])


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(option.opts)
    metavar = option.make_metavar(context)
    value = "" if option.is_flag else f" {KINDS.get(metavar, metavar)}"
    default = f" Default: `{option.default}`." if option.show_default and option.default is not None else ""
    variable = f" Also set by `{option.envvar}`." if option.envvar else ""
    told = f"{' '.join((option.help or '').split())}{default}{variable}".replace("|", "\\|")
    return f"| `{names}{value}` | {told} |"


def main() -> int:
    """Write the reference."""
    TARGET.write_text(render(), encoding="utf-8")
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
