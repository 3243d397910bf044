"""What the terminal shows: colour where it is wanted, tables that know how wide Japanese is, errors in three lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import IO, Any

from shikomi.errors import ShikomiError
from shikomi.units import pad, width

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def coloured(stream: IO[str]) -> bool:
    """Whether a stream takes colour: a terminal, and the user has not said no (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: IO[str] | None = None) -> str:
    """Text in a style, or as it is where colour is not wanted."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if coloured(stream or sys.stdout) else text


def say(text: str) -> None:
    """One line for the user, to stderr."""
    print(text, file=sys.stderr, flush=True)


def say_error(error: ShikomiError) -> None:
    """An error (or several at once): what in red, where, and the hint in colour."""
    for number, one in enumerate(getattr(error, "errors", (error,))):
        if number:
            say("")
        say(f"{paint('error:', 'red', sys.stderr)} {one.what}")
        if one.where:
            say(f"  at: {one.where}")
        if one.hint:
            say(f"{paint('hint:', 'cyan', sys.stderr)} {one.hint}")


def show(text: str = "") -> None:
    """Data, to stdout."""
    print(text)


def show_json(value: Any) -> None:
    """One JSON object on stdout, Japanese left readable."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), head: bool = True) -> str:
    """Rows in columns as wide as their widest cell in terminal columns; ``right`` names right-aligned columns."""
    if not rows:
        return ""
    widths = [max(width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [pad(cell, widths[column], right=column in right) for column, cell in enumerate(row)]
        line = "  ".join(cells).rstrip()
        lines.append(paint(line, "bold") if head and number == 0 else line)
    return "\n".join(lines)


def cut(text: str, columns: int) -> str:
    """Text on one line, white space run together, in at most so many terminal columns (see ``clip``)."""
    return clip(" ".join(text.split()), columns)


def clip(text: str, columns: int) -> str:
    """Text in at most so many terminal columns, an ellipsis in place of what is left out."""
    if width(text) <= columns:
        return text
    taken, used = [], 0
    for letter in text:
        used += width(letter)
        if used > columns - 1:
            break
        taken.append(letter)
    return "".join(taken) + "…"
