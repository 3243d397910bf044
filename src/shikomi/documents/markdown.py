"""Markdown files to passages: marks taken off, one passage a section, code blocks left out.

Our own reader of what people write, not a CommonMark parser: CommonMark leaves the stars of ``**「重要」**です``
in place (its rule of flanking is made for words with spaces), and they would stand in the corpus.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator
from pathlib import Path

from shikomi.documents.charset import decode
from shikomi.documents.lines import join, one_line, tidy
from shikomi.documents.passage import Limits, Passage
from shikomi.documents.plain import read_bytes

_FRONT = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_FIELD = re.compile(r"^(title|date)\s*:\s*[\"']?(.*?)[\"']?\s*$", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-+)[ \t]*$")
_RULE = re.compile(r"^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$")
_TABLE_RULE = frozenset(" \t:|-")
_QUOTE = re.compile(r"^(?: {0,3}>[ \t]?)+")
_ITEM = re.compile(r"^[ \t]*(?:[*+-]|(\d{1,9}[.)]))[ \t]+(?:\[[ xX]\] )?")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]]{1,200}\]:\s*\S+.*$")
_COMMENT = re.compile("<!--.*?-->", re.DOTALL)
_TARGET = r"(?:\((?:[^()\n]|\([^()\n]{0,200}\)){0,500}\)|\[[^\]]{0,200}\])"
_IMAGE = re.compile(rf"!\[[^\]]{{0,500}}\]{_TARGET}")
_LINK = re.compile(rf"\[([^\[\]]{{1,500}})\]{_TARGET}")
_FOOTNOTE = re.compile(r"\[\^[^\]]{1,50}\]:?")
_AUTOLINK = re.compile(r"<(?:https?|mailto):[^>\s]{1,1000}>")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>")
_STRONG = re.compile(r"(\*\*\*|\*\*|\*|~~|__)(?=\S)([^*\n]{1,1000}?)(?<=\S)\1")
_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9_])_(?=\S)([^_\n]{1,500}?)(?<=\S)_(?![A-Za-z0-9_])")
_CODE = re.compile(r"(`+)(.+?)\1")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def read_markdown(path: Path, limits: Limits) -> Iterator[Passage]:
    """A Markdown file: one passage a section (down to the third level), marks taken off, code blocks left out."""
    source, charset = decode(read_bytes(path, limits))
    source = re.sub("\r\n?", "\n", source)
    front = _FRONT.match(source)
    fields = dict(_FRONT_FIELD.findall(front[1])) if front else {}
    sections = _sections(source[front.end() :] if front else source)
    title = fields.get("title") or next((heading for level, heading, _ in sections if level == 1), "")
    for number, (_, heading, lines) in enumerate(sections, start=1):
        text = tidy("\n".join([heading, *lines]))
        if text:
            yield Passage(
                text, one_line(title), f"section={number}", fields.get("date", ""), "markdown", charset=charset
            )


def _sections(source: str) -> list[tuple[int, str, list[str]]]:
    """``(level, heading, lines)`` of each section; what stands before the first heading has level 0."""
    sections: list[tuple[int, str, list[str]]] = [(0, "", [])]
    fence = ""
    paragraph: list[str] = []

    def close() -> None:
        if paragraph:
            sections[-1][2].append(plain_inline(_joined(paragraph)))
            paragraph.clear()

    for line in _COMMENT.sub("", source).split("\n"):
        if fence:
            fence = "" if line.strip().startswith(fence) else fence
            continue
        if mark := _FENCE.match(line):
            close()
            fence = mark[1]
            continue
        heading = _HEADING.match(line)
        if heading or (paragraph and len(paragraph) == 1 and _UNDERLINE.match(line)):
            level = len(heading[1]) if heading else 1 if "=" in line else 2
            name = plain_inline(heading[2] if heading else paragraph.pop())
            close()
            if level <= 3:
                sections.append((level, name, []))
            else:
                sections[-1][2].append(name)
            continue
        line = _QUOTE.sub("", line)
        item = _ITEM.match(line)
        if (
            not line.strip()
            or _RULE.match(line)
            or _DEFINITION.match(line)
            or ("-" in line and _TABLE_RULE.issuperset(line))
        ):
            close()
        elif item:
            close()
            paragraph.append((f"{item[1]} " if item[1] else "・") + line[item.end() :])
        elif line.lstrip().startswith("|"):
            close()
            sections[-1][2].append(plain_inline(" ".join(cell.strip() for cell in line.strip(" |").split("|"))))
        else:
            paragraph.append(line.strip() if not line.endswith("  ") else line.strip() + "\n")
    close()
    return sections


def _joined(lines: list[str]) -> str:
    """Lines of a paragraph as one: a space between Latin letters, nothing between Japanese ones."""
    return functools.reduce(lambda text, line: text + line if text.endswith("\n") else join(text, line), lines)


def plain_inline(text: str) -> str:
    """Take Markdown's marks off a line; emphasis beside Japanese brackets too, where CommonMark leaves the stars."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[2].strip() if match.re is _CODE else match[1])
        return f"\ue000{len(kept) - 1}\ue001"

    text = _ESCAPE.sub(keep, _CODE.sub(keep, text.replace("\ue000", "").replace("\ue001", "")))
    text = _AUTOLINK.sub("", _FOOTNOTE.sub("", _LINK.sub(r"\1", _IMAGE.sub("", text))))
    text = _TAG.sub("", text)
    for _ in range(3):
        text = _STRONG.sub(r"\2", text)
    text = html.unescape(_UNDERSCORE.sub(r"\1", text))
    for _ in range(2):
        text = re.sub("\ue000([0-9]+)\ue001", lambda match: kept[int(match[1])], text)
    return text
