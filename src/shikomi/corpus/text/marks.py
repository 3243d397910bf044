"""Marks that go through extraction within the text and say, line by line, where links, headings and code stand.

The extractor gives text only; whether a line is a link or a heading is in the markup. Before it runs, characters that
no page uses are set at the start and end of links and preformatted text and at the start of headings; afterwards they
are read and taken out. Lists are prepared too, so that the extractor does not drop what only looks like navigation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shikomi.corpus.text.lines import Line

START, END, HEADING, CODE, CODE_END, AFTER_LIST = "\u2062", "\u2063", "\u2064", "\u206a", "\u206b", "\u206c"
"""Each is set twice: resiliparse takes a text node of one character that is not ASCII for an icon and drops it.

``AFTER_LIST`` stands only at the start of a line and is taken out before lines are read."""
_MARK = re.compile(f"[{START}{END}{HEADING}{CODE}{CODE_END}]")
_LINKED = re.compile(f"{START}[^{END}]*{END}?")
_STARTED, _ENDED, _HEADED, _CODE_STARTED, _CODED = (mark * 2 for mark in (START, END, HEADING, CODE, CODE_END))
_LISTED = f"</menu>{AFTER_LIST}{AFTER_LIST}"
_TAG = re.compile(  # one class of letters first: most tags are none of these, and go by it at once
    r"(</?[aAhHpPuU](?:(?<=[aA])|(?<=[hH])[1-6]|(?<=[pP])[rR][eE]|(?<=[uU])[lL])(?:\s[^<>]*)?>)"
)
_MAX_LINK_LINES = 6
"""Lines that a link may go over; one that goes further was never closed."""

# resiliparse drops a list if a fifth of its text is links, be they in the midst of sentences; a <menu> it keeps. What
# is made of links only goes later, by line. A list that its markup calls navigation is hidden, so that it is dropped.
# What follows a <menu> gets a bullet: a mark is set there to bear it.
_NAVIGATION = re.compile(
    r"""(?:class|id)\s*=\s*["']?[^"'>]*(?<![a-z])
    (?:nav|menu|bread|crumb|topic-?path|share|sns|social|pager|pagin|foot|side|relat|recommend|ranking|archive|lang)""",
    re.IGNORECASE | re.VERBOSE,
)
_DATE = re.compile(r"\d{1,4}\s?[-/.年]\s?\d{1,2}(?:\s?[-/.月]\s?\d{0,4}日?)?|\d{1,2}[:：]\d\d|[(（]\d+件?[)）]")
_HAS_DIGIT = re.compile(r"\d")
_BARE = frozenset("・-*|｜/>＞»:：")
"""Characters that say nothing as a line of their own: bullets without text, separators without links."""
_SPACES = re.compile(" {2,}")
_BESIDE = re.compile(r"[\W_]+")
"""What stands between links and does not make a line text."""
_PERMALINK = re.compile(r"^[#§]\s+|\s*[¶§#]$")
"""The sign beside a heading that links to the heading itself."""
_LABEL = re.compile(r"^[^:：]{1,24}[:：]")
_SYNTAX = re.compile(r"[;{}=#]")
MIN_LINKED = 0.75
"""Share of a line's characters, dates and separators apart, that makes it a line of links (chosen by eye)."""


def mark(page: str) -> str:
    """Set the marks.

    Args:
        page: HTML text.
    """
    parts = _TAG.split(page)  # every second part is a tag
    parts[1::2] = map(_beside, parts[1::2])
    return "".join(parts)


def _beside(tag: str) -> str:
    """A tag with its mark."""
    kind = tag[1]
    if kind == "/":
        kind = tag[2]
        if kind in "aA":
            return _ENDED + tag
        if kind in "uU":
            return _LISTED
        return f"{_CODED}{tag}" if kind in "pP" else tag
    if kind in "aA":
        return tag + _STARTED if "href" in tag or "HREF" in tag.upper() else tag
    if kind in "hH":
        return tag + _HEADED
    if kind in "uU":
        return f"<menu{' hidden' if len(tag) > 4 and _NAVIGATION.search(tag) else ''}{tag[3:]}"
    return tag + _CODE_STARTED


def without_bullets(text: str) -> str:
    """A text without the bullets that stand after a list, nor the marks that say so."""
    if AFTER_LIST in text:
        text = text.replace(AFTER_LIST + AFTER_LIST, AFTER_LIST)
        for bullet in "•◦▪‣":
            text = text.replace(f"{bullet} {AFTER_LIST}", "")
        text = text.replace(AFTER_LIST, "")
    return text


def read(lines: Sequence[str]) -> list[Line]:
    """Take the marks out of lines and say what they said; bare bullets are left out.

    Args:
        lines: lines without surrounding space.
    """
    found: list[Line] = []
    code, link, opened = False, False, 0
    bare = _MARK.sub("", "\n".join(lines)).split("\n") if lines else []
    for line, text in zip(lines, bare, strict=True):
        if len(text) == len(line):  # without marks
            if len(text) < 2 and (not text or text in _BARE):
                continue
            if link and len(found) - opened >= _MAX_LINK_LINES:
                link = _unlink(found, opened)
            found.append(Line(text, link and not code, False, code))
            continue
        if "  " in text:
            text = _SPACES.sub(" ", text)
        text = text.strip()
        heading = HEADING in line
        if heading:
            text = _PERMALINK.sub("", text)
        code_here = code
        if CODE in line or CODE_END in line:
            code_here = code or CODE in line
            code = line.rfind(CODE) > line.rfind(CODE_END)
        starts, linked = line.rfind(START), False
        if starts < 0 and not link:  # most marked lines: the end of what was no link, or a heading
            if text and text not in _BARE:
                found.append(Line(text, False, heading, code_here))
            continue
        ends = line.rfind(END)
        if text and not code_here:
            outside = _MARK.sub("", _LINKED.sub("", START + line if link else line)).strip()
            linked = not outside or _is_linked(text, outside, (line.count(START) + 1) // 2 + link)
        if starts > ends:
            opened = len(found)
        link = starts > ends or (link and ends < 0)
        if text and text not in _BARE:
            found.append(Line(text, linked, heading, code_here))
    if link:
        _unlink(found, opened)
    return found


def _unlink(found: list[Line], opened: int) -> bool:
    """Take lines from one on for no links: the link that began there was never closed."""
    found[opened:] = [line._replace(linked=False) for line in found[opened:]]
    return False


def _is_linked(text: str, outside: str, links: int) -> bool:
    """Whether a line is made of links: what stands beside them is next to nothing, or a label before several.

    What follows a link after a colon is a value, and what holds brackets of code is code.
    """
    beside = _LABEL.sub("", outside, count=1) if links > 1 else outside
    most = (1 - MIN_LINKED) * len(text)
    long = len(_BESIDE.sub("", beside)) > most
    if long and (not _HAS_DIGIT.search(beside) or len(_BESIDE.sub("", _DATE.sub("", beside))) > most):
        return False
    if outside.lstrip("・")[:1] in ":：" and len(outside) > 1:
        return False
    return not _SYNTAX.search(outside)
