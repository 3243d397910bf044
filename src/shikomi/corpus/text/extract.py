"""From a page's HTML to its running text, one paragraph a line."""

from __future__ import annotations

import html
import itertools
import re
import unicodedata

from resiliparse.extract.html2text import extract_plain_text

from shikomi.corpus.text import second_opinion
from shikomi.corpus.text.japanese import normalise_punctuation
from shikomi.corpus.text.lines import Line, cut_footer, trim
from shikomi.corpus.text.marks import mark, read, without_bullets

_TITLE = re.compile(r"<title[^>]*>([^<]{1,500})", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_ODD_SPACES = "\u00a0\u3000\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\ufeff"
_SPACES = re.compile("  +")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\u2060\ufffd]")
_BULLET = re.compile("^[•◦▪‣] ?")
_HAS_BULLET = re.compile("[•◦▪‣]")

# resiliparse takes a text node of one character that is not ASCII for an icon and drops it; in Japanese it is often a
# particle between two links or two words in bold. Such a node is made two characters long and mended afterwards.
_LONE_CHARACTER = re.compile(
    ">(\\s*[々〇〻\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff9f\u2010-\u2026℃]\\s*)(?=<)"
)
_JOINER = "\u2060"
MAX_DEPTH = 2000
"""Depth of elements from which all text is taken instead of the main content; browsers stop at 512.

measured: depth 2,000 takes 0.1 s of CPU, 4,000 takes 0.4 s, 10,000 more than 20 s.
"""
_MIN_STOPS, _FEW_STOPS, _MORE_STOPS = 10, 0.2, 2
"""A page with the first number of full stops, of which less than this share is in its main content, is doubted (its
text may be hidden until a script shows it): all of it is read, and taken if it has this many times as many."""
_NESTING_TAG = re.compile(
    "<(/?)(?!/?(?:br|img|hr|input|meta|link|area|base|col|embed|source|track|wbr|param|p|li|dt|dd|option)\\b)[a-z]",
    re.IGNORECASE,
)
_NEVER_NESTING = ("</", "<br>", "<br ", "<br/>", "<img ", "<p>", "<li>", "<dt>", "<dd>")
"""Tags that surely open nothing that counts."""
_CALLED_COMMENT = re.compile("(?:id|class)\\s*=\\s*[\"'][^\"'>]*(?:comment|reply|replies)", re.IGNORECASE)
_READINGS = ["rt", "rp"]
"""Elements that repeat a word in kana (ruby); their text stands beside the word it reads."""


def extract_lines(page: str, *, comments: bool = False, main_content: bool = True) -> list[Line]:
    """Main content of a page as lines without surrounding space; empty lines are left out.

    Args:
        page: HTML text.
        comments: take also what the page's markup calls comments and replies.
        main_content: leave out what the page's markup calls navigation, footer and the like.

    Raises:
        ValueError, RuntimeError: the parser gave up on the page.
    """
    cut = page.rfind("<")
    if page.find(">", cut) < 0:  # cut off in the middle of a tag
        page = page[:cut] if cut >= 0 else page
    page = _LONE_CHARACTER.sub(f">\\1{_JOINER}", page)
    text = extract_plain_text(
        mark(page),
        main_content=main_content and not _is_deep(page),
        alt_texts=False,
        comments=comments,
        form_fields=False,
        noscript=False,
        skip_elements=_READINGS if "<ruby" in page else None,
    )
    text = _CONTROL.sub("", text.replace("\r", "\n"))
    text = _single_spaces(without_bullets(text))
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    return read([_BULLET.sub("・", line) for line in lines] if _HAS_BULLET.search(text) else lines)


def _single_spaces(text: str) -> str:
    """A text with spaces of every kind as single spaces, and as one tab where there is a tab among them."""
    for space in _ODD_SPACES:
        if space in text:
            text = text.replace(space, " ")
    text = _SPACES.sub(" ", text)
    if "\t" in text:
        text = text.replace(" \t", "\t").replace("\t ", "\t")
        while "\t\t" in text:
            text = text.replace("\t\t", "\t")
    return text


def _is_deep(page: str) -> bool:
    """Whether elements are nested so deep that the search for the main content takes seconds (it is quadratic)."""
    tags = page.count("<")
    for never in _NEVER_NESTING:
        if tags < MAX_DEPTH:
            return False
        tags -= page.count(never)
    if tags < MAX_DEPTH:
        return False
    steps = (-1 if closing else 1 for closing in _NESTING_TAG.findall(page))
    return max(itertools.accumulate(steps), default=0) > MAX_DEPTH


def plain_text(text: str, *, punctuation: bool = True, footer: bool = True) -> str:
    """Text that was taken out of a page elsewhere, one paragraph a line, without empty lines.

    Args:
        text: plain text.
        punctuation: normalise Japanese punctuation by majority.
        footer: cut at a footer line among the last ten.
    """
    text = _single_spaces(_CONTROL.sub("", text.replace("\r", "\n")))
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    joined = "\n".join(cut_footer(lines) if footer else lines)
    return normalise_punctuation(joined) if punctuation else joined


def running_text(
    page: str,
    *,
    trim_lines: bool = True,
    punctuation: bool = True,
    footer: bool = True,
    extractor: str = second_opinion.OURS,
) -> str:
    """Running text of a page, one paragraph a line; empty if there is none.

    Args:
        page: HTML text.
        trim_lines: take off lines that are not running text.
        punctuation: normalise Japanese punctuation by majority.
        footer: cut at a footer line among the last ten.
        extractor: ``resiliparse`` with rules of our own by line, or ``trafilatura``, whose lines are taken as they are.
    """
    if extractor == second_opinion.TRAFILATURA:
        lines = second_opinion.lines_of(page)
    else:
        lines = _lines_by_rules(page, trim_lines)
    if footer:
        lines = cut_footer(lines)
    text = "\n".join(lines)
    return normalise_punctuation(text) if punctuation else text


def _lines_by_rules(page: str, trim_lines: bool) -> list[str]:
    lines = _text_lines(page, trim_lines)
    if not lines and _CALLED_COMMENT.search(page):
        # A page whose whole text is marked so is a page about replies, not the replies to a page.
        lines = _text_lines(page, trim_lines, comments=True)
    stops = page.count("。")
    if trim_lines and stops >= _MIN_STOPS and _stops(lines) < _FEW_STOPS * stops:
        every = _text_lines(page, trim_lines, main_content=False)
        if _stops(every) > max(_MORE_STOPS * _stops(lines), _FEW_STOPS * stops):
            lines = every
    return lines


def _text_lines(page: str, trim_lines: bool, *, comments: bool = False, main_content: bool = True) -> list[str]:
    lines = extract_lines(page, comments=comments, main_content=main_content)
    return trim(lines, title_of(page)) if trim_lines else [line.text for line in lines]


def _stops(lines: list[str]) -> int:
    return "".join(lines).count("。")


def title_of(page: str) -> str:
    """The page's title, or an empty text."""
    match = _TITLE.search(page)
    return _plain(match[1]) if match else ""


def _plain(fragment: str) -> str:
    if "<" in fragment:
        fragment = _TAG.sub("", fragment)
    if "&" in fragment:
        fragment = html.unescape(fragment)
    return " ".join(fragment.split())


def comparable(text: str) -> str:
    """A text as copies are compared: compatibility forms folded (NFKC), white space and letter case taken away."""
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold()
