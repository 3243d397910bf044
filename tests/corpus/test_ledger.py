"""The ledger: a row per input, the same wherever and whenever it is built, and able to tell a damaged shard."""

from __future__ import annotations

import pytest

from shikomi.corpus import ledger
from shikomi.corpus.pages import read_pages
from shikomi.errors import DataError
from shikomi.io import sha256_file
from shikomi.recipe.corpus import CorpusPage


@pytest.fixture
def pages(crawl, tmp_path):
    """Pages of two files, one with its last record cut, and the folder they are in."""
    whole, cut = crawl("a.warc.gz", count=2), crawl("b.warc.gz", count=2, first=2)
    cut.write_bytes(cut.read_bytes()[:-100])
    empty = tmp_path / "empty.warc.gz"
    empty.touch()
    read_pages(CorpusPage(), [whole, cut, empty], tmp_path / "pages")
    return tmp_path / "pages", [whole, cut, empty]


def test_a_row_says_range_counts_versions_and_checksum_of_each_input(pages):
    folder, inputs = pages
    rows = ledger.read(folder)
    assert [row["shard"] for row in rows] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert [row["range"] for row in rows] == [[0, path.stat().st_size] for path in inputs]
    assert [(row["input"], row["records"], row["damaged"]) for row in rows] == [
        ("warc", 2, 0),
        ("warc", 2, 1),
        ("empty", 0, 0),
    ]
    assert [row["sha256"] for row in rows] == [sha256_file(folder / "shards" / row["shard"]) for row in rows]
    assert {"pages", "fastwarc", "resiliparse", "shikomi"} <= set(rows[0]["versions"])
    assert all(row["quarantined"] == [] for row in rows)


def test_it_is_the_same_when_shards_are_found_finished_and_holds_no_path_or_time(pages):
    folder, inputs = pages
    before = (folder / ledger.NAME).read_bytes()
    (folder / ledger.NAME).unlink()
    read_pages(CorpusPage(), inputs, folder)
    assert (folder / ledger.NAME).read_bytes() == before
    assert b"/" not in before
    assert b"time" not in before


def test_a_shard_with_other_bytes_is_named(pages):
    folder, _ = pages
    ledger.check(folder)
    shard = folder / "shards" / "part-00001.parquet"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match="checksum differs") as caught:
        ledger.check(folder)
    assert caught.value.where == str(shard)
    shard.unlink()
    with pytest.raises(DataError, match="cannot read file"):
        ledger.check(folder)
