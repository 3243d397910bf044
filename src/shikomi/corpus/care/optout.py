"""Opt-out: lists of documents, addresses and hosts that stay out of every corpus, and what a page says of its own use.

A list has one entry a line::

    id 0123456789abcdef           # a document
    url https://example.jp/a      # this address, by http or https
    prefix https://example.jp/b/  # every address that starts so
    host example.com              # this host and all under it

A line with one word is an id if it is 16 hexadecimal digits, a prefix if it is an address that ends in ``*``, else an
address or a host. Order, doubles and comments do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shikomi.errors import DataError
from shikomi.io import atomic

REASON = "opted_out"
"""Reason of the verdict on a document that an opt-out list or a sign of its own keeps out."""

Entry = tuple[str, str]
"""(kind, value), the value in its canonical form."""

KINDS = ("id", "url", "prefix", "host")
_ID = re.compile(r"[0-9a-f]{16}", re.IGNORECASE)
_URL = re.compile(r"(?:[a-z][a-z0-9+.\-]*:)?//(?:[^/?#@]*@)?(\[[^\]]*\]|[^/:?#]*)(?::(\d*))?([^#]*)", re.IGNORECASE)
_ESCAPE = re.compile("%[0-9a-fA-F]{2}")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\]|[0-9.]+")
_DEFAULT_PORTS = ("", "80", "443")


def canonical_url(url: str) -> str:
    """An address as it is compared: host and rest, without scheme, user, usual port and fragment, escapes in one form.

    ``HTTP://Example.JP:80/会社#top`` and ``https://example.jp/%e4%bc%9a%e7%a4%be`` are one. What is no address gives an
    empty text.
    """
    match = _URL.match(url.strip())
    if not match:
        return ""
    host, port, rest = canonical_host(match[1]), match[2] or "", match[3] or "/"
    if not rest.isascii() or " " in rest:
        rest = quote(rest, safe="%/:=&?~+!$,;'@()*[]|", errors="replace")
    if "%" in rest:
        rest = _ESCAPE.sub(lambda escape: escape[0].upper(), rest)
    if rest[0] != "/":
        rest = "/" + rest
    return host + (f":{port}" if port not in _DEFAULT_PORTS else "") + rest


def canonical_host(host: str) -> str:
    """A host as it is compared: lower case, without a last point, other scripts in ASCII (IDNA)."""
    host = host.strip().rstrip(".").lower()
    if not host.isascii():
        try:
            return host.encode("idna").decode("ascii")
        except UnicodeError:
            return host
    return host


def entry(kind: str, value: str) -> Entry:
    """An entry in its canonical form.

    Raises:
        ValueError: no entry of that kind; the text says why.
    """
    value = value.strip()
    if kind == "id":
        if not _ID.fullmatch(value):
            raise ValueError(f'"{value}" is no id: 16 hexadecimal digits')
        return kind, value.lower()
    if kind == "host":
        host = canonical_host(value.removeprefix("*."))
        if not _HOST.fullmatch(host):
            raise ValueError(f'"{value}" is no host, such as example.jp')
        return kind, host
    if kind not in ("url", "prefix"):
        raise ValueError(f'"{kind}" is none of {", ".join(KINDS)}')
    url = canonical_url(value.removesuffix("*") if kind == "prefix" else value)
    if not url or not _HOST.fullmatch(url.partition("/")[0].partition(":")[0]):
        raise ValueError(f'"{value}" is no address, such as https://example.jp/a')
    return kind, url


def parse(line: str) -> Entry | None:
    """The entry of a line of a list; None if it holds none.

    Raises:
        ValueError: the line is no entry.
    """
    words = re.sub(r"(?:^|\s)#.*", "", line).split()
    if not words:
        return None
    if len(words) == 1:
        word = words[0]
        if _ID.fullmatch(word):
            return entry("id", word)
        if "//" in word:
            return entry("prefix" if word.endswith("*") else "url", word)
        return entry("host", word)
    if len(words) > 2:
        raise ValueError("more than two words")
    return entry(words[0].lower(), words[1])


def read_list(path: Path) -> set[Entry]:
    """The entries of an opt-out list.

    Raises:
        DataError: it cannot be read, or a line is no entry; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except IsADirectoryError as error:
        raise DataError("an opt-out list is a file, not a folder", where=str(path), hint="name a file in it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read opt-out list: {error}", where=str(path), hint="a text file in UTF-8") from error
    found: set[Entry] = set()
    for number, line in enumerate(lines, start=1):
        try:
            one = parse(line)
        except ValueError as error:
            raise DataError(
                f"line is no opt-out: {error}",
                where=f"{path}:{number}",
                hint="one entry a line: id, url, prefix or host, and its value",
            ) from error
        if one:
            found.add(one)
    return found


def write_list(path: Path, entries: Iterable[Entry]) -> None:
    """Write a list whose bytes depend on the set of its entries alone."""
    with atomic(path) as handle:
        handle.writelines(f"{as_line(one)}\n" for one in sorted(set(entries)))


def as_line(one: Entry) -> str:
    """The entry as a list has it."""
    kind, value = one
    return f"{kind} https://{value}" if kind in ("url", "prefix") else f"{kind} {value}"


@dataclass(frozen=True)
class OptOut:
    """What stays out. Made by ``read_opt_out``; picklable.

    Attributes:
        ids: of documents.
        urls: canonical addresses.
        prefixes: canonical beginnings of addresses, by host.
        hosts: hosts that stand for all under them.
        signs: of a page, that drop it.
    """

    ids: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    prefixes: dict[str, tuple[str, ...]] | None = None
    hosts: frozenset[str] = frozenset()
    signs: frozenset[str] = frozenset()

    def reason(self, id: str, url: str, host: str = "", signs: str = "") -> str | None:
        """Why a document stays out, for people (``host example.com``), or None.

        Args:
            id: the document's.
            url: its address; may be empty.
            host: of its address; taken from ``url`` if empty.
            signs: what the page says itself, as ``signs`` gives it.
        """
        if id in self.ids:
            return f"id {id}"
        if self.urls or self.prefixes or self.hosts:
            address = canonical_url(url)
            if address in self.urls and address:
                return f"url {address}"
            place = address.partition("/")[0].partition(":")[0] if address else canonical_host(host)
            for prefix in (self.prefixes or {}).get(place, ()):
                if address.startswith(prefix):
                    return f"prefix {prefix}"
            while place and self.hosts:
                if place in self.hosts:
                    return f"host {place}"
                place = place.partition(".")[2]
        if signs and self.signs:
            for sign in signs.split(","):
                if sign in self.signs:
                    return f"sign {sign}"
        return None

    def decide(self, row: dict[str, Any]) -> tuple[str, str] | None:
        """The decision over a document's row (``id``, ``url``, ``host`` and, if there is one, ``signs``)."""
        why = self.reason(row["id"], row["url"], row["host"], row.get("signs") or "")
        return (REASON, why) if why else None


def make_opt_out(entries: Iterable[Entry], signs: Iterable[str] = ()) -> OptOut:
    """What stays out by entries and signs."""
    by_kind: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for kind, value in entries:
        by_kind[kind].add(value)
    prefixes: dict[str, list[str]] = {}
    for prefix in sorted(by_kind["prefix"]):
        prefixes.setdefault(prefix.partition("/")[0].partition(":")[0], []).append(prefix)
    return OptOut(
        frozenset(by_kind["id"]),
        frozenset(by_kind["url"]),
        {host: tuple(found) for host, found in prefixes.items()},
        frozenset(by_kind["host"]),
        frozenset(signs),
    )


def read_opt_out(paths: Iterable[Path], signs: Iterable[str] = ()) -> OptOut:
    """What stays out by lists (the recipe's, and the store's own) and signs.

    Raises:
        DataError: a list that cannot be read, or a line in it that is no entry.
    """
    return make_opt_out((one for path in paths for one in read_list(path)), signs)
