"""Files and prompts that are for evaluation only, known by their hashes: no training may read them.

``eval_only.json`` holds facts, not texts: for each known set its files' SHA-256, a digest of their contents that
re-ordering, re-indenting and re-encoding do not change, and digests of the open-ended sets' prompts.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.io import read_json, sha256_file

TABLE = Path(__file__).with_name("eval_only.json")
PROMPT_KEYS = ("turns", "text", "prompt", "question")
"""Where the open-ended sets keep a prompt; of several turns the first counts."""


@cache
def table() -> dict[str, dict[str, str]]:
    """``files`` (SHA-256 → name), ``contents`` (content digest → name), ``prompts`` (prompt digest → set's name)."""
    return read_json(TABLE)


def refuse_eval_only(path: Path) -> None:
    """Refuse a file that is an evaluation set, whatever it is called here.

    Raises:
        DataError: its bytes, or its contents in any order and layout, are a known evaluation set's.
    """
    known = table()
    name = known["files"].get(sha256_file(path)) or known["contents"].get(content_digest(path))
    if name:
        raise DataError(
            f"{name} is for evaluation only: it is never trained on",
            where=str(path),
            hint="take it out of the training sources; scores on a set that was trained on mean nothing",
        )


def eval_only_prompt(prompt: str) -> str:
    """Name of the evaluation set a prompt belongs to; empty if to none."""
    return table()["prompts"].get(text_digest(prompt), "")


def text_digest(text: str) -> str:
    """16 hexadecimal digits of a text after NFKC and case folding, white space left out."""
    plain = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def content_digest(path: Path) -> str:
    """Digest of a file's contents as a set: the texts and numbers in it if it is JSON (lines), else its lines.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise DataError(f"cannot read file: {error.strerror}", where=str(path)) from error
    found = {text_digest(value) for value in _values(text)}
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def make_table(files: dict[str, Path], open_ended: dict[str, Path]) -> dict[str, dict[str, str]]:
    """The table of given files (name → path); ``open_ended`` are those whose prompts are digested too."""
    prompts = {digest: name for name, path in open_ended.items() for digest in _prompts(path)}
    return {
        "files": {sha256_file(path): name for name, path in files.items()},
        "contents": {content_digest(path): name for name, path in files.items()},
        "prompts": prompts,
    }


def _prompts(path: Path) -> Iterator[str]:
    for row in _documents(path.read_text(encoding="utf-8-sig")) or []:
        for key in PROMPT_KEYS:
            value = row.get(key) if isinstance(row, dict) else None
            if isinstance(value, list) and value:
                value = value[0]
            if isinstance(value, str):
                yield text_digest(value)
                break


def _values(text: str) -> Iterable[str]:
    documents = _documents(text)
    if documents is None:
        return (line for line in text.splitlines() if line.strip())
    return (leaf for document in documents for leaf in _leaves(document))


def _documents(text: str) -> list[Any] | None:
    """The JSON documents in a text: one, or one a line; None if it is neither."""
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return None


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        if value.strip():
            yield value
    elif value is not None:
        yield json.dumps(value)
