"""Sites by category: lists of millions of hosts and addresses as one sorted table, asked in a few steps for each page.

A host that is listed stands for itself and every host under it (UT1's own rule; Swallow corpus v1 asks for the very
host only). An address that is listed stands for itself and everything under its path. Entries are kept as 64-bit
hashes, ten bytes each with their category, in files that all workers map into memory: 10¹⁰ questions to 5 million
entries give one wrong answer with probability 0.003 (n·m/2⁶⁴).
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from shikomi.errors import DataError
from shikomi.io import atomic, read_json, write_json
from shikomi.recipe.urls import UrlsPage

CUSTOM = "custom"
"""Category of plain lists."""
HOSTS = "hosts"
"""Category of the hosts that the recipe names itself."""

_ADDRESS = re.compile(
    r"^(?:[a-z][a-z0-9+.\-]*:)?(?://)?(?:[^/?#@]*@)?(\[[^\]]*\]|[^/:?#]*)(?::\d*)?([^#]*)", re.IGNORECASE
)
_PLAIN_HOST = re.compile(rb"[a-z0-9_\-]+(?:\.[a-z0-9_\-]+)+")
_NUMERIC = re.compile(r"^[\d.]+$|^\[")
_MAX_PATH_PARTS = 16
"""Deepest path that an entry may have to be found."""
_FILES = ("domains", "urls")


def list_files(page: UrlsPage, lists: Iterable[Path]) -> list[tuple[str, Path]]:
    """The files to be read, as ``(category, path)``: of folders, those of the page's categories, in sorted order.

    Raises:
        DataError: a path that does not exist, or a folder in which no category is found, or none of the page's.
    """
    wanted = {_plain(name) for name in page.categories}
    found: list[tuple[str, Path]] = []
    for path in lists:
        if path.is_file():
            category = path.parent.name if path.name in _FILES else CUSTOM
            found += [(category, path)] if _plain(category) in wanted else []
            continue
        if not path.is_dir():
            raise DataError("URL list not found", where=str(path), hint="check its name and folder")
        folders = [path] if _listed(path) else [folder for folder in sorted(path.iterdir()) if _listed(folder)]
        chosen = [folder for folder in folders if _plain(folder.name) in wanted]
        if not chosen:
            names = ", ".join(folder.name for folder in folders[:20])
            raise DataError(
                "none of the wanted categories is here" if folders else "no category with a list is here",
                where=str(path),
                hint=f"name some of these in corpus.urls.categories: {names}"
                if folders
                else "expected CATEGORY/domains or CATEGORY/urls; unpack the archives first",
            )
        found += [(folder.name, file) for folder in chosen for file in _listed(folder)]
    return found


def compile_lists(page: UrlsPage, lists: Iterable[Path], out: Path) -> dict[str, Any]:
    """Read all lists once and write the table that ``UrlCategories`` opens.

    Args:
        page: which categories, hosts and own list count.
        lists: what ``page.lists`` names.
        out: folder for ``keys.npy``, ``categories.npy`` and ``categories.json``.

    Returns:
        Facts: ``entries`` by category, and ``unread``, lines that are no host and no address.

    Raises:
        DataError: a list that cannot be read (see ``list_files``).
    """
    sources: list[tuple[str, Iterable[bytes], str]] = [
        (HOSTS, [host.encode() for host in page.hosts], "corpus.urls.hosts")
    ]
    wanted = {_plain(name) for name in page.categories}
    if page.own_list:
        sources += [(name, lines, "own list") for name, lines in own_list().items() if _plain(name) in wanted]
    sources += [(category, _lines(path), str(path)) for category, path in list_files(page, lists)]
    names = list(dict.fromkeys(name for name, _, _ in sources))
    keys, owners, unread = array("Q"), array("H"), 0
    for name, lines, _ in sources:
        number = names.index(name)
        for line in lines:
            entry = _entry(line)
            if entry:
                keys.append(_key(entry))
                owners.append(number)
            else:
                unread += bool(line.strip()) and not line.lstrip().startswith(b"#")
    table, first = np.unique(np.frombuffer(keys, dtype=np.uint64), return_index=True)
    categories = np.frombuffer(owners, dtype=np.uint16)[first]
    for name, values in (("keys", table), ("categories", categories)):
        with atomic(out / f"{name}.npy", "wb") as handle:
            np.save(handle, values, allow_pickle=False)
    write_json(out / "categories.json", names)
    counts = Counter(categories.tolist())
    return {"entries": {name: counts[number] for number, name in enumerate(names)}, "unread": unread}


class UrlCategories:
    """Says of an address which category it is in; pickles as its folder, and all processes share one copy of the table.

    Attributes:
        folder: what ``compile_lists`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = read_json(folder / "categories.json")
        self._keys = _mapped(folder / "keys.npy")
        self._categories = _mapped(folder / "categories.npy")

    def __reduce__(self):
        return (UrlCategories, (self.folder,))

    def find(self, url: str) -> tuple[str, str] | None:
        """``(category, entry)`` of the first entry that covers ``url``, widest host first, or None.

        Takes steps in proportion to the labels of the host and the parts of the path, whatever the size of the lists.
        """
        asked = list(_candidates(url))
        if not asked or not len(self._keys):
            return None
        keys = np.array([_key(each) for each in asked], dtype=np.uint64)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        hits = np.flatnonzero(self._keys[places] == keys)
        if not len(hits):
            return None
        return self.names[int(self._categories[places[hits[0]]])], asked[hits[0]]

    def why_dropped(self, url: str) -> tuple[str, str] | None:
        """``(reason, detail)`` if the address is in a rejected category, else None."""
        found = self.find(url)
        return ("url_category", f"{found[0]}: {found[1]}") if found else None


def _mapped(path: Path) -> np.ndarray:
    # A plain array over the map: look-ups through numpy.memmap itself take three times as long.
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def own_list() -> dict[str, list[bytes]]:
    """The entries that come with Shikomi, by category."""
    text = resources.files("shikomi.corpus.quality").joinpath("site_hosts.txt").read_text(encoding="utf-8")
    categories: dict[str, list[bytes]] = {}
    name = CUSTOM
    for line in text.splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif line and not line.startswith("#"):
            categories.setdefault(name, []).append(line.encode())
    return categories


def _listed(folder: Path) -> list[Path]:
    return [folder / name for name in _FILES if (folder / name).is_file()] if folder.is_dir() else []


def _plain(name: str) -> str:
    return re.sub("[ _-]+", "_", name.strip().lower())


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as handle:
            first = handle.readline()
            yield first.removeprefix(b"\xef\xbb\xbf")
            yield from handle
    except OSError as error:
        raise DataError(
            f"cannot read URL list: {error.strerror}", where=str(path), hint="check its name and rights"
        ) from error


def _key(entry: str) -> int:
    return int.from_bytes(blake2b(entry.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _entry(line: bytes) -> str:
    """A list's line as it is kept: ``host`` or ``host/path``; empty if it is neither."""
    line = line.strip()
    if _PLAIN_HOST.fullmatch(line) and not line.startswith(b"www."):
        return line.decode()
    text = line.decode("utf-8", "replace")
    if not text or text.startswith("#") or "\ufffd" in text or " " in text:
        return ""
    host, path = _split(text)
    if not host or ("." not in host and not text.startswith(".") and not host.startswith("[") and path):
        return ""
    return host + path


def _split(address: str) -> tuple[str, str]:
    """Host, lower case, in its ASCII form and without ``www.``, and path without the slash at its end."""
    match = _ADDRESS.match(address)
    if match is None:
        return "", ""
    host = match[1].lower().strip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return "", ""
    return host.removeprefix("www."), match[2].rstrip("/")


def _candidates(url: str) -> Iterator[str]:
    """Every entry that would cover ``url``: its host and those above it, widest first; then paths, shortest first."""
    host, path = _split(url)
    if not host:
        return
    labels = [host] if _NUMERIC.match(host) else host.split(".")
    for start in range(len(labels) - 1, -1, -1):
        yield ".".join(labels[start:])
    plain, _, query = path.partition("?")
    at = 0
    for _ in range(_MAX_PATH_PARTS):
        at = plain.find("/", at + 1)
        if at < 0:
            break
        yield host + plain[:at]
    if plain.strip("/"):
        yield host + plain.rstrip("/")
    if query:
        yield host + path
