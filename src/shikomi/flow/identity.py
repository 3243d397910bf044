"""Identity of what is built: a canonical form that refuses whatever has no stable bytes, and its hash.

A step's id stands on its name, its version, the canonical form of its page and the ids of its inputs, and on nothing
else: no path, device, worker count or time can enter it.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

ID_CHARACTERS = 16
"""Length of an id: 64 bits of SHA-256, so that a store of 10⁶ artifacts has one chance in 10⁷ of any collision."""


def canonical(value: Any) -> bytes:
    """The one byte form of a plain value: compact JSON in ASCII, keys sorted, floats by ``repr``.

    Equal values give equal bytes, different values different bytes: ``1``, ``1.0`` and ``true`` are three values, a
    tuple is a list.

    Raises:
        TypeError: a value without stable bytes (a set, a path, an object), with the place it stands at.
        ValueError: NaN, an infinity, or text that is not Unicode (a lone surrogate).
    """
    plain = _checked(value, "page")
    return json.dumps(plain, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _checked(value: Any, place: str) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} at {place} has no stable bytes")
        return value
    if kind is str:
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError(f"text at {place} is not Unicode: {value!r}")
        return value
    if kind is list or kind is tuple:
        return [_checked(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise TypeError(f"key {key!r} at {place} is {type(key).__name__}, not text")
        return {_checked(key, place): _checked(item, f"{place}.{key}") for key, item in value.items()}
    raise TypeError(f"{kind.__name__} at {place} has no stable bytes: {value!r}")


def digest(value: Any) -> str:
    """SHA-256 of the canonical form, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def step_id(name: str, version: int, page: Any, inputs: dict[str, str]) -> str:
    """The id of a step's result; ``inputs`` are the ids of what it reads, by the name it reads them under."""
    return digest({"step": name, "version": version, "page": page, "inputs": inputs})[:ID_CHARACTERS]
