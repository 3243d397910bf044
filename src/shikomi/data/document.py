"""Documents: a page's text with where it comes from, every measure taken of it, and the verdict with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shikomi.errors import DataError

if TYPE_CHECKING:
    import pyarrow

WEB = "web"
"""The source of pages that were crawled; other documents carry the name the recipe gives their source."""
KEPT = "kept"
DROPPED = "dropped"

COUNTS = (
    "letters",
    "hiragana_letters",
    "katakana_letters",
    "kanji_letters",
    "kuten",
    "toten",
    "japanese_letters",
    "sentences",
    "max_sentence_length",
)
"""Measures that are whole numbers (characters; ``sentences`` counts sentences)."""

FRACTIONS = (
    "hiragana_fraction",
    "katakana_fraction",
    "japanese_fraction",
    "mean_sentence_length",
    "ellipsis_fraction",
    "duplicate_paragraph_fraction",
    "duplicate_paragraph_characters_fraction",
    "duplicate_sentence_fraction",
    "duplicate_sentence_characters_fraction",
    "top_2gram_fraction",
    "top_3gram_fraction",
    "top_4gram_fraction",
    "duplicate_5gram_fraction",
    "duplicate_6gram_fraction",
    "duplicate_7gram_fraction",
    "duplicate_8gram_fraction",
    "duplicate_9gram_fraction",
    "duplicate_10gram_fraction",
)
"""Measures that are shares from 0 to 1, and the mean sentence length (characters)."""

MEASURES = COUNTS + FRACTIONS
"""Every measure of a document's text, each a column; empty where the page was dropped before it was measured."""

_TEXTS = (
    "id",
    "source",
    "url",
    "host",
    "date",
    "licence",
    "charset",
    "verdict",
    "reason",
    "detail",
    "duplicate_of",
    "signs",
    "text",
)


@dataclass(frozen=True, slots=True)
class Document:
    """One page's text.

    Attributes:
        id: 16 hexadecimal digits, the hash of URL, date and bytes; records that are equal in all three share it.
        url: the page's address.
        host: the address's host, lower case, without port.
        date: when it was fetched, ISO 8601, as the crawl says.
        text: the running text, one paragraph a line; empty where the page was dropped before extraction.
        licence: the licence the corpus was told.
        verdict: ``kept`` or ``dropped``.
        reason: why it was dropped, one word (``not_japanese``, ``near_copy``, a measure's name …); empty if kept.
        detail: the measure and the threshold that decided, for people.
        source: ``web``, or the name of the documents it comes from.
    """

    id: str
    url: str
    host: str
    date: str
    text: str
    licence: str
    verdict: str = KEPT
    reason: str = ""
    detail: str = ""
    source: str = WEB


def schema() -> pyarrow.Schema:
    """Columns of a corpus shard (Parquet): texts, sizes, one column a measure, and what decisions measured besides.

    ``signs`` is what the page says of its own use, joined by commas; ``masked`` counts the pieces of personal data that
    were replaced in a kept text; ``ng_fraction`` is the share of NG words; ``scores`` has each scorer's score by name.
    """
    import pyarrow as pa

    columns = [(name, pa.string()) for name in _TEXTS]
    columns += [("record", pa.int32()), ("bytes", pa.int64()), ("characters", pa.int32()), ("masked", pa.int32())]
    columns += [(name, pa.int32()) for name in COUNTS]
    columns += [(name, pa.float64()) for name in FRACTIONS]
    columns += [("ng_fraction", pa.float64()), ("scores", pa.map_(pa.string(), pa.float64()))]
    return pa.schema(columns)


def __getattr__(name: str) -> Any:
    # SCHEMA needs pyarrow, which a command line that only plans must not pay for.
    if name == "SCHEMA":
        return schema()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def shard_paths(folder: Path) -> list[Path]:
    """The corpus shards of a folder, in the order of their inputs.

    Raises:
        DataError: the folder holds no corpus.
    """
    paths = sorted((folder / "shards").glob("part-*.parquet"))
    if not paths:
        raise DataError("no corpus here: no shards/part-*.parquet", where=str(folder), hint="build the corpus first")
    return paths


def kept_documents(folder: Path) -> Iterator[Document]:
    """Yield the kept documents of a corpus folder, always in the same order."""
    return (document for document in iterate(folder) if document.verdict == KEPT)


def iterate(folder: Path) -> Iterator[Document]:
    """Yield all documents of a corpus folder, dropped ones included, always in the same order.

    Raises:
        DataError: no corpus there, or a shard that cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    names = list(Document.__dataclass_fields__)
    for path in shard_paths(folder):
        try:
            file = parquet.ParquetFile(path)
            for batch in file.iter_batches(batch_size=256, columns=names, use_threads=False):
                for row in batch.to_pylist():
                    yield Document(**row)
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise DataError(f"cannot read corpus shard: {error}", where=str(path)) from error
