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
_DOUBLED = {mark + mark: mark for mark in (START, END, HEADING, CODE, CODE_END, AFTER_LIST)}
_MARK = re.compile(f"[{START}{END}{HEADING}{CODE}{CODE_END}]")
_LINKED = re.compile(f"{START}[^{END}]*{END}?")
_TAG = re.compile(r"</?(?:[aA]|[hH][1-6]|[pP][rR][eE]|[uU][lL])(?=[\s>])[^<>]*>")
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
    return _TAG.sub(_beside, page)


def _beside(match: re.Match[str]) -> str:
    """A tag with its mark."""
    tag = match[0]
    kind = tag[1]
    if kind in "aA":
        return f"{tag}{START}{START}" if "href" in tag or "HREF" in tag.upper() else tag
    if kind in "hH":
        return f"{tag}{HEADING}{HEADING}"
    if kind in "uU":
        return f"<menu{' hidden' if _NAVIGATION.search(tag) else ''}{tag[3:]}"
    if kind in "pP":
        return f"{tag}{CODE}{CODE}"
    kind = tag[2]
    if kind in "aA":
        return f"{END}{END}{tag}"
    if kind in "uU":
        return f"</menu>{AFTER_LIST}{AFTER_LIST}"
    return f"{CODE_END}{CODE_END}{tag}" if kind in "pP" else tag


def single(text: str) -> str:
    """A text with every mark once, and without bullets that stand after a list."""
    for doubled, once in _DOUBLED.items():
        if doubled in text:
            text = text.replace(doubled, once)
    if AFTER_LIST in text:
        for bullet in "•◦▪‣":
            text = text.replace(f"{bullet} {AFTER_LIST}", "")
        text = text.replace(AFTER_LIST, "")
    return text


def read(lines: Iterable[str]) -> list[Line]:
    """Take the marks out of lines and say what they said; bare bullets are left out.

    Args:
        lines: lines without surrounding space, every mark once.
    """
    found: list[Line] = []
    code, link, opened = False, False, 0
    for line in lines:
        if not line or line in _BARE:
            continue
        first = _MARK.search(line)
        if first is None:
            if link and len(found) - opened >= _MAX_LINK_LINES:
                link = _unlink(found, opened)
            found.append(Line(line, link and not code, False, code))
            continue
        second = _MARK.search(line, 1) if line[0] == START and line[-1] == END else None
        if second and second.start() == len(line) - 1:  # most marked lines: one link and nothing else
            text, link = line[1:-1].strip(), False
            if text and text not in _BARE:
                found.append(Line(text, not code, False, code))
            continue
        text = _MARK.sub("", line)
        if "  " in text:
            text = _SPACES.sub(" ", text)
        text = text.strip()
        if HEADING in line:
            text = _PERMALINK.sub("", text)
        code_here = code or CODE in line
        if CODE in line or CODE_END in line:
            code = line.rfind(CODE) > line.rfind(CODE_END)
        starts, ends = line.rfind(START), line.rfind(END)
        linked = False
        if text and not code_here and (link or starts >= 0):
            outside = _MARK.sub("", _LINKED.sub("", START + line if link else line)).strip()
            linked = _is_linked(text, outside, line.count(START) + link)
        if starts > ends:
            opened = len(found)
        link = starts > ends or (link and ends < 0)
        if text and text not in _BARE:
            found.append(Line(text, linked, HEADING in line, code_here))
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
    if not outside:
        return True
    if outside.lstrip("・")[:1] in ":：" and len(outside) > 1:
        return False
    if _SYNTAX.search(outside):
        return False
    if links > 1:
        outside = _LABEL.sub("", outside, count=1)
    return len(_BESIDE.sub("", _DATE.sub("", outside))) <= (1 - MIN_LINKED) * len(text)
