"""PDF files to passages, one a page: text in reading order, horizontal or vertical, printed lines joined again.

pdfium (Apache-2.0 and BSD-3-Clause) was chosen over pypdf and pdfminer.six on 18 Japanese files made for it (ADR 0012):
it knows the CMaps of Adobe-Japan1, maps the radicals that fonts name instead of kanji, and takes a tenth of the time.
"""

from __future__ import annotations

import ctypes
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shikomi.documents.lines import drop_running_lines, one_line, reflow, tidy
from shikomi.documents.passage import Limits, Passage, Unreadable

MAX_UNMAPPED = 0.1
"""Share of glyphs without a character from which a page is not read. (Ours: what is missing would be words.)"""
MAX_DAMAGED = 0.02
"""Share of damaged pages that are passed over; with more the file is damaged. (Ours: one page of a report of 50.)"""
VERTICAL_SHARE = 0.5
"""A page is vertical if more than this share of the steps from a character to the next go down, not across."""
READING_SIZE = 0.6
"""Type smaller than this, against the page's usual, is a reading's if it is all kana (readings have half the size)."""
_KANA = re.compile("[\u3041-\u30ff ]+")
_UNMAPPED = re.compile("[\ue000-\uf8ff\ufffd\ufffe\uffff\x00-\x08]")
_DATE = re.compile(r"D?:?(\d{4})(\d\d)?(\d\d)?(?:(\d\d)(\d\d)(\d\d)?)?")
_SIGN_STEPS = 400
"""Steps between characters that are looked at to tell vertical type."""
_MADE_BY = re.compile("^Microsoft (?:Word|PowerPoint|Excel) - ")
_NO_TITLE = ("untitled", "無題", "名称未設定")
_LEADING = re.compile("^[ \t]+")


def read_pdf(path: Path, limits: Limits) -> Iterator[Passage]:
    """The pages of a PDF that have text.

    Raises:
        Unreadable: damaged, ``password``, ``too_many_pages``, ``no_text``, ``unmapped_glyphs``, ``too_much_text``.
    """
    import pypdfium2 as pdfium

    if path.stat().st_size > limits.file_bytes:
        raise Unreadable("too_large", f"more than {limits.file_bytes} bytes")
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        raise _refused(error) from error
    with document:
        if len(document) > limits.pages:
            raise Unreadable("too_many_pages", f"{len(document)} > {limits.pages}")
        title, date = _about(document)
        pages = [_page_lines(document, number, limits) for number in range(len(document))]
        damaged = [number for number, lines in enumerate(pages, start=1) if lines is None]
        if len(damaged) > MAX_DAMAGED * len(pages):
            raise Unreadable("damaged", f"{len(damaged)} of {len(pages)} pages", f"page={damaged[0]}")
    yield from _passages(pages, title, date)


def _refused(error: Exception) -> Unreadable:
    told = str(error)
    if "password" in told.lower() or "security" in told.lower():
        return Unreadable("password", "encrypted")
    return Unreadable("damaged", told[:200])


def _about(document: Any) -> tuple[str, str]:
    try:
        about = document.get_metadata_dict()
    except (UnicodeDecodeError, ValueError):
        return "", ""
    title = _MADE_BY.sub("", one_line(about.get("Title", "")))
    return ("" if title in _NO_TITLE else title), iso_date(about.get("CreationDate", ""))


def iso_date(text: str) -> str:
    """A PDF's date (``D:20240501093000+09'00'``) in ISO 8601, without its zone; empty if it is none."""
    match = _DATE.match(text.strip())
    if not match:
        return ""
    year, month, day, hour, minute, second = match.groups()
    if not ("1900" <= year <= "2100" and "01" <= (month or "01") <= "12" and "01" <= (day or "01") <= "31"):
        return ""
    date = "-".join(part for part in (year, month, day if month else None) if part)
    return f"{date}T{hour}:{minute}:{second or '00'}" if day and hour else date


def _page_lines(document: Any, number: int, limits: Limits) -> list[str] | None:
    """Printed lines of a page, in reading order; None if it is damaged."""
    import pypdfium2 as pdfium

    try:
        page = document[number]
        try:
            textpage = page.get_textpage()
            try:
                count = textpage.count_chars()
                if count > limits.characters:
                    raise Unreadable("too_much_text", f"more than {limits.characters} characters", f"page={number + 1}")
                text = textpage.get_text_range() if count else ""
                lines = _vertical(textpage, count) if count and _is_vertical(textpage, count) else None
            finally:
                textpage.close()
        finally:
            page.close()
    except pdfium.PdfiumError:
        return None
    if len(_UNMAPPED.findall(text)) > MAX_UNMAPPED * len(text):
        raise Unreadable("unmapped_glyphs", "its fonts do not say which characters they draw", f"page={number + 1}")
    return lines if lines is not None else re.split("\r\n|[\r\n\v\f\u2028]", text)


def _boxes(textpage: Any, indices: range) -> Iterator[tuple[float, float, float, float]]:
    """``(left, bottom, right, top)`` of characters, in points."""
    import pypdfium2.raw as raw

    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    for index in indices:
        raw.FPDFText_GetCharBox(textpage.raw, index, left, right, bottom, top)
        yield left.value, bottom.value, right.value, top.value


def _is_vertical(textpage: Any, count: int) -> bool:
    """Whether characters follow each other downwards."""
    down = across = 0
    before = None
    for box in _boxes(textpage, range(min(count, _SIGN_STEPS))):
        if box[2] - box[0] <= 0 and box[3] - box[1] <= 0:
            continue
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        if before:
            step = (abs(middle[0] - before[0]), before[1] - middle[1])
            down += step[1] > 2 * step[0]
            across += step[0] > 2 * abs(step[1])
        before = middle
    return down > VERTICAL_SHARE * (down + across) and down >= 5


@dataclass
class _Column:
    """A line of vertical type: its text, its box in points, the middle of its first character, its type's size."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    middle: float
    size: float


def _vertical(textpage: Any, count: int) -> list[str]:
    """Columns of a vertical page, from right to left, tier by tier (pdfium gives them from left to right); no readings.

    A reading is a column of kana alone in type of half the size, beside the words it reads.
    """
    columns = _columns(textpage, count)
    usual = statistics.median(column.size for column in columns) if columns else 0.0
    columns = [
        column for column in columns if column.size > READING_SIZE * usual or not _KANA.fullmatch(column.text.strip())
    ]
    return [column.text for tier in _tiers(columns) for column in sorted(tier, key=lambda each: -each.middle)]


def _columns(textpage: Any, count: int) -> list[_Column]:
    """Characters put together as long as the next stands below the one before."""
    import pypdfium2.raw as raw

    columns: list[_Column] = []
    space = ""
    for index, (left, bottom, right, top) in enumerate(_boxes(textpage, range(count))):
        character = chr(raw.FPDFText_GetUnicode(textpage.raw, index))
        size = max(right - left, top - bottom)
        if character.isspace() or size <= 0:  # a space's box says nothing of its place
            space += character if character in " \u3000" else ""
            continue
        middle = (left + right) / 2
        column = columns[-1] if columns else None
        if (
            column
            and abs(middle - column.middle) <= 0.6 * column.size
            and column.bottom - 2 * column.size <= top
            and bottom < column.top
        ):
            column.text += space + character
            column.left, column.bottom = min(column.left, left), min(column.bottom, bottom)
            column.right, column.top = max(column.right, right), max(column.top, top)
            column.size = max(column.size, size)
        else:
            indent = "\u3000" if "\u3000" in space else ""
            columns.append(_Column(indent + character, left, bottom, right, top, middle, size))
        space = ""
    return columns


def _tiers(columns: list[_Column]) -> list[list[_Column]]:
    """Columns in tiers from top to bottom: a tier is what overlaps in height."""
    tiers: list[list[_Column]] = []
    lowest = 0.0
    for column in sorted(columns, key=lambda each: -each.top):
        if tiers and column.top > lowest:
            tiers[-1].append(column)
            lowest = min(lowest, column.bottom)
        else:
            tiers.append([column])
            lowest = column.bottom
    return tiers


def _passages(pages: Sequence[list[str] | None], title: str, date: str) -> Iterator[Passage]:
    cleaned = [[line for line in (_clean(line) for line in lines or ()) if line.strip()] for lines in pages]
    if not any(cleaned):
        raise Unreadable("no_text", f"{len(pages)} pages without a text layer")
    cleaned = drop_running_lines(cleaned)
    lengths = sorted(len(line) for lines in cleaned for line in lines)
    usual = lengths[int(0.95 * (len(lengths) - 1))] if lengths else 0
    for number, lines in enumerate(cleaned, start=1):
        paragraphs, goes_on = reflow(lines, min(usual, max(map(len, lines), default=0)))
        if paragraphs:
            yield Passage("\n".join(paragraphs), title, f"page={number}", date, "pdf", goes_on=goes_on)


def _clean(line: str) -> str:
    """A line tidied, its indent of a character's width kept: it says where a paragraph starts."""
    indent = "\u3000" if line.startswith("\u3000") else ""
    return indent + tidy(_LEADING.sub("", line)).replace("\n", " ")
