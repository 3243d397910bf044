"""From a text file's bytes to text, by strict decoding: byte order marks, ISO-2022-JP, UTF-8, then the old sets.

Web pages have rules of their own (``corpus/text/charset.py``): servers and pages declare charsets, files do not.
"""

from __future__ import annotations

import codecs
import re

from shikomi.documents.passage import Unreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ISO2022 = re.compile(rb"\x1b\$[@B]")
_HIRAGANA = re.compile("[\u3041-\u3096]")
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
MAX_LOST = 200
"""One character in so many may be unreadable; a file with more is no text in that charset."""


def decode(data: bytes) -> tuple[str, str]:
    """Decode a text file; returns ``(text, codec)``.

    Raises:
        Unreadable: no charset fits, or it is no text at all.
    """
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return _tolerant(data.removeprefix(mark) if codec == "utf-8" else data, codec), codec
    if _ISO2022.search(data) and (text := _strict(data, "iso2022_jp")) is not None:
        return text, "iso2022_jp"
    if _BINARY.search(data, 0, 1 << 16):
        raise Unreadable("charset", "control characters: this is no text")
    if (text := _strict(data, "utf-8")) is not None:
        return text, "utf-8"
    fitting = [(codec, text) for codec in ("cp932", "euc_jp") if (text := _strict(data, codec)) is not None]
    if fitting:
        codec, text = max(fitting, key=lambda each: _likeness(each[1]))
        return text, codec
    lost = {codec: data.decode(codec, errors="replace") for codec in ("utf-8", "cp932", "euc_jp")}
    codec = min(lost, key=lambda name: lost[name].count("\ufffd"))
    return _tolerant(data, codec), codec


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except (UnicodeDecodeError, UnicodeError):
        return None


def _likeness(text: str) -> int:
    """How much like Japanese: EUC-JP read as Shift_JIS turns into half-width katakana."""
    return len(_HIRAGANA.findall(text)) - len(_HALF_WIDTH.findall(text))


def _tolerant(data: bytes, codec: str) -> str:
    text = data.decode(codec, errors="replace")
    lost = text.count("\ufffd")
    if lost * MAX_LOST > len(text):
        raise Unreadable("charset", f"{lost} of {len(text)} characters are none, at best ({codec})")
    return text.replace("\ufffd", "")
