"""One file to passages, whatever its kind; every failure is told as a problem. Runs in the reader's process."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from shikomi.documents.kinds import by_name, kind_of
from shikomi.documents.passage import FIELDS, LIMITS, ROWS, Fields, HtmlReader, Limits, Part, Passage, Unreadable

_WHOLE = {
    "text": "plain.read_text",
    "markdown": "markdown.read_markdown",
    "pdf": "pdf.read_pdf",
    "docx": "office.read_docx",
    "patent": "patent.read_patent",
}
"""Readers of whole files, imported when the first file of their kind comes: the process has to start fast."""


_HEAVY = {"parquet": "pyarrow.parquet"}
"""Libraries whose own memory is not the file's."""


def prepare(part: Part, kind: str) -> None:
    """Load what the file will need, by its name alone, before its limits begin."""
    library = _HEAVY.get(kind or by_name(Path(part.path)))
    if library:
        importlib.import_module(library)


def passages(
    part: Part, kind: str = "", fields: Fields = FIELDS, limits: Limits = LIMITS, html: HtmlReader | None = None
) -> Iterator[Passage]:
    """Yield the passages of a file, and its problems as passages that have one; nothing is raised for a bad file.

    Args:
        part: the file, or a stretch of it.
        kind: what the recipe says it is; empty: found out.
        fields: of rows.
        limits: what is enforced here: characters, bytes, pages, depth. Time and memory: ``Reader``.
        html: what reads a page's bytes; None: the reader here.

    Raises:
        ImportError: the library for this kind is not installed.
    """
    found, last, characters, any_text = kind, -1, 0, False
    try:
        found = kind_of(Path(part.path), kind)
        for passage in _reader(found, part, fields, limits, html):
            characters = len(passage.text) + (characters if passage.document == last else 0)
            last = passage.document
            if characters > limits.characters and not passage.problem:
                raise Unreadable("too_much_text", f"more than {limits.characters} characters", passage.where)
            if passage.text or passage.problem:
                any_text = True
                yield passage
            elif found in ROWS:
                any_text = True
                yield replace(passage, problem="no_text", detail="an empty field")
        if not any_text and not part.start:
            raise Unreadable("no_text", "no text in it")
    except Unreadable as error:
        yield _problem(found, last, error.reason, error.detail, error.where)
    except MemoryError:
        yield _problem(found, last, "too_much_memory", f"more than {limits.memory_bytes} bytes")
    except RecursionError as error:
        yield _problem(found, last, "too_deep", str(error))
    except ImportError:
        raise
    except Exception as error:  # a reader that stumbles over one file: a verdict on that file, not the end of a run
        yield _problem(found, last, "damaged", f"{type(error).__name__}: {error}")


def _reader(kind: str, part: Part, fields: Fields, limits: Limits, html: HtmlReader | None) -> Iterator[Passage]:
    path = Path(part.path)
    if kind in ROWS:
        from shikomi.documents.rows import read_rows

        return read_rows(kind, part, limits, fields)
    if kind == "html":
        from shikomi.documents.plain import read_html

        return read_html(path, limits, html)
    module, _, name = _WHOLE[kind].partition(".")
    return getattr(importlib.import_module(f"shikomi.documents.{module}"), name)(path, limits)


def _problem(kind: str, last: int, reason: str, detail: str, where: str = "") -> Passage:
    # Rows that came before are whole; any other document is the one being read.
    document = last + 1 if kind in ROWS else max(last, 0)
    return Passage(where=where, kind=kind, document=document, problem=reason, detail=" ".join(detail.split())[:300])
