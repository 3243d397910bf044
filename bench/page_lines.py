"""The visible lines of a page, from a plain walk over its tags: what labels by line count and extractors are scored on.

The walk is nobody's: the standard library's tag reader, no tree, no choice of content. A line ends at every block
element, table cell and line break, and at line ends inside ``pre``; what a browser does not show as text (scripts,
styles, form choices, readings of ruby) is left out. A change here moves line numbers: labels must then be made anew.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

BLOCKS = frozenset(
    re.findall(
        r"\w+",
        """address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption
        figure footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol p pre section
        summary table tbody td tfoot th thead tr ul""",
    )
)
HIDDEN = frozenset(
    re.findall(r"\w+", "script style noscript template select textarea title svg iframe object rt rp math audio video")
)


class _Walk(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[tuple[str, str]] = []
        self.path: list[str] = []
        self.hidden: list[str] = []
        self.pre = 0
        self.parts: list[str] = []
        self.linked = 0
        self.in_link = 0
        self.where = ""

    def end_line(self) -> None:
        text = " ".join("".join(self.parts).split())
        if text:
            share = "a" if self.linked * 2 > len(text.replace(" ", "")) else ""
            self.lines.append((text, f"{self.where}{'+' + share if share else ''}"))
        self.parts, self.linked = [], 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.hidden:
            if tag == self.hidden[-1]:
                self.hidden.append(tag)
            return
        if tag in HIDDEN:
            self.hidden.append(tag)
            return
        if tag in BLOCKS:
            self.end_line()
            if tag != "br":
                names = dict(attrs)
                name = names.get("id") or names.get("class") or ""
                self.where = f"{tag}.{name[:14]}" if name else tag
            self.pre += tag == "pre"
        self.in_link += tag == "a"

    def handle_endtag(self, tag: str) -> None:
        if self.hidden:
            if tag == self.hidden[-1]:
                self.hidden.pop()
            elif tag in {"body", "html"}:
                self.hidden.clear()
            return
        if tag in BLOCKS:
            self.end_line()
            self.pre = max(0, self.pre - (tag == "pre"))
        elif tag == "a":
            self.in_link = max(0, self.in_link - 1)

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        if self.pre and "\n" in data:
            first, *rest = data.split("\n")
            self._add(first)
            for piece in rest:
                self.end_line()
                self._add(piece)
        else:
            self._add(data)

    def _add(self, data: str) -> None:
        self.parts.append(data)
        if self.in_link:
            self.linked += len("".join(data.split()))


def walk(page: str) -> list[tuple[str, str]]:
    """The visible lines of a page with a hint where each stands (block element and its name, ``+a`` if it is links).

    Args:
        page: HTML text.
    """
    walker = _Walk()
    walker.feed(page)
    walker.close()
    walker.end_line()
    return walker.lines


def visible_lines(page: str) -> list[str]:
    """The visible lines of a page; line numbers in the labels count from 1 in this list."""
    return [text for text, _ in walk(page)]
