"""From bytes to text by strict decoding: what a page declares is believed only if its bytes agree."""

from __future__ import annotations

import re

import numpy as np

_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:\-]+)""", re.IGNORECASE)
_DECLARED_TEXT = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9_.:\-]+)""")
_HEAD_BYTES = 4096
"""How far into a page its declaration is looked for (HTML asks for the first 1,024 bytes; old pages start later)."""

# Servers say Shift_JIS and send its Windows superset; likewise for the Chinese and Korean sets (WHATWG encodings).
_SUPERSETS = {
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932",
    "ms932": "cp932", "ms_kanji": "cp932", "shift_jis_2004": "cp932",
    "euc-jp": "euc_jp", "x-euc-jp": "euc_jp", "eucjp": "euc_jp", "euc_jp": "euc_jp", "ujis": "euc_jp",
    "iso-2022-jp": "iso2022_jp", "csiso2022jp": "iso2022_jp",
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "gb2312": "gb18030", "gbk": "gb18030",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252", "utf8": "utf-8",
}  # fmt: skip
JAPANESE = ("cp932", "euc_jp", "iso2022_jp")
_UNDECLARED = ("cp932", "euc_jp")
_ANY_BYTES = re.compile("cp125|iso-?8859|latin|windows-125|koi8|mac")
"""Charsets of one byte a character: they fit every page, so the server's word for them proves nothing."""
_MIN_HIRAGANA = 20
"""Hiragana that make a guess at a Japanese charset surer than such a declaration."""
_ISO2022 = re.compile(rb"\x1b\$[@B]")
_HALF_WIDTH_KANA = (0xFF61, 0xFF9F)
_HIRAGANA = (0x3041, 0x3096)


def declared(payload: bytes, content_type: str) -> list[str]:
    """Charsets a page declares, in the order HTTP header, then the page itself, as Python codec names."""
    found = _DECLARED_TEXT.findall(content_type)
    found += [name.decode("ascii") for name in _DECLARED.findall(payload[:_HEAD_BYTES])]
    names = []
    for said in found:
        said = str(said).lower()
        name = _SUPERSETS.get(said, said)
        try:
            "".encode(name)  # known, and a charset: codecs such as zlib refuse text
        except LookupError:
            continue
        if name not in names:
            names.append(name)
    return names


def decode(payload: bytes, content_type: str = "") -> tuple[str, str] | None:
    """Decode a page's bytes; returns ``(text, codec)``, or None where no charset fits.

    Order: ISO-2022-JP by its escapes; UTF-8 if the bytes are UTF-8 throughout; what the HTTP header or the page
    declares; then Shift_JIS (as its superset cp932) or EUC-JP, whichever gives the more hiragana. A page cut in the
    middle of a character is read without that character.
    """
    if payload[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = _strict(payload, "utf-16")
        return (text, "utf-16") if text is not None else None
    if b"\x1b" in payload and _ISO2022.search(payload):
        text = _strict(payload, "iso2022_jp")
        if text is not None:
            return text, "iso2022_jp"
    text = _strict(payload, "utf-8")
    if text is not None:
        return text.removeprefix("\ufeff"), "utf-8"
    names = [name for name in declared(payload, content_type) if name != "utf-8"]
    said = _first_that_fits(payload, [name for name in names if not _ANY_BYTES.match(name)])
    if said:
        return said
    guesses = [guess for name in _UNDECLARED if (guess := _first_that_fits(payload, [name]))]
    best = max(guesses, key=lambda guess: _count(guess[0], _HIRAGANA), default=None)
    if best and _count(best[0], _HIRAGANA) >= _MIN_HIRAGANA:
        return best
    return _first_that_fits(payload, names) or best or _tolerant(payload, names)


def _first_that_fits(payload: bytes, names: list[str]) -> tuple[str, str] | None:
    for name in names:
        text = _strict(payload, name)
        if text is not None and not _mistaken(text, name):
            return text, name
    return None


def _strict(payload: bytes, name: str) -> str | None:
    try:
        return payload.decode(name)
    except UnicodeDecodeError as error:
        if error.end < len(payload) - 3 or error.start < len(payload) - 4:
            return None
        try:  # cut in the middle of its last character
            return payload[: error.start].decode(name)
        except UnicodeDecodeError:
            return None
    except (UnicodeError, ValueError):
        return None


def _mistaken(text: str, name: str) -> bool:
    """Whether a text read as Shift_JIS is EUC-JP in truth: its kana pairs turn into half-width katakana."""
    if name != "cp932":
        return False
    half_width = _count(text, _HALF_WIDTH_KANA)
    return half_width > 20 and half_width > _count(text, _HIRAGANA)


def _count(text: str, letters: tuple[int, int]) -> int:
    """How many characters of a text are between two, both of them too."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")
    first, last = letters
    return int(np.count_nonzero(units - np.uint16(first) <= np.uint16(last - first)))  # smaller ones wrap around


def _tolerant(payload: bytes, names: list[str]) -> tuple[str, str] | None:
    """The best reading of a page with a few bad bytes (at most 1 in 200 characters lost), or None."""
    best: tuple[int, str, str] | None = None
    for name in dict.fromkeys([*names, "utf-8", *_UNDECLARED]):
        text = payload.decode(name, errors="replace")
        lost = text.count("\ufffd")
        if lost * 200 <= len(text) and not _mistaken(text, name) and (best is None or lost < best[0]):
            best = (lost, text, name)
    return (best[1].removeprefix("\ufeff"), best[2]) if best else None
