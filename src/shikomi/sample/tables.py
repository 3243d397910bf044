"""Word and wording tables of the sample: plain text files beside this module, read once."""

from __future__ import annotations

import functools
from importlib import resources


@functools.cache
def section(file: str, name: str) -> tuple[str, ...]:
    """Lines of section ``[name]`` of ``tables/<file>.txt``, comments and blank lines left out.

    Raises:
        KeyError: no such section (a defect of ours: the tables travel with the package).
    """
    return sections(file)[name]


@functools.cache
def sections(file: str) -> dict[str, tuple[str, ...]]:
    """All sections of ``tables/<file>.txt``, in file order."""
    text = resources.files("shikomi.sample").joinpath("tables", f"{file}.txt").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("[") and line.endswith("]"):
            lines = found.setdefault(line[1:-1], [])
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    return {name: tuple(rows) for name, rows in found.items()}


@functools.cache
def words(name: str) -> tuple[tuple[str, str], ...]:
    """A two-column section of ``words.txt``: (Japanese, romanised or English)."""
    pairs = (line.split(maxsplit=1) for line in section("words", name))
    return tuple((japanese, latin) for japanese, latin in pairs)


def ending(line: str, polite: bool) -> str:
    """``stem/plain/polite`` with the ending of one style joined on; a line without slashes is returned as it is."""
    parts = line.split("/")
    return line if len(parts) == 1 else parts[0] + parts[2 if polite else 1]
