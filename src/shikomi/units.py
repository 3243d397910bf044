"""Sizes as people say them: ``"13B"`` parameters, ``"4M"`` tokens, ``"¥480/h"``, ``"90s"``."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_COUNT = re.compile(r"^\s*([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)\s*([kKMBGT]?)\s*$")
_COUNT_SCALE = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
_DURATION = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h|d)\s*$")
_DURATION_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*$")
_BYTES_SCALE = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_ROUNDS_UP = 0.9995
"""From this share of a unit on, three digits say one of it: 999,500 is ``1M``, not ``1e+03k``."""
_SHARE = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*[%％]\s*$")
_PRICE = re.compile(r"^\s*[¥￥]\s*([0-9]+(?:\.[0-9]+)?)\s*/\s*h\s*$")


def parse_count(value: object) -> int:
    """Read a count: ``13_000``, ``"13B"`` (10⁹), ``"2.5M"`` (10⁶), ``"4k"`` (10³), ``"1T"`` (10¹²).

    Raises:
        ValueError: not a count, or not a whole number once multiplied out.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f'expected a count such as 4000 or "4M", found {value!r}')
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        if value != int(value):
            raise ValueError(f"a count is a whole number, found {value}")
        return int(value)
    match = _COUNT.match(value)
    if not match:
        raise ValueError(f'expected a count such as 4000, "4k", "2.5M", "13B" or "1T", found "{value}"')
    exact = Decimal(match[1].replace("_", "")) * _COUNT_SCALE[match[2]]  # in floats 2.01 * 1000 is no whole number
    if exact != int(exact):
        raise ValueError(f'"{value}" is not a whole number')
    return int(exact)


def parse_seconds(value: object) -> float:
    """Read a duration: ``"90s"``, ``"10min"``, ``"8h"``, ``"2d"``; a bare number is refused (no unit).

    Raises:
        ValueError: not a duration with a unit.
    """
    match = _DURATION.match(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'expected a duration such as "90s", "10min", "8h" or "2d", found {value!r}')
    return float(match[1]) * _DURATION_SECONDS[match[2]]


def parse_bytes(value: object) -> int:
    """Read a size in bytes: ``"5GB"`` (10⁹) or ``"5GiB"`` (2³⁰); a bare int is bytes.

    Raises:
        ValueError: not a size.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _BYTES.match(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'expected a size such as "300MB" or "5GiB", found {value!r}')
    return int(Decimal(match[1]) * _BYTES_SCALE[match[2]])


def parse_share(value: object) -> float:
    """Read a share: ``"60%"`` or ``0.6``; its range is the caller's to check.

    Raises:
        ValueError: not a share.
    """
    match = _SHARE.match(value) if isinstance(value, str) else None
    if match:
        return float(Decimal(match[1]) / 100)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f'expected a share such as "60%" or 0.6, found {value!r}')
    return float(value)


def parse_yen_per_hour(value: object) -> float:
    """Read a price: ``"¥480/h"``.

    Raises:
        ValueError: not a price in yen an hour.
    """
    match = _PRICE.match(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'expected a price such as "¥480/h", found {value!r}')
    return float(match[1])


def format_count(value: float) -> str:
    """Say a count as people do: ``3_412_000`` → ``"3.41M"``."""
    for scale, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if abs(value) >= scale * _ROUNDS_UP:
            return f"{_three_digits(value / scale)}{letter}"
    return f"{value:g}" if value == int(value) else f"{value:.3g}"


def format_bytes(value: float) -> str:
    """Say a size in bytes with decimal units: ``41_000_000`` → ``"41 MB"``."""
    for scale, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if abs(value) >= scale * _ROUNDS_UP:
            return f"{_three_digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def _three_digits(value: float) -> str:
    """Three significant digits, never as a power of ten: ``4.1``, ``41.5``, ``415``, ``4150``."""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def format_seconds(value: float) -> str:
    """Say a duration as people do: ``75`` → ``"1:15"``, ``4.2`` → ``"4.2 s"``, ``7300`` → ``"2:01:40"``; from 100 hours
    on in days, from 1,000 days on in years of 365.25 days."""
    if value < 59.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    days = value / 86400
    if days >= 1000:
        return f"{_three_digits(days / 365.25)} years"
    if value >= 360_000:
        return f"{_three_digits(days)} days"
    whole = round(value)
    hours, rest = divmod(whole, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def width(text: str) -> int:
    """Columns that text takes in a terminal: wide and full-width East Asian characters take two (UAX #11)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Pad text with spaces to a number of terminal columns; ``right`` aligns it to the right."""
    gap = " " * max(0, columns - width(text))
    return gap + text if right else text + gap
