"""What a file is, by its content first and its name second."""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path

from shikomi.documents.passage import Unreadable

HEAD_BYTES = 1 << 16
_SUFFIXES = {
    ".txt": "text", ".text": "text", ".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html",
    ".xhtml": "html", ".pdf": "pdf", ".docx": "docx", ".docm": "docx", ".xml": "patent", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet",
}  # fmt: skip
PACKED = {".gz": "gzip", ".zst": "zstd"}
"""Suffixes of packed row files that are unpacked while they are read."""
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_WORD = "WordDocument".encode("utf-16-le")
_PACKAGES = (("xl/workbook.xml", "xlsx"), ("ppt/presentation.xml", "pptx"), ("META-INF/container.xml", "epub"),
             ("content.xml", "odf"))  # fmt: skip
_PICTURES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"{\\rtf", "rtf"), (b"II*\0", "tiff"),
             (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"7z\xbc\xaf", "7z"), (b"Rar!", "rar"),
             (b"\x7fELF", "program"), (b"BZh", "bzip2"), (b"%!PS", "postscript"))  # fmt: skip
_HTML = re.compile(rb"\A\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_XML = re.compile(rb"\A\s*<\?xml\b|\A\s*<!DOCTYPE\s+(?!html)", re.IGNORECASE)
_HTML_INSIDE = re.compile(rb"<(?:html|body)[\s>]", re.IGNORECASE)


def by_name(path: Path) -> str:
    """The kind that a file's name promises, or an empty text; packed row files by the name inside."""
    name = path.name.lower()
    for suffix in PACKED:
        if name.endswith(suffix):
            inner = _SUFFIXES.get(Path(name.removesuffix(suffix)).suffix, "")
            return inner if inner == "jsonl" else ""
    return _SUFFIXES.get(path.suffix.lower(), "")


def kind_of(path: Path, wanted: str = "") -> str:
    """The kind of a file.

    Args:
        path: the file.
        wanted: the kind that the recipe says; empty: whatever it is.

    Raises:
        Unreadable: missing, empty, of no known kind, or of another one than wanted.
    """
    found, detail = _by_content(path, _head(path))
    if found:
        if wanted and wanted != found and not (wanted in _TEXTUAL and found in _TEXTUAL):
            raise Unreadable("wrong_kind", f"{found}, not {wanted}")
        return wanted or found
    if detail:
        raise Unreadable("wrong_kind" if wanted else "unknown_kind", detail)
    named = by_name(path)
    if (wanted or named) in _BINARY:
        raise Unreadable("wrong_kind", f"its content is no {wanted or named}")
    return wanted or named or "text"


_BINARY = ("pdf", "docx", "parquet")
_TEXTUAL = ("text", "markdown", "html", "patent", "jsonl", "json")


def _head(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable("not_found", "no file: a folder or a device")
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise Unreadable("not_found", error.strerror or str(error)) from error
    if not head:
        raise Unreadable("empty_file")
    return head


def _by_content(path: Path, head: bytes) -> tuple[str, str]:
    """``(kind, "")``, or ``("", what it is)`` if that cannot be read, or two empty texts if bytes do not tell."""
    if b"%PDF-" in head[:1024]:
        return "pdf", ""
    if head.startswith(b"PAR1"):
        return "parquet", ""
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head.startswith(_OLE):
        return _ole(path)
    if by_name(path) == "jsonl" and path.suffix.lower() in PACKED:
        return "jsonl", ""
    for magic, name in _PICTURES:
        if head.startswith(magic):
            return "", name
    plain = _as_ascii(head)
    if _HTML.match(plain):
        return "html", ""
    if _XML.match(plain):
        return ("html" if _HTML_INSIDE.search(plain[:4096]) and by_name(path) != "patent" else "patent"), ""
    return "", ""


def _as_ascii(head: bytes) -> bytes:
    """Bytes in which tags can be looked for, whatever the byte order mark says."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return head[2:].replace(b"\0", b"")
    return head.removeprefix(b"\xef\xbb\xbf")


def _zip_kind(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        if by_name(path) in ("", "docx"):
            raise Unreadable("damaged", f"zip: {error}") from error
        return "", "zip"
    if "word/document.xml" in names:
        return "docx", ""
    for part, name in _PACKAGES:
        if part in names:
            return "", name
    if "[Content_Types].xml" in names:
        return "docx", ""  # the main part may have another name
    return "", "zip"


def _ole(path: Path) -> tuple[str, str]:
    with open(path, "rb") as file:
        data = file.read(1 << 20)
    if _ENCRYPTED in data:
        raise Unreadable("password", "an encrypted Office file")
    if by_name(path) == "docx" or path.suffix.lower() == ".doc" or _WORD in data:
        raise Unreadable("old_word", "save it as .docx")
    return "", "an Office file of before 2007"
