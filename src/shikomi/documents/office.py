"""docx files to passages: own reader over zip and a guarded XML stream.

python-docx was left: it builds the whole tree with lxml before the first paragraph, has no limit on what unfolds, and
knows neither deleted text, footnotes, ruby nor text boxes apart; what a reader of text needs are the names below.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from shikomi.documents.lines import one_line, tidy
from shikomi.documents.passage import Limits, Passage, Unreadable
from shikomi.documents.xml import parse

_CHUNK = 1 << 16
_MAX_PARTS = 10_000
"""Parts of a package; a long report with pictures has some hundreds."""
_LEFT_OUT = frozenset(
    ("del", "moveFrom", "instrText", "delText", "rt", "Fallback", "pPrChange", "rPrChange", "sectPr", "sdtPr",
     "oMath", "oMathPara")
)  # fmt: skip
"""Elements whose text is no running text: deleted or moved away, field codes, readings, a drawing's second form."""
_DRAWINGS = frozenset(("drawing", "pict", "object"))
_TEXT_BOX = "txbxContent"
"""What is read again inside a drawing."""


def read_docx(path: Path, limits: Limits) -> Iterator[Passage]:
    """A Word file: one passage a section (headings of the first three levels), then its notes.

    Raises:
        Unreadable: damaged, ``wrong_kind``, ``entities``, ``too_large``, ``too_deep``, ``too_much_text``, ``no_text``.
    """
    if path.stat().st_size > limits.file_bytes:
        raise Unreadable("too_large", f"more than {limits.file_bytes} bytes")
    try:
        with zipfile.ZipFile(path) as archive:
            package = _Package(archive, limits)
            yield from _sections(package, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise Unreadable("damaged", f"zip: {error}"[:200]) from error
    except RuntimeError as error:  # what zipfile says of an encrypted member
        raise Unreadable("password", str(error)[:200]) from error


class _Package:
    """The parts of a docx, read under one limit of unpacked bytes."""

    def __init__(self, archive: zipfile.ZipFile, limits: Limits) -> None:
        self.archive = archive
        self.left = limits.file_bytes
        self.limit = limits.file_bytes
        self.names = set(archive.namelist())
        if len(self.names) > _MAX_PARTS:
            raise Unreadable("too_large", f"{len(self.names)} parts in one file")

    def chunks(self, name: str) -> Iterator[bytes]:
        """The unpacked bytes of a part; what its directory says of its size is not believed."""
        with self.archive.open(name) as part:
            while chunk := part.read(_CHUNK):
                self.left -= len(chunk)
                if self.left < 0:
                    raise Unreadable("too_large", f"unpacks to more than {self.limit} bytes")
                yield chunk

    def main_part(self) -> str:
        """The name of the document part."""
        if "word/document.xml" in self.names:
            return "word/document.xml"
        found: list[str] = []

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == "Relationship" and attributes.get("Type", "").endswith("/officeDocument"):
                found.append(attributes.get("Target", "").lstrip("/"))

        if "_rels/.rels" in self.names:
            parse(self.chunks("_rels/.rels"), start, _nothing, _nothing)
        if not found or found[0] not in self.names:
            raise Unreadable("wrong_kind", "an Office file, but no Word document")
        return found[0]

    def about(self) -> tuple[str, str]:
        """Title and date of its properties."""
        values: dict[str, str] = {}
        inside: list[str] = []

        def text(data: str) -> None:
            if inside:
                values[inside[-1]] = values.get(inside[-1], "") + data

        def ended(_: str) -> None:
            inside.pop()

        if "docProps/core.xml" in self.names:
            parse(
                self.chunks("docProps/core.xml"),
                lambda name, _: inside.append(name),
                ended,
                text,
            )
        return one_line(values.get("title", "")), (values.get("created") or values.get("modified") or "").strip()[:20]

    def heading_styles(self) -> dict[str, int]:
        """Level of each paragraph style that is a heading (1 is the highest; 0 is a title)."""
        levels: dict[str, int] = {}
        style = [""]

        def start(name: str, attributes: dict[str, str]) -> None:
            value = next((v for k, v in attributes.items() if k.rpartition(":")[2] == "val"), "")
            if name == "style":
                style[0] = next((v for k, v in attributes.items() if k.rpartition(":")[2] == "styleId"), "")
            elif name == "name" and value.lower().startswith("heading ") and value[8:].strip().isdigit():
                levels[style[0]] = int(value[8:])
            elif name == "name" and value.lower() == "title":
                levels[style[0]] = 0
            elif name == "outlineLvl" and value.isdigit() and style[0] and int(value) < 9:
                levels.setdefault(style[0], int(value) + 1)

        if "word/styles.xml" in self.names:
            parse(self.chunks("word/styles.xml"), start, _nothing, _nothing)
        return levels


def _nothing(*_: object) -> None:
    """For what is not listened to."""


def _sections(package: _Package, limits: Limits) -> Iterator[Passage]:
    title, date = package.about()
    body = _Body(package.heading_styles(), limits.characters)
    body.read(package, package.main_part())
    title = title or body.title
    notes = _Body({}, limits.characters - body.characters)
    for name in ("word/footnotes.xml", "word/endnotes.xml"):
        if name in package.names:
            notes.read(package, name)
    number = 0
    for paragraphs in [*body.sections, [line for lines in notes.sections for line in lines]]:
        text = tidy("\n".join(paragraphs))
        if text:
            number += 1
            yield Passage(text, title, f"section={number}", date, "docx")
    if not number:
        raise Unreadable("no_text", "no paragraph with text")


class _Body:
    """Collects paragraphs of a part into sections."""

    def __init__(self, headings: dict[str, int], characters: int) -> None:
        self.headings = headings
        self.most = characters
        self.characters = 0
        self.title = ""
        self.sections: list[list[str]] = [[]]
        self.left_out = 0
        self.drawings = [0]
        self.in_text = 0
        self.cells: list[list[str]] = []
        self.open: list[_Paragraph] = []

    def read(self, package: _Package, name: str) -> None:
        """Read one part."""
        parse(package.chunks(name), self.start, self.end, self.text)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self.left_out or name in _LEFT_OUT:
            self.left_out += 1
        elif name == _TEXT_BOX:
            self.drawings.append(0)
        elif self.drawings[-1] or name in _DRAWINGS:
            self.drawings[-1] += 1
        elif name == "p":
            self.open.append(_Paragraph())
        elif name == "tr":
            self.cells.append([])
        elif name == "tc" and self.cells:
            self.cells[-1].append("")
        elif name == "t":
            self.in_text += 1
        elif self.open:
            self._mark(name, attributes)

    def _mark(self, name: str, attributes: dict[str, str]) -> None:
        paragraph = self.open[-1]
        value = next((v for k, v in attributes.items() if k.rpartition(":")[2] == "val"), "")
        if name == "pStyle":
            paragraph.level = self.headings.get(value, -1)
        elif name == "outlineLvl" and value.isdigit() and int(value) < 9:
            paragraph.level = int(value) + 1
        elif name in ("tab", "ptab") and not attributes:
            paragraph.parts.append(" ")
        elif name in ("br", "cr"):
            paragraph.parts.append("\n")
        elif name == "noBreakHyphen":
            paragraph.parts.append("-")
        elif name == "r":
            paragraph.hidden = False
        elif name in ("vanish", "webHidden") and value not in ("0", "false"):
            paragraph.hidden = True

    def end(self, name: str) -> None:
        if self.left_out:
            self.left_out -= 1
        elif name == _TEXT_BOX:
            self.drawings.pop()
        elif self.drawings[-1]:
            self.drawings[-1] -= 1
        elif name == "t":
            self.in_text -= 1
        elif name == "p" and self.open:
            self._close(self.open.pop())
        elif name == "tr" and self.cells:
            row = " ".join(cell for cell in (" ".join(cell.split()) for cell in self.cells.pop()) if cell)
            self._put(row)

    def text(self, data: str) -> None:
        if not self.in_text or self.left_out or self.drawings[-1] or not self.open or self.open[-1].hidden:
            return
        self.characters += len(data)
        if self.characters > self.most:
            raise Unreadable("too_much_text", f"more than {self.most} characters")
        self.open[-1].parts.append(data)

    def _close(self, paragraph: _Paragraph) -> None:
        text = "".join(paragraph.parts).strip()
        if not text:
            return
        if not self.cells:
            if paragraph.level == 0 and not self.title:
                self.title = one_line(text)
            if 1 <= paragraph.level <= 3:
                self.sections.append([])
        self._put(text)

    def _put(self, text: str) -> None:
        if self.cells and self.cells[-1]:
            self.cells[-1][-1] += f" {text}"
        elif text:
            self.sections[-1].append(text)


class _Paragraph:
    """A paragraph being read: its pieces, its heading level (-1: none), whether its run is hidden."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.level = -1
        self.hidden = False
