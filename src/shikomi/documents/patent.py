"""Patent publications in XML to passages: title, abstract, claims, description; WIPO ST.36 and ST.96 and their kin.

Offices name the same things alike but for hyphens, case and prefixes (``invention-title``, ``pat:InventionTitle``), so
names are compared without them. Pictures, formulae, tables of coordinates and citations are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from shikomi.documents.charset import decode
from shikomi.documents.lines import one_line, tidy, unwrap
from shikomi.documents.passage import Limits, Passage, Unreadable
from shikomi.documents.plain import read_bytes
from shikomi.documents.xml import parse

_DECLARATION = re.compile(rb"<\?xml\b[^>]{0,200}?(?:encoding\s*=\s*[\"']([A-Za-z0-9_.\-]+)[\"'])?[^>]{0,200}\?>")
_OLD_SETS = {"shift_jis": "cp932", "shift-jis": "cp932", "windows-31j": "cp932", "x-sjis": "cp932", "sjis": "cp932",
             "euc-jp": "euc_jp", "x-euc-jp": "euc_jp", "iso-2022-jp": "iso2022_jp"}  # fmt: skip
_TITLES = frozenset(("inventiontitle", "b542"))
_SECTIONS = {"abstract": "abstract", "sdoab": "abstract", "claims": "claims", "sdocl": "claims",
             "description": "description", "sdode": "description", "disclosure": "description"}  # fmt: skip
_PUBLISHED = frozenset(("publicationreference", "patentpublicationidentification", "dateofpublicdisclosure"))
_DATES = frozenset(("date", "publicationdate", "b140"))
_PARAGRAPHS = frozenset(
    ("p", "pnum", "claimtext", "heading", "headingtext", "li", "dt", "dd", "inventiontitle", "br", "claim", "row",
     "technicalfield", "backgroundart", "summaryofinvention", "techproblem", "techsolution", "advantageouseffects",
     "modeforinvention", "bestmode", "industrialapplicability", "descriptionofdrawings", "referencesignslist",
     "descriptionofembodiments", "disclosure", "citationlist", "patentliterature", "nonpatentliterature")
)  # fmt: skip
"""Elements that start a line of their own."""
_LEFT_OUT = frozenset(
    ("img", "image", "figure", "figures", "drawings", "maths", "math", "chemistry", "chemicalformulae", "chem",
     "table", "tables", "tgroup", "sequencelist", "sequencelisttext", "searchreport", "searchreportdata", "crossref",
     "biodeposit")
)  # fmt: skip
_ROOT = re.compile("patent|gazette|publishedapplication|applicationbody|publication|^sdobi$|^description$|^claims$")


def read_patent(path: Path, limits: Limits) -> Iterator[Passage]:
    """A file of one or several patent publications, each a document of its own.

    Raises:
        Unreadable: damaged, ``unknown_kind`` (other XML), ``entities``, ``too_deep``, ``too_much_text``, ``no_text``.
    """
    data = read_bytes(path, limits)
    publications = _publications(data)
    for number, one in enumerate(publications):
        try:
            yield from _publication(one, number, limits)
        except Unreadable as error:
            if len(publications) == 1:
                raise
            yield Passage(kind="patent", document=number, problem=error.reason, detail=error.detail)


def _publications(data: bytes) -> list[bytes]:
    """XML documents that stand in one file one after the other, as bulk data does."""
    starts = [match.start() for match in re.finditer(rb"<\?xml\s", data)]
    if len(starts) < 2:
        return [data]
    return [data[start:stop] for start, stop in zip(starts, [*starts[1:], len(data)], strict=True)]


def _publication(data: bytes, number: int, limits: Limits) -> Iterator[Passage]:
    data, encoding, charset = _as_utf8(data)
    reading = _Reading(limits.characters)
    parse([data], reading.start, reading.end, reading.text, encoding=encoding)
    reading.close()
    title = one_line(" ".join(reading.found.get("title", [])))
    if not any(reading.found.values()):
        raise Unreadable("no_text", f"an XML file with the root {reading.root}, without title, abstract or claims")
    for name in ("title", "abstract", "claims", "description"):
        text = tidy("\n".join(reading.found.get(name, [])))
        if text:
            yield Passage(text, title, name, reading.date, "patent", number, charset)


def _as_utf8(data: bytes) -> tuple[bytes, str | None, str]:
    """Bytes and encoding that the parser can read (it knows no Japanese charset but Unicode's), and the charset."""
    head = data[:1024]
    declared = _DECLARATION.search(head)
    name = (declared[1] or b"").decode().lower() if declared else ""
    if name in _OLD_SETS:
        try:
            return data.decode(_OLD_SETS[name]).encode(), "utf-8", _OLD_SETS[name]
        except UnicodeDecodeError:
            pass
    elif data[:2] in (b"\xff\xfe", b"\xfe\xff") or (name and name not in ("utf-8", "utf8")):
        return data, None, name or "utf-16"
    text, charset = decode(data)
    return text.encode("utf-8", "replace"), "utf-8", charset


class _Reading:
    """What has been found in one publication."""

    def __init__(self, characters: int) -> None:
        self.left = self.most = characters
        self.root = ""
        self.date = ""
        self.found: dict[str, list[str]] = {}
        self.path: list[str] = []
        self.section = ""
        self.section_depth = 0
        self.left_out = 0
        self.parts: list[str] = []
        self.dating: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.replace("-", "").replace("_", "").lower()
        self.path.append(name)
        if not self.root:
            self.root = name
            if not _ROOT.search(name):
                raise Unreadable("unknown_kind", f"XML with the root {name}, no patent publication")
        if self.left_out or name in _LEFT_OUT:
            self.left_out += 1
            return
        if not self.section:
            self.section = "title" if name in _TITLES else _SECTIONS.get(name, "")
            self.section_depth = len(self.path)
            if self.section == "title" and self.found.get("title"):
                self.section = ""  # of several languages the first counts
            elif self.section and self.section in self.found and self.section != "description":
                self.section = ""
        if self.section and name in _PARAGRAPHS:
            self.close()

    def end(self, _: str) -> None:
        name = self.path.pop()
        if self.left_out:
            self.left_out -= 1
            return
        if name in _DATES:
            self._date(name)
        if self.section and (name in _PARAGRAPHS or len(self.path) < self.section_depth):
            self.close()
        if len(self.path) < self.section_depth:
            self.section = ""

    def text(self, data: str) -> None:
        if self.left_out:
            return
        if self.section:
            self.left -= len(data)
            if self.left < 0:
                raise Unreadable("too_much_text", f"more than {self.most} characters")
            self.parts.append(data)
        elif self.path and self.path[-1] in _DATES:
            self.dating.append(data)

    def close(self) -> None:
        """End a paragraph."""
        text = unwrap("".join(self.parts))
        self.parts.clear()
        if text and self.section:
            self.found.setdefault(self.section, []).append(text)

    def _date(self, name: str) -> None:
        digits = re.sub("[^0-9]", "", "".join(self.dating))
        self.dating.clear()
        published = name != "date" or any(each in _PUBLISHED for each in self.path)
        if published and not self.date and re.fullmatch("(?:19|20)[0-9]{6}", digits):
            self.date = f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"
