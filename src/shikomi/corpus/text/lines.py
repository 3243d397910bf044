"""Which lines of an extracted page are running text, and which are the page around it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import numpy as np

RUNNING, LINK, BOILERPLATE, OTHER = "running", "link", "boilerplate", "other"

LONG_LINE = 40
"""A line of this many characters with kana in it is running text even without a full stop (chosen by eye)."""
LONG_LATIN = 80
"""A line of this many characters that ends as a sentence does is running text on a page mostly of such lines."""
MAX_BOILERPLATE = 160
"""A longer line is never taken for boilerplate because of a word in it."""
MAX_CUT = 0.25
"""Largest share of a text's characters that its footer may be."""
_EDGE_LINES = 3
"""Lines at either end of a page among which notices about cookies and browsers stand."""
MAX_CODE = 400
"""A longer line is not looked at for the signs of code."""
MIN_ROW = 3
"""Lines of links that make a row: a menu, a list of other pages, a table of contents."""
_LONG_ROW = 5
_SHORT_LINE = 24
"""A line up to this length may be the heading of a row of links, or stand between its links."""
_GAP_ABOVE, _GAP_BELOW = 2, 3
"""Short lines without structure that may stand between the running text and the code, tables and headings around it."""
MIN_UNSPOKEN = 20
"""Characters that make a text of a page without a sentence."""
FOOTER_LINES = 10
"""Lines at the end of a text among which its footer is looked for (Swallow corpus v1)."""
FOOTER_SHARE = 0.3
"""A line is a footer if footer words cover more than this share of its characters (Swallow corpus v1)."""


def _entries(name: str) -> list[str]:
    text = resources.files("shikomi.corpus.text").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


_EDGE = re.compile(r"^[\W_]+|[\W_]+$")
_COMMON_EDGE = "・•|｜/／:：>＞»›-*【】[]「」()（）。… \t"
"""What mostly stands at the edges of lines; taken off first, as that takes a fifth of the time."""
_LINE_FEED = ord("\n")
_WHOLE_LINES = frozenset(line.lower() for line in _entries("page_lines.txt"))
_LONGEST_WHOLE_LINE = max(map(len, _WHOLE_LINES)) + 8
_FIRST_OF_WHOLE = frozenset(line[0] for line in _WHOLE_LINES)
_WORDS = tuple(_entries("page_words.txt"))
_MAY_HOLD_WORDS = re.compile(
    "|".join(dict.fromkeys(re.escape(word if word.isascii() else word[:5]) for word in _WORDS))
)
"""Found in one page of fourteen; where it is not, no word has to be looked for: a seventh of the time."""
_FOOTER_WORDS = tuple(sorted(_entries("footer_words.txt"), key=len, reverse=True))
_FOOTER_PATTERN = re.compile("|".join(map(re.escape, _FOOTER_WORDS)))

_KANA, _STOP, _ARROW, _KATAKANA, _DIGIT = 1, 2, 4, 8, 16
"""What characters in a line say of it: kana or a comma, a full stop, an arrow, katakana, a decimal digit."""
_SPOKEN = _KANA | _STOP
_KATAKANA_WORD = re.compile("[\u30a1-\u30fa]{2}|[\u3400-\u9fff][\u30a1-\u30fa][\u3400-\u9fff]")
_BREADCRUMB = re.compile(r"\s[>＞»›]\s|^[^。]{1,30}(?:[>＞»›][^。>＞»›]{1,40}){2,}$")
_CODE = re.compile(r"[{};$\\]|\(\)|::|->|^//|^#include\b|[=<>]=|\w\(.*\)|^\[?\w+@\w+|^</?\w+")
_ABOUT_THE_PAGE = re.compile(
    r"""^(?:[・*\-]\s*)?(?:(?:公開|更新|投稿|掲載|作成|最終|配信|登録)*(?:日時?|更新)?[:：\s]*
    (?:\d{2,4}\s*[-/.年]\s*\d{1,2}\s*[-/.月][\d\s日時分秒:()（）月火水木金土曜JSTAPM更新公開]*)
    |(?:カテゴリー?|タグ|関連タグ|キーワード|投稿者?|投稿日時?|公開日時?|更新日時?|最終更新日?時?|掲載日|著者|筆者|執筆者?|作成者|訪問者数
    |アクセス数|閲覧数|コメント数?|トラックバック|last\s(?:updated|modified)|posted\s(?:by|on|in)|tags?|categor(?:y|ies)|filed\sunder|author|by
    |tel|fax|e-?mail|電話(?:番号)?|住所|所在地|〒)\s*(?:[:：|｜(（\d].*|$)|[\d\s|｜]{6,})$""",
    re.IGNORECASE | re.VERBOSE,
)
_STRUCTURE = re.compile(r"^[・●○■□◆◇▼▲*\-]|^[(（]?\d+[.)．）]|^[①-⑳]|\t|[:：]\s*\S")


def _signs() -> np.ndarray:
    """The signs of every UTF-16 unit, uint8 [65536]."""
    table = np.zeros(0x10000, dtype=np.uint8)
    table[0x3041:0x3097] = _KANA
    table[[ord(mark) for mark in "、，"]] = _KANA
    table[[ord(mark) for mark in "。．！？"]] = _STOP
    table[[ord(mark) for mark in ">＞»›"]] = _ARROW
    table[0x30A1:0x30FB] = _KATAKANA
    table[ord("0") : ord("9") + 1] = table[ord("０") : ord("９") + 1] = _DIGIT
    return table


_SIGNS = _signs()


class Line(NamedTuple):
    """A line of an extracted page.

    Attributes:
        text: without surrounding space.
        linked: whether it is made of links.
        heading: whether it is a heading by its markup.
        code: whether it is preformatted by its markup.
    """

    text: str
    linked: bool = False
    heading: bool = False
    code: bool = False


def kind_of(line: Line) -> str:
    """Say what a line is: ``running``, ``link``, ``boilerplate`` or ``other``."""
    return _kinds([line.text], [line.linked], [line.code])[0][0]


def _kinds(texts: Sequence[str], linked: Sequence[bool], code: Sequence[bool]) -> tuple[list[str], list[int]]:
    """What the lines of a page are, and the signs in each."""
    whole = "\n".join(texts)
    lower = whole.lower()
    words = [word for word in _WORDS if word in lower] if _MAY_HOLD_WORDS.search(lower) else []
    signs = _signs_of(whole)
    kinds = []
    for text, low, sign, is_link, is_code in zip(texts, lower.split("\n"), signs, linked, code, strict=True):
        length = len(text)
        if length <= MAX_BOILERPLATE and not is_code:
            if words and any(word in low for word in words):
                kinds.append(BOILERPLATE)
                continue
            if length <= _LONGEST_WHOLE_LINE and _is_whole(low):
                kinds.append(BOILERPLATE)
                continue
        if is_link:
            kinds.append(LINK)
        elif sign & _SPOKEN == _SPOKEN:
            kinds.append(RUNNING)
        elif sign & _ARROW and length <= MAX_BOILERPLATE and _BREADCRUMB.search(text) and not _CODE.search(text):
            kinds.append(LINK)
        elif length >= LONG_LINE and (sign & _KANA or (sign & _KATAKANA and _KATAKANA_WORD.search(text))):
            kinds.append(RUNNING)
        else:
            kinds.append(OTHER)
    return kinds, signs


def _is_whole(line: str) -> bool:
    """Whether a line, in lower case, is one of those that are a page's own."""
    first = line[:1]
    if first in _FIRST_OF_WHOLE:
        return (line if line[-1].isalnum() else _EDGE.sub("", line)) in _WHOLE_LINES
    if first.isalnum() or not first:
        return False
    line = line.strip(_COMMON_EDGE)
    if not line[:1].isalnum() or not line[-1].isalnum():
        line = _EDGE.sub("", line)
    return line in _WHOLE_LINES


def _signs_of(whole: str) -> list[int]:
    """The signs of each line of a text."""
    units = np.frombuffer(whole.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    starts = np.zeros(1 + whole.count("\n"), dtype=np.intp)
    np.add(np.flatnonzero(units == _LINE_FEED), 1, out=starts[1:])
    signs = np.zeros(len(units) + 1, dtype=np.uint8)  # one more for an empty last line
    _SIGNS.take(units, out=signs[:-1], mode="clip")
    return np.bitwise_or.reduceat(signs, starts).tolist()


def trim(lines: Sequence[Line], title: str = "") -> list[str]:
    """Keep the running text of a page and what belongs to it.

    Boilerplate and rows of links go wherever they stand. Before the first line of running text stay the title, the
    line directly above it, and headings, code, lists and tables that lead up to it; after the last one, code, lists
    and tables that follow. A page without running text keeps what is no link, if that is most of it.
    """
    if not lines:
        return []
    texts, linked, headings, code = zip(*lines, strict=True)
    kinds, signs = _kinds(texts, linked, code)
    _acquit(texts, kinds)
    _drop_counting(texts, signs, kinds)
    rows = _drop_rows(lines, kinds)
    _drop_headings_of_nothing(headings, kinds)
    running = [index for index, kind in enumerate(kinds) if kind == RUNNING]
    latin = _latin(texts, code, kinds)
    if _size(lines, latin) > _size(lines, running):
        running = sorted(running + latin)
    running = _without_stragglers(running, rows, lines)
    if not running:
        return _unspoken(lines, kinds)
    first, last = running[0], running[-1]
    start, stop = _above(lines, kinds, first), _below(lines, kinds, last)
    headed = any(headings[start:first])
    titled = any(line.heading and _is_title(line, OTHER, title) for line in lines[start:first])
    kept = []
    if title and not titled:
        kept = [
            line.text
            for line, kind in zip(lines[:start], kinds, strict=False)
            if (line.heading or not headed) and _is_title(line, kind, title)
        ]
    kept += _about_the_text(texts, kinds, start, first)
    kept += [texts[index] for index in range(first, last + 1) if kinds[index] != BOILERPLATE]
    return kept + _about_the_text(texts, kinds, last + 1, stop)


def _about_the_text(texts: Sequence[str], kinds: Sequence[str], start: int, stop: int) -> list[str]:
    """Lines around the running text, without those about the page."""
    return [
        texts[index]
        for index in range(start, stop)
        if kinds[index] != BOILERPLATE and not _ABOUT_THE_PAGE.match(texts[index])
    ]


def _latin(texts: Sequence[str], code: Sequence[bool], kinds: Sequence[str]) -> list[int]:
    """Lines that end as sentences do in other scripts."""
    return [
        index
        for index, text in enumerate(texts)
        if len(text) >= LONG_LATIN and text[-1] in ".!?" and kinds[index] == OTHER and not code[index]
    ]


def _acquit(texts: Sequence[str], kinds: list[str]) -> None:
    """Take a sentence between two lines of running text for text, though it speaks of cookies; changes ``kinds``."""
    if BOILERPLATE not in kinds:
        return
    for index in range(_EDGE_LINES, len(kinds) - _EDGE_LINES):
        if kinds[index] == BOILERPLATE and kinds[index - 1] == kinds[index + 1] == RUNNING:
            kinds[index] = RUNNING if texts[index].endswith("。") else BOILERPLATE


def _drop_counting(texts: Sequence[str], signs: Sequence[int], kinds: list[str]) -> None:
    """Take lines that count up (numbers beside code, numbers of pages) for boilerplate; changes ``kinds``."""
    numbers = [
        index
        for index, sign in enumerate(signs)
        if sign == _DIGIT and len(texts[index]) < 6 and texts[index].isdecimal()
    ]
    start = 0
    for place in range(1, len(numbers) + 1):
        next_line = place < len(numbers) and numbers[place] == numbers[place - 1] + 1
        if next_line and int(texts[numbers[place]]) == int(texts[numbers[place - 1]]) + 1:
            continue
        if place - start >= MIN_ROW:
            for index in numbers[start:place]:
                kinds[index] = BOILERPLATE
        start = place


def _drop_rows(lines: Sequence[Line], kinds: list[str]) -> list[int]:
    """Take rows of links for boilerplate, with the short lines between them and the heading above; changes ``kinds``.

    Returns:
        Where long rows begin. A heading that is a link and in no row is a heading.
    """
    long_rows = []
    index, count, left = 0, len(kinds), kinds.count(LINK)
    while left:
        index = kinds.index(LINK, index)
        end, links, headings, together = index, 0, 0, 0
        for place in range(index, count):
            if kinds[place] == LINK:
                together = (together + 1 if place == end else 1) if lines[place].heading else 0
                links, headings = links + (not lines[place].heading), max(headings, together)
                end = place + 1
            elif place - end >= 2 or not _may_be_in_row(lines[place], kinds[place]):
                break
        left -= kinds[index:end].count(LINK)
        if max(links, headings) >= MIN_ROW:
            above = index - 1
            if above >= 0 and kinds[above] == OTHER and _may_be_in_row(lines[above], OTHER):
                kinds[above] = BOILERPLATE
            kinds[index:end] = [BOILERPLATE] * (end - index)
            if max(links, headings) >= _LONG_ROW:
                long_rows.append(index)
        else:
            for place in range(index, end):
                if kinds[place] == LINK and lines[place].heading:
                    kinds[place] = OTHER
        index = end
    return long_rows


def _drop_headings_of_nothing(headings: Sequence[bool], kinds: list[str]) -> None:
    """Take a heading for boilerplate if nothing else stands between it and the next heading; changes ``kinds``."""
    if not any(headings):
        return
    below = count = len(kinds)
    for index in range(count - 1, -1, -1):
        if kinds[index] == BOILERPLATE:
            continue
        if headings[index] and below > index + 1 and (below == count or headings[below]):
            kinds[index] = BOILERPLATE
        else:
            below = index


def _may_be_in_row(line: Line, kind: str) -> bool:
    if kind == BOILERPLATE:
        return True
    return kind == OTHER and len(line.text) <= _SHORT_LINE and not _is_structure(line)


def _is_structure(line: Line) -> bool:
    """Whether a line without a sentence is code, or an item of a list or table."""
    if line.code or _STRUCTURE.search(line.text):
        return True
    return len(line.text) <= MAX_CODE and _CODE.search(line.text) is not None


def _without_stragglers(running: list[int], rows: list[int], lines: Sequence[Line]) -> list[int]:
    """Leave out a sentence or two that stand alone after a long row of links, at the end of a page."""
    total = _size(lines, running)
    for row in reversed(rows):
        after = running[bisect_right(running, row) :]
        if len(after) > 2 or _size(lines, after) * 20 > total:
            break
        running = running[: len(running) - len(after)]
    return running


def _size(lines: Sequence[Line], indices: Sequence[int]) -> int:
    """Characters of some lines."""
    return sum([len(lines[index].text) for index in indices])


def _above(lines: Sequence[Line], kinds: Sequence[str], first: int) -> int:
    """The first line of what leads up to the running text."""
    start, plain = first, 0
    for index in range(first - 1, -1, -1):
        if kinds[index] != OTHER or plain > _GAP_ABOVE:
            break
        text = lines[index].text
        if _ABOUT_THE_PAGE.match(text):
            continue
        if lines[index].heading or _is_structure(lines[index]) or index == first - 1:
            start, plain = index, 0
        else:
            plain += 1
    return start


def _below(lines: Sequence[Line], kinds: Sequence[str], last: int) -> int:
    """The line after the last of what belongs to the running text."""
    stop, plain = last + 1, 0
    for index in range(last + 1, len(lines)):
        if kinds[index] == BOILERPLATE or plain > _GAP_BELOW:
            break
        text = lines[index].text
        if kinds[index] == OTHER and _is_structure(lines[index]) and not _ABOUT_THE_PAGE.match(text):
            stop, plain = index + 1, 0
        else:
            plain += 1
    return stop


def _unspoken(lines: Sequence[Line], kinds: Sequence[str]) -> list[str]:
    """What a page without a sentence has to say: what is no link and not about the page, if that is most of it; else
    its first heading with what follows at once."""
    kept = [
        line.text
        for line, kind in zip(lines, kinds, strict=True)
        if kind == OTHER and not _ABOUT_THE_PAGE.match(line.text)
    ]
    size = sum(map(len, kept))
    if size >= MIN_UNSPOKEN and size * 2 > sum(len(line.text) for line in lines):
        return kept
    start = next((index for index, line in enumerate(lines) if line.heading and not line.linked), len(lines))
    stop = start + 1
    while stop < len(lines) and kinds[stop] == OTHER:
        stop += 1
    return [line.text for line in lines[start:stop]]


def _is_title(line: Line, kind: str, title: str) -> bool:
    text = line.text
    return kind in (OTHER, LINK) and len(text) >= 4 and len(text) * 3 >= len(title) and text in title


def cut_footer(lines: Sequence[str]) -> list[str]:
    """Cut a text at the first footer line among its last ten, but never off more than a quarter of its characters.

    The limit is ours: in a text of few lines a heading such as 会社案内 would else cut everything after it.
    """
    start = max(0, len(lines) - FOOTER_LINES)
    tail = "\n".join(lines[start:]).lower()
    if not _FOOTER_PATTERN.search(tail):
        return list(lines)
    total = sum(map(len, lines))
    for index in range(start, len(lines)):
        covered = sum(map(len, _FOOTER_PATTERN.findall(lines[index].lower())))
        if covered > FOOTER_SHARE * len(lines[index]) and sum(map(len, lines[index:])) <= MAX_CUT * total:
            return list(lines[:index])
    return list(lines)
