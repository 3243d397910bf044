"""What a scorer is shown: documents of files and of the corpus, drawn fairly, dealt into parts by their hosts."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from shikomi.corpus.shards import host_of
from shikomi.data.document import KEPT, shard_paths
from shikomi.errors import DataError
from shikomi.io import read_jsonl, sha256_file

_JSON_LINES = (".jsonl", ".ndjson")
SPARE = 4
"""So many times the documents wanted are held while drawing, so that a limit for each host leaves enough."""


@dataclass(frozen=True, slots=True)
class Example:
    """A document to learn from.

    Attributes:
        text: its start, as far as a scorer reads.
        host: the site it is from; empty if it is not known.
        url: its address; empty if it has none.
        id: its id in the corpus; empty if it is from a file.
    """

    text: str
    host: str = ""
    url: str = ""
    id: str = ""


def read_examples(paths: Iterable[Path], text_field: str, max_characters: int) -> Iterator[Example]:
    """Yield the documents of JSONL files (one a line) and text files (one a file).

    Raises:
        DataError: a file that cannot be read, or a line without text in ``text_field``.
    """
    for path in paths:
        if path.suffix.lower() not in _JSON_LINES:
            yield Example(_whole_text(path)[:max_characters])
            continue
        for number, row in read_jsonl(path):
            text = row.get(text_field) if isinstance(row, dict) else None
            if not isinstance(text, str) or not text.strip():
                fields = ", ".join(row) if isinstance(row, dict) else "no object"
                raise DataError(
                    f'no text in field "{text_field}" (found: {fields})',
                    where=f"{path}:{number}",
                    hint="name the field that holds the text with text_field",
                )
            url = str(row.get("url") or "")
            yield Example(text[:max_characters], str(row.get("host") or host_of(url)).lower(), url)


def _whole_text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except IsADirectoryError as error:
        raise DataError(
            "expected a file, found a folder", where=str(path), hint="name its files: folder/*.txt"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read file: {error.strerror}", where=str(path), hint="check its name") from error
    except UnicodeDecodeError as error:
        raise DataError("file is not UTF-8 text", where=str(path), hint="give .jsonl or UTF-8 text files") from error
    if not text.strip():
        raise DataError("file holds no text", where=str(path), hint="one document a file; leave out empty ones")
    return text


def corpus_examples(pages: Path, max_characters: int) -> Iterator[Example]:
    """Yield the documents of a ``pages`` or ``corpus`` folder that were not dropped.

    Raises:
        DataError: no shards there.
    """
    for shard in shard_paths(pages):
        file = parquet.ParquetFile(shard)
        columns = ["id", "url", "host", "verdict", "text"]
        for batch in file.iter_batches(256, columns=columns, use_threads=False):
            for row in batch.to_pylist():
                if row["verdict"] == KEPT:
                    yield Example(row["text"][:max_characters], row["host"], row["url"], row["id"])


def is_under(host: str, hosts: Sequence[str]) -> bool:
    """Whether a host is one of ``hosts`` or under one of them."""
    return any(host == each or host.endswith(f".{each}") for each in hosts)


class Draw:
    """A fair draw of documents, the same in whatever order they come; of equal texts one.

    Args:
        most: how many.
        seed: of the draw.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._seed = most, seed
        self._held: dict[int, Example] = {}
        self._largest: list[int] = []

    def add(self, example: Example) -> None:
        """Offer a document."""
        order = self.order(example.text)
        held = self._held.get(order)
        if held is not None:
            self._held[order] = min(held, example, key=lambda each: (each.url, each.host))
            return
        if len(self._held) >= self._most and order >= -self._largest[0]:
            return
        self._held[order] = example
        heapq.heappush(self._largest, -order)
        if len(self._held) > self._most:
            del self._held[-heapq.heappop(self._largest)]

    def order(self, text: str) -> int:
        """Where a text stands in the draw: a hash of it and the seed."""
        return digest(f"{self._seed}:{text}")

    def drawn(self, *, most: int | None = None, per_host: int | None = None) -> list[Example]:
        """The first documents of the draw, at most ``most``, and at most ``per_host`` of each known host."""
        taken: list[Example] = []
        of_host: Counter[str] = Counter()
        for _, example in sorted(self._held.items()):
            if most is not None and len(taken) >= most:
                break
            of_host[example.host] += bool(example.host)
            if per_host is None or of_host[example.host] <= per_host:
                taken.append(example)
        return taken


def digest(text: str) -> int:
    """A 64-bit hash of a text that is the same everywhere."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def deal(
    examples: Sequence[Example], wanted: Sequence[bool], folds: int, seed: int
) -> tuple[list[int], list[str], str]:
    """Deal documents into parts so that all of one host are in the same part.

    Returns:
        The part of each document, its group (a host, or the document itself), and ``host`` or ``document``: what was
        held together. Where one kind is all from one host, or from none known, its documents are dealt one by one.
    """
    hosts = {
        kind: {e.host for e, w in zip(examples, wanted, strict=True) if w == kind} - {""} for kind in (True, False)
    }
    alone = {kind for kind, found in hosts.items() if len(found) < 2}
    groups = [
        f"#{digest(example.text):016x}" if kind in alone or not example.host else example.host
        for example, kind in zip(examples, wanted, strict=True)
    ]
    sizes: dict[str, Counter[bool]] = {}
    for group, kind in zip(groups, wanted, strict=True):
        sizes.setdefault(group, Counter())[kind] += 1
    loads: dict[bool, list[int]] = {True: [0] * folds, False: [0] * folds}
    part: dict[str, int] = {}
    for group in sorted(sizes, key=lambda name: (-sizes[name].total(), digest(f"{seed}:{name}"))):
        kind = max((True, False), key=lambda each: sizes[group][each])
        part[group] = min(range(folds), key=lambda fold: loads[kind][fold])
        for each, count in sizes[group].items():
            loads[each][part[group]] += count
    return [part[group] for group in groups], groups, "document" if alone else "host"


def about(examples: Sequence[Example], files: Sequence[Path] = ()) -> dict[str, Any]:
    """What documents were learned from, for the manifest: counts, and a hash of all texts in order."""
    texts = sorted(f"{digest(example.text):016x}" for example in examples)
    return {
        "documents": len(examples),
        "characters": sum(len(example.text) for example in examples),
        "hosts": len({example.host for example in examples} - {""}),
        "texts": f"{digest(json.dumps(texts)):016x}",
        "files": [{"name": path.name, "sha256": sha256_file(path)} for path in files],
    }
