"""Which lines of an extracted page are running text, and which are the page around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources

RUNNING, LINK, BOILERPLATE, OTHER = "running", "link", "boilerplate", "other"

LONG_LINE = 40
"""A line of this many characters with hiragana in it is running text even without a full stop (chosen by eye)."""
MAX_BOILERPLATE = 160
"""A longer line is never taken for boilerplate because of a word in it."""
MAX_CUT = 0.25
"""Largest share of a text's characters that its footer may be."""
_EDGE_LINES = 3
"""Lines at either end of a page among which notices about cookies and browsers stand."""
FOOTER_LINES = 10
"""Lines at the end of a text among which its footer is looked for (Swallow corpus v1)."""
FOOTER_SHARE = 0.3
"""A line is a footer if footer words cover more than this share of its characters (Swallow corpus v1)."""


def _entries(name: str) -> list[str]:
    text = resources.files("shikomi.corpus").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


_EDGE = re.compile(r"^[\W_]+|[\W_]+$")
_WHOLE_LINES = frozenset(line.lower() for line in _entries("page_lines.txt"))
_LONGEST_WHOLE_LINE = max(map(len, _WHOLE_LINES)) + 8
_WORDS = tuple(_entries("page_words.txt"))
_FOOTER_WORDS = tuple(sorted(_entries("footer_words.txt"), key=len, reverse=True))
_FOOTER_PATTERN = re.compile("|".join(map(re.escape, _FOOTER_WORDS)))

_STOP = re.compile("[。．！？]")
_KANA_OR_COMMA = re.compile("[\u3041-\u3096、，]")
_BREADCRUMB = re.compile(r"\s[>＞»›]\s|^[^。]{1,30}(?:[>＞»›][^。>＞»›]{1,40}){2,}$")
_ARROW = re.compile("[>＞»›]")
_SEPARATORS = re.compile(r"[\s|｜/・>＞»›•:：,、<＜«‹()（）\[\]]+")
_MARK = re.compile(r"[\s|｜/・>＞»›•、]")
_SPACED_SEPARATORS = re.compile(r"\s*[|｜/>＞»›•\t]\s*")
_DATE = re.compile(
    r"^(?:公開|更新|投稿|掲載|作成|最終)*日?時?[:：\s]*\d{2,4}\s*[-/.年]\s*\d{1,2}\s*[-/.月][\d\s日時分:()（）月火水木金土曜JST]*$"
)
_TABLE_OR_LIST = re.compile(r"^[・•*\-]|^\d+[.)．）]|\t|[:：]\s*\S")


def kind_of(line: str, anchors: frozenset[str] | set[str], words: Sequence[str] = _WORDS) -> str:
    """Say what a line is: ``running``, ``link``, ``boilerplate`` or ``other``.

    Args:
        line: one line without surrounding space.
        anchors: the texts of the page's links; a line made of nothing else is a link line.
        words: lower-case words that make a short line boilerplate.
    """
    length = len(line)
    if length <= MAX_BOILERPLATE:
        if words and any(word in line.lower() for word in words):
            return BOILERPLATE
        if length <= _LONGEST_WHOLE_LINE:
            plain = line if line[:1].isalnum() and line[-1:].isalnum() else _EDGE.sub("", line)
            if plain.lower() in _WHOLE_LINES:
                return BOILERPLATE
    if line in anchors:
        return LINK
    has_kana = _KANA_OR_COMMA.search(line) is not None
    if has_kana and _STOP.search(line):
        return RUNNING
    if length <= MAX_BOILERPLATE and ((_ARROW.search(line) and _BREADCRUMB.search(line)) or _only_links(line, anchors)):
        return LINK
    return RUNNING if has_kana and length >= LONG_LINE else OTHER


def _only_links(line: str, anchors: frozenset[str] | set[str]) -> bool:
    """Whether a line is two or more link texts between separators, with at most one other word in four."""
    if not _MARK.search(line):
        return False
    for separators in (_SEPARATORS, _SPACED_SEPARATORS):
        parts = [part for part in separators.split(line) if part]
        if len(parts) > 1 and (parts[-1] in anchors or parts[-2] in anchors):
            others = sum(part not in anchors for part in parts)
            if others <= len(parts) // 4:
                return True
    return False


def trim(lines: Sequence[str], anchors: frozenset[str] | set[str], title: str = "") -> list[str]:
    """Keep the running text of a page and what belongs to it.

    Boilerplate goes wherever it stands. Before the first line of running text only the title and the line directly
    above it (a heading) stay; after the last one only a list or table that follows at once; between them, three or
    more link lines in a row go.
    """
    whole = "\n".join(lines).lower()
    words = [word for word in _WORDS if word in whole]
    kinds = [kind_of(line, anchors, words) for line in lines]
    _acquit(lines, kinds)
    running = [index for index, kind in enumerate(kinds) if kind == RUNNING]
    if not running:
        return []
    first, last = running[0], running[-1]
    kept = []
    for index in range(first):
        heading = index == first - 1 and kinds[index] == OTHER and not _DATE.match(lines[index])
        if heading or (kinds[index] in (OTHER, LINK) and _in_title(lines[index], title)):
            kept.append(lines[index])
    kept += _between(lines[first : last + 1], kinds[first : last + 1])
    for index in range(last + 1, len(lines)):
        if kinds[index] != OTHER or not _TABLE_OR_LIST.search(lines[index]):
            break
        kept.append(lines[index])
    return kept


def _acquit(lines: Sequence[str], kinds: list[str]) -> None:
    """Take a sentence between two lines of running text for text, though it speaks of cookies; changes ``kinds``."""
    for index in range(_EDGE_LINES, len(lines) - _EDGE_LINES):
        around = kinds[index - 1] == kinds[index + 1] == RUNNING
        if around and kinds[index] == BOILERPLATE and lines[index].endswith("。"):
            kinds[index] = RUNNING


def _between(lines: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Lines from the first to the last running one, without boilerplate and without rows of links."""
    kept: list[str] = []
    row: list[str] = []
    for line, kind in zip(lines, kinds, strict=True):
        if kind == LINK:
            row.append(line)
            continue
        if len(row) < 3:
            kept += row
        row = []
        if kind != BOILERPLATE:
            kept.append(line)
    return kept


def _in_title(line: str, title: str) -> bool:
    return len(line) >= 4 and len(line) * 3 >= len(title) and line in title


def cut_footer(lines: Sequence[str]) -> list[str]:
    """Cut a text at the first footer line among its last ten, but never off more than a quarter of its characters.

    The limit is ours: in a text of few lines a heading such as 会社案内 would else cut everything after it.
    """
    start = max(0, len(lines) - FOOTER_LINES)
    tail = "\n".join(lines[start:]).lower()
    if not any(word in tail for word in _FOOTER_WORDS):
        return list(lines)
    total = sum(map(len, lines))
    for index in range(start, len(lines)):
        covered = sum(map(len, _FOOTER_PATTERN.findall(lines[index].lower())))
        if covered > FOOTER_SHARE * len(lines[index]) and sum(map(len, lines[index:])) <= MAX_CUT * total:
            return list(lines[:index])
    return list(lines)
