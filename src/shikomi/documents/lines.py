"""Text as passages have it: one paragraph a line; and the lines of a printed page put back together."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter

_SPACES = re.compile(r"[ \t\u00a0\u3000\u2000-\u200b\ufeff]{2,}|[\t\u00a0\u3000\u2000-\u200b\ufeff]")
_NO_CHARACTER = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff\ufffc-\uffff]"
)
_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_APART = re.compile("[\u304b-\u30ff][\u3099\u309a]")
_WIDE = "\u2e80-\u2fdf\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60"
_SPACED = re.compile(f"(?<=[{_WIDE}]) (?=[{_WIDE}])")
_WIDE_PAIR = re.compile(f"[{_WIDE}] ?(?=[{_WIDE}])")
_ENDS = tuple("。．！？!?」』】：:")
_INDENT = "\u3000"
_STARTS = re.compile(
    r"[・●○■□◆◇▲△▼▽◎※☆★①-⑳⑴-⒇•◦‣▪–—*]|[（(]?[0-9０-９一二三四五六七八九十]{1,3}[)）.．、](?![0-9０-９])|第[0-9０-９一二三四五六七八九十]+[章節条項]|【"
)
_DIGITS = re.compile("[0-9０-９]+")
_AROUND = "-–—－ー‐ \u3000"
_PAGE_NUMBER = re.compile(
    rf"[{_AROUND}\[（(]*(?:p\.?|page)?\s*[0-9０-９ivxlc]{{1,5}}(?:\s*/\s*[0-9０-９]{{1,5}})?[{_AROUND}\])）]*",
    re.IGNORECASE,
)
FULL_LINE = 0.8
"""A line at least this long, against the longest of its page, goes on in the next one unless it ends a sentence."""
MIN_FULL_LINE = 10
"""Characters below which a page's longest line is no measure: a list or a table of short words."""
RUNNING_SHARE = 0.6
"""A first or last line that stands on this share of the pages (its digits aside) is a running head or foot."""


def tidy(text: str) -> str:
    """One paragraph a line: line ends made ``\\n``, what is no character taken out, spaces single, no empty lines.

    Voicing marks that stand apart from their kana (as macOS writes them) are joined to it.
    """
    if "\u3099" in text or "\u309a" in text:
        text = _APART.sub(lambda match: unicodedata.normalize("NFC", match[0]), text)
    text = _NO_CHARACTER.sub("", _BREAKS.sub("\n", text))
    lines = map(str.strip, _SPACES.sub(" ", text).split("\n"))
    return "\n".join(line for line in lines if line)


def one_line(text: str, characters: int = 300) -> str:
    """A title or name on one line, cut to a length."""
    return " ".join(tidy(text).split())[:characters]


def close_up(line: str) -> str:
    """Take out the spaces that letter-spaced Japanese type leaves between characters (``決 算 報 告``)."""
    if " " not in line:
        return line
    spaced = len(_SPACED.findall(line))
    return _SPACED.sub("", line) if spaced * 3 > len(_WIDE_PAIR.findall(line)) else line


def reflow(lines: list[str], longest: int = 0) -> tuple[list[str], bool]:
    """Put printed lines together to paragraphs; returns them, and whether the last goes on beyond these lines.

    A line goes on in the next if it is nearly as long as the page's longest, and the next does not start like an item
    of a list. Where paragraphs start with a space of a character's width, that decides; else the end of a sentence
    at the end of a line ends its paragraph. Between Latin letters a space joins lines, or a hyphen goes.

    Args:
        lines: of one page, in reading order, spaces at their starts left in place.
        longest: characters of a full line; 0: of the longest here.
    """
    longest = longest or max(map(len, lines), default=0)
    indents = sum(line.startswith(_INDENT) for line in lines) >= 2
    paragraphs: list[str] = []
    goes_on = False
    for raw in lines:
        line = close_up(raw.strip())
        if not line:
            continue
        if goes_on and not (raw.startswith(_INDENT) or _STARTS.match(line)):
            paragraphs[-1] = join(paragraphs[-1], line)
        else:
            paragraphs.append(line)
        full = longest >= MIN_FULL_LINE and len(raw) >= FULL_LINE * longest
        goes_on = full and (indents or not line.endswith(_ENDS))
    return paragraphs, goes_on


def join(first: str, second: str) -> str:
    """Two printed lines as one."""
    if first.endswith("-") and first[-2:-1].isalpha() and second[:1].islower():
        return first[:-1] + second
    latin = first[-1:].isascii() and second[:1].isascii()
    return f"{first} {second}" if latin else first + second


def unwrap(text: str) -> str:
    """A text whose line ends mean nothing (wrapped source) on one line: no space between Japanese characters."""
    lines = [line for line in (" ".join(line.split()) for line in text.split("\n")) if line]
    return functools.reduce(join, lines) if lines else ""


def drop_running_lines(pages: list[list[str]]) -> list[list[str]]:
    """Take page numbers off, and heads and feet that stand on most of the pages (of at least three).

    Args:
        pages: lines of each page.
    """
    pages = [_without_number(lines) for lines in pages]
    filled = sum(bool(lines) for lines in pages)
    if filled < 3:
        return pages
    for end in (0, -1):
        seen = Counter(_DIGITS.sub("0", lines[end]) for lines in pages if lines)
        running = {line for line, count in seen.items() if count >= 3 and count >= RUNNING_SHARE * filled}
        for lines in pages:
            if lines and _DIGITS.sub("0", lines[end]) in running:
                del lines[end]
    return pages


def _without_number(lines: list[str]) -> list[str]:
    lines = list(lines)
    for end in (-1, 0):
        if lines and _PAGE_NUMBER.fullmatch(lines[end]):
            del lines[end]
    return lines
