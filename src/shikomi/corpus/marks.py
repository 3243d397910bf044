"""Marks that go through extraction within the text and say, line by line, where links, headings and code stand.

The extractor gives text only; whether a line is a link or a heading is in the markup. Before it runs, characters that
no page uses are set at the start and end of links and preformatted text and at the start of headings; afterwards they
are read and taken out. Lists are prepared too, so that the extractor does not drop what only looks like navigation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shikomi.corpus.lines import Line

START, END, HEADING, CODE, CODE_END, AFTER_LIST = "\u2062", "\u2063", "\u2064", "\u206a", "\u206b", "\u206c"
"""Each is set twice: resiliparse takes a text node of one character that is not ASCII for an icon and drops it.

``AFTER_LIST`` stands only at the start of a line and is taken out before lines are read."""
_MARK = re.compile(f"[{START}{END}{HEADING}{CODE}{CODE_END}]")
_LINK_TAG = re.compile(r"(<[aA]\s[^<>]*?\b[hH][rR][eE][fF]\b[^<>]*>)")
_LINK_END = re.compile(r"</[aA]\s*>")
_HEADING_TAG = re.compile(r"(<[hH][1-6](?=[\s>])[^<>]*>)")
_CODE_TAG = re.compile(r"(<[pP][rR][eE](?=[\s>])[^<>]*>)")
_CODE_END = re.compile(r"</[pP][rR][eE]\s*>")
_MAX_LINK_LINES = 6
"""Lines that a link may go over; one that goes further was never closed."""

# resiliparse drops a list if a fifth of its text is links, be they in the midst of sentences; a <menu> it keeps. What
# is made of links only goes later, by line. A list that its markup calls navigation is hidden, so that it is dropped.
# What follows a <menu> gets a bullet: a mark is set there to bear it.
_LIST_TAG = re.compile(r"<[uU][lL](?=[\s>])([^<>]*)>")
_LIST_END = re.compile(r"</[uU][lL]\s*>")
_NAVIGATION = re.compile(
    r"""(?:class|id)\s*=\s*["']?[^"'>]*(?<![a-z])
    (?:nav|menu|bread|crumb|topic-?path|share|sns|social|pager|pagin|foot|side|relat|recommend|ranking|archive|lang)""",
    re.IGNORECASE | re.VERBOSE,
)
_DATE = re.compile(r"\d{1,4}\s?[-/.年]\s?\d{1,2}(?:\s?[-/.月]\s?\d{0,4}日?)?|\d{1,2}[:：]\d\d|[(（]\d+件?[)）]")
_BESIDE = re.compile(r"[\W_]+")
"""What stands between links and does not make a line text."""
_LABEL = re.compile(r"^[^:：]{1,24}[:：]")
_SYNTAX = re.compile(r"[;{}=#]")
MIN_LINKED = 0.75
"""Share of a line's characters, dates and separators apart, that makes it a line of links (chosen by eye)."""


def mark(page: str) -> str:
    """Set the marks.

    Args:
        page: HTML text.
    """
    page = _LIST_END.sub(f"</menu>{AFTER_LIST}{AFTER_LIST}", _LIST_TAG.sub(_menu, page))
    page = _LINK_END.sub(f"{END}{END}</a>", _LINK_TAG.sub(f"\\1{START}{START}", page))
    page = _CODE_END.sub(f"{CODE_END}{CODE_END}</pre>", _CODE_TAG.sub(f"\\1{CODE}{CODE}", page))
    return _HEADING_TAG.sub(f"\\1{HEADING}{HEADING}", page)


def _menu(match: re.Match[str]) -> str:
    return f"<menu{' hidden' if _NAVIGATION.search(match[1]) else ''}{match[1]}>"


def read(lines: Iterable[str]) -> list[Line]:
    """Take the marks out of lines and say what they said; lines without text are left out.

    Args:
        lines: lines without surrounding space.
    """
    found: list[Line] = []
    code, link, opened = False, False, 0
    for line in lines:
        if not line:
            continue
        if _MARK.search(line) is None:
            if link and len(found) - opened >= _MAX_LINK_LINES:
                link = _unlink(found, opened)
            found.append(Line(line, linked=link and not code, code=code))
            continue
        text, outside, links, link_after = _apart(line, link)
        code_here = code or CODE in line
        if CODE in line or CODE_END in line:
            code = line.rfind(CODE) > line.rfind(CODE_END)
        if link_after and (not link or START in line):
            opened = len(found)
        link = link_after
        if text:
            linked = links > 0 and not code_here and _is_linked(text, outside, links)
            found.append(Line(text, linked, HEADING in line, code_here))
    if link:
        _unlink(found, opened)
    return found


def _unlink(found: list[Line], opened: int) -> bool:
    """Take lines from one on for no links: the link that began there was never closed."""
    found[opened:] = [line._replace(linked=False) for line in found[opened:]]
    return False


def _apart(line: str, link: bool) -> tuple[str, str, int, bool]:
    """A line's text, its text outside links, its number of links, and whether its end is inside one."""
    outside, pieces = [], []
    links, position = int(link), 0
    for found in _MARK.finditer(line):
        piece = line[position : found.start()]
        pieces.append(piece)
        if not link:
            outside.append(piece)
        position = found.end()
        if found[0] == START:
            links += not link
            link = True
        elif found[0] == END:
            link = False
    pieces.append(line[position:])
    if not link:
        outside.append(line[position:])
    text = "".join(pieces)
    if "  " in text:
        text = re.sub(" {2,}", " ", text)
    return text.strip(), "".join(outside).strip(), links, link


def _is_linked(text: str, outside: str, links: int) -> bool:
    """Whether a line is made of links: what stands beside them is next to nothing, or a label before several.

    What follows a link after a colon is a value, and what holds brackets of code is code.
    """
    if not outside:
        return True
    if outside.lstrip("・")[:1] in ":：" and len(outside) > 1:
        return False
    if _SYNTAX.search(outside):
        return False
    if links > 1:
        outside = _LABEL.sub("", outside, count=1)
    return len(_BESIDE.sub("", _DATE.sub("", outside))) <= (1 - MIN_LINKED) * len(text)
