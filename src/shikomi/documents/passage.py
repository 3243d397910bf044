"""What a reader hands on: passages of a file, or why there are none; and what reading one file may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

KINDS = ("text", "markdown", "html", "pdf", "docx", "patent", "jsonl", "json", "parquet")
"""Kinds of files that can be read."""
ROWS = ("jsonl", "json", "parquet")
"""Kinds in which every row is a document of its own."""

PROBLEMS = {
    "not_found": "there is no such file, it cannot be opened, or it is a folder or a device",
    "empty_file": "the file has no bytes",
    "unknown_kind": "none of the kinds that can be read",
    "wrong_kind": "its content is not of the kind that the recipe or its reader expects",
    "old_word": "a Word file of before 2007 (.doc), whatever its name says",
    "password": "encrypted, and not readable without a password",
    "damaged": "cut off or broken inside",
    "charset": "no charset fits its bytes",
    "entities": "XML that declares entities of its own: how small files are made to unfold without end",
    "too_deep": "elements nested deeper than any document needs",
    "too_large": "more bytes than allowed, packed or unpacked",
    "too_many_pages": "more pages than allowed",
    "too_much_text": "more characters than allowed",
    "too_slow": "more processor time than allowed",
    "too_much_memory": "more memory than allowed",
    "crashed": "the reader's process died of it",
    "no_text": "nothing to read in it: no text, or a PDF of pictures",
    "unmapped_glyphs": "a PDF whose fonts do not say which characters they draw",
    "bad_line": "a line or row that is no JSON object",
    "no_field": "a row without the field that should hold its text",
}
"""Every reason why a document has no text, and what it means."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a document: its text with the place it stands at; or a problem, and no text.

    Attributes:
        text: one paragraph a line, no empty lines, no space around lines.
        title: the document's title, as far as it names one.
        where: place in the file, as the fragment of an address: ``page=3``, ``line=12``, ``row=7``, ``section=2``,
            ``claims``; empty where the file is one passage.
        date: ISO 8601, as far as the document says when it was made; else empty.
        kind: what the file is, one of ``KINDS``; empty if that is not known.
        document: which document of the file it belongs to, from 0 (a row; one of several patents).
        charset: the codec that its bytes were decoded with; empty for binary files.
        id: the row's own id, where the recipe names a field for it.
        url: the row's own address, likewise.
        goes_on: its last line goes on in the next passage (a sentence over two pages).
        problem: empty, or one of ``PROBLEMS``.
        detail: what is wrong, for people; with the line or page where that is known.
    """

    text: str = ""
    title: str = ""
    where: str = ""
    date: str = ""
    kind: str = ""
    document: int = 0
    charset: str = ""
    id: str = ""
    url: str = ""
    goes_on: bool = False
    problem: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may cost; a file that needs more is a counted problem.

    The defaults are ours. measured: a PDF of 400 pages of 1,200 characters took 11 s (horizontal) or 18 s (vertical) of
    processor time and 58 MB, on two cores with work for ten.

    Attributes:
        cpu_seconds: processor time for one file; for rows, for the next 1,000 of them.
        memory_bytes: address space beyond what the reader's process needs for itself (not enforced on macOS).
        characters: of one document.
        file_bytes: of one file, packed or unpacked; for rows, of one row.
        pages: of one PDF.
    """

    cpu_seconds: float = 60.0
    memory_bytes: int = 1 << 30
    characters: int = 2_000_000
    file_bytes: int = 100_000_000
    pages: int = 5_000


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a row hold what: names, with dots into inner objects; lists give one line an element.

    ``utterances.text`` is the ``text`` of every element of the list ``utterances``. An empty name: no such field.
    """

    text: str = "text"
    title: str = ""
    date: str = ""
    id: str = ""
    url: str = ""


HtmlReader = Callable[[bytes], tuple[str, str, str] | None]
"""A page's bytes to ``(title, running text, charset)``, or None where no charset fits; a room above gives its own."""

LIMITS = Limits()
FIELDS = Fields()


@dataclass(frozen=True, slots=True)
class Part:
    """A file, or a stretch of one that has rows.

    Attributes:
        path: the file.
        start: first byte of a JSONL file's stretch, or first row group of a Parquet file's.
        stop: where it ends; -1: with the file.
        first: number of its first line or row, from 1.
    """

    path: str
    start: int = 0
    stop: int = -1
    first: int = 1


class Unreadable(Exception):
    """A document has no text: the reason (one of ``PROBLEMS``) and a detail for people."""

    def __init__(self, reason: str, detail: str = "", where: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail, self.where = reason, detail, where
