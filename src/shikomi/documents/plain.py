"""Plain text and HTML files to passages."""

from __future__ import annotations

import html as entities
import re
from collections.abc import Iterator
from pathlib import Path

from shikomi.documents.charset import decode
from shikomi.documents.lines import one_line, tidy
from shikomi.documents.passage import HtmlReader, Limits, Passage, Unreadable


def read_bytes(path: Path, limits: Limits) -> bytes:
    """A file's bytes.

    Raises:
        Unreadable: larger than allowed.
    """
    with open(path, "rb") as file:
        data = file.read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        raise Unreadable("too_large", f"more than {limits.file_bytes} bytes")
    return data


def read_text(path: Path, limits: Limits) -> Iterator[Passage]:
    """A plain text file: one passage."""
    text, charset = decode(read_bytes(path, limits))
    yield Passage(tidy(text), kind="text", charset=charset)


def read_html(path: Path, limits: Limits, html: HtmlReader | None = None) -> Iterator[Passage]:
    """An HTML file: its running text, one passage."""
    found = (html or html_text)(read_bytes(path, limits))
    if found is None:
        raise Unreadable("charset", "no charset fits")
    title, text, charset = found
    yield Passage(tidy(text), one_line(title), kind="html", charset=charset)


_TITLE = re.compile("<title[^>]*>([^<]{1,500})", re.IGNORECASE)
_DECLARED = re.compile(rb"""charset\s*=\s*["']?\s*([A-Za-z0-9_\-]+)""", re.IGNORECASE)


def html_text(payload: bytes) -> tuple[str, str, str] | None:
    """Running text of a page by its main content; for rooms that have no extraction of their own to give."""
    from resiliparse.extract.html2text import extract_plain_text

    text, charset = decode(payload)
    title = _TITLE.search(text)
    # Deep nesting makes the search for the main content quadratic; no page that people read is nested like that.
    shallow = text.count("<div") < 5_000
    return entities.unescape(title[1]) if title else "", extract_plain_text(text, main_content=shallow), charset
