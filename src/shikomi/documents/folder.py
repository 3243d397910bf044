"""Which files a source has: paths, folders and globs to a sorted list, each with an address free of the machine."""

from __future__ import annotations

import glob
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shikomi.errors import RecipeError

_LEFT_OUT = re.compile(r"^(?:\.|~\$)|^(?:Thumbs\.db|desktop\.ini)$", re.IGNORECASE)
"""Names that systems and Office leave beside documents."""
_QUOTED = re.compile('[\x00-\x20%#?"<>\\\\^`{|}\x7f\ud800-\udfff]')


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a source.

    Attributes:
        path: where it is on this machine.
        name: its path below the source's folder, ``/`` between parts, NFC, as it stands in addresses (spaces and signs
            with a meaning there written ``%20``; Japanese readable).
    """

    path: Path
    name: str


def find(patterns: Sequence[str], base: Path, where: str = "corpus.documents.path") -> list[Found]:
    """The files that patterns name, each once, in the order of their names.

    A folder means every file in it, at any depth; hidden files, ``Thumbs.db`` and the like and Office's lock files are
    left out. A file's name starts at the folder, or at the part of the pattern before its first ``*?[``.

    Args:
        patterns: paths, folders and globs (``**`` for any depth).
        base: the folder where relative ones start.
        where: the recipe's key, for errors.

    Raises:
        RecipeError: a pattern finds nothing, or two files would have the same name.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        pairs = _matches(base / Path(pattern).expanduser())
        if not pairs:
            raise RecipeError(
                f'no file matches "{pattern}"',
                where=where,
                hint=f"relative paths start at {base}; a folder means all files in it",
            )
        for root, path in pairs:
            name = address(os.path.relpath(path, root))
            if name in found and not found[name].samefile(path):
                raise RecipeError(
                    f'two files have the name "{name}" in one source',
                    where=where,
                    hint="name the folder above both, or make two tables with a name each",
                )
            found.setdefault(name, path)
    return [Found(found[name], name) for name in sorted(found)]


def _matches(pattern: Path) -> list[tuple[Path, Path]]:
    """``(folder where names start, file)`` for each file."""
    if pattern.is_dir():
        return [(pattern, path) for path in _below(pattern)]
    if pattern.exists() or not glob.has_magic(str(pattern)):
        return [(pattern.parent, pattern)] if pattern.exists() else []
    root = pattern
    while glob.has_magic(str(root)):
        root = root.parent
    pairs = []
    for path in map(Path, glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 - absolute patterns too
        pairs += [(root, inner) for inner in (_below(path) if path.is_dir() else [path]) if _wanted(inner)]
    return pairs


def _below(folder: Path) -> list[Path]:
    found = []
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _LEFT_OUT.search(name))
        found += [Path(here) / name for name in files if not _LEFT_OUT.search(name)]
    return found


def _wanted(path: Path) -> bool:
    return path.is_file() and not _LEFT_OUT.search(path.name)


def address(relative: str) -> str:
    """A relative path as it stands in an address; bytes that are no UTF-8 (old zip files) written ``%XX``."""
    name = unicodedata.normalize("NFC", relative.replace(os.sep, "/"))
    return _QUOTED.sub(lambda match: "".join(f"%{byte:02X}" for byte in os.fsencode(match[0])), name)
