"""From pages to copies: only what passed is signed, once; and planted copies go, whichever shard they are in."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from shikomi.corpus.copies import signatures
from shikomi.corpus.copies.found import KINDS, load_found
from shikomi.corpus.copies.minhash import band_keys, exact_key, signature
from shikomi.corpus.copies.search import search_copies
from shikomi.corpus.copies.signatures import SignTask, address_key, date_keys, sign_shard
from shikomi.corpus.text.extract import comparable
from shikomi.errors import DataError
from shikomi.recipe.copies import CopiesPage
from tests.corpus.copies.test_search import changed, jaccard
from tests.corpus.pages import japanese_text

PAGE = CopiesPage()


def document(number: int, text: str, date: str = "2026-01-01T00:00:00Z", verdict: str = "kept") -> dict[str, str]:
    url = f"https://example-{number % 3}.test/{number}"
    host = f"example-{number % 3}.test"
    return {"id": f"{number:016x}", "url": url, "host": host, "date": date, "text": text, "verdict": verdict}


def task(folder: Path, name: str, documents: list[dict[str, str]], page: CopiesPage = PAGE) -> SignTask:
    """A shard of pages with its decisions."""
    pages, decided, signed = (folder / f"{kind}-{name}.parquet" for kind in ("pages", "decided", "signed"))
    columns = {key: pa.array([d[key] for d in documents], pa.string()) for key in document(0, "")}
    parquet.write_table(pa.table(columns).drop(["verdict"]), pages)
    parquet.write_table(pa.table({"verdict": columns["verdict"]}), decided)
    return SignTask(pages, decided, signed, page)


def test_what_passed_is_signed_and_nothing_else(tmp_path):
    documents = [document(n, japanese_text(n), verdict="dropped" if n == 1 else "kept") for n in range(4)]
    made = task(tmp_path, "one", documents)
    assert sign_shard(made) == 3
    table = parquet.read_table(made.signed)
    assert table["row"].to_pylist() == [0, 2, 3]
    assert table["id"].to_pylist() == [0, 2, 3]
    for row in table.to_pylist():
        plain = comparable(documents[row["row"]]["text"])
        values = signature(plain, PAGE.slots)
        assert row["exact_high"].to_bytes(8, "little") + row["exact_low"].to_bytes(8, "little") == exact_key(plain)
        assert row["slots"] == values.astype(np.uint8).tobytes()
        assert [row[signatures.band_column(band)] for band in range(40)] == band_keys(values, 40).tolist()
        assert row["date_key"] == 20260101000000
        assert row["url"] == documents[row["row"]]["url"]


def test_a_shard_is_signed_again_only_if_something_changed(tmp_path):
    documents = [document(n, japanese_text(n)) for n in range(3)]
    made = task(tmp_path, "one", documents)
    sign_shard(made)
    before = made.signed.stat().st_mtime_ns
    assert sign_shard(made) == 3
    assert made.signed.stat().st_mtime_ns == before
    assert sign_shard(task(tmp_path, "one", [{**documents[0], "verdict": "dropped"}, *documents[1:]])) == 2
    assert sign_shard(task(tmp_path, "one", documents, CopiesPage(signature="14x8"))) == 3
    assert parquet.read_schema(made.signed).field("slots").type.byte_width == 112
    made.signed.write_bytes(b"half")
    assert sign_shard(made) == 3


def test_pages_that_do_not_fit_their_decisions_are_told(tmp_path):
    made = task(tmp_path, "one", [document(0, "文"), document(1, "文")])
    parquet.write_table(pa.table({"verdict": ["kept"]}), made.decided)
    with pytest.raises(DataError, match="2 pages, but decisions on 1"):
        sign_shard(made)
    made = task(tmp_path, "two", [{**document(0, "文"), "id": "no number"}])
    with pytest.raises(DataError, match="not 16 hexadecimal digits") as caught:
        sign_shard(made)
    assert "no number" in caught.value.where


@pytest.mark.parametrize("page", [PAGE, CopiesPage(verify="text"), CopiesPage(signature="14x8", jaccard=0.85)])
def test_planted_copies_go_and_the_earliest_stays(tmp_path, page):
    rnd = random.Random(4)
    first, second, similar = [], [], []
    for n in range(24):
        text = japanese_text(n, sentences=30)
        near = changed(text, rnd.choice([0.003, 0.005, 0.03]), rnd)
        similar.append(jaccard(comparable(text), comparable(near)))
        # Every second pair stands the other way round in time.
        dates = ["2026-01-01", "2026-02-01"][:: -1 if n % 2 else 1]
        first.append(document(2 * n, text, dates[0]))
        second.append(document(2 * n + 1, near, dates[1]))
    second.append(document(99, first[0]["text"], ""))
    tasks = [task(tmp_path, "one", first, page), task(tmp_path, "two", second, page)]
    for one in tasks:
        sign_shard(one)
    found = [load_found(path) for path in search_copies([one.signed for one in tasks], page, tmp_path / "out")]
    copies = [np.concatenate([found[0].kind[n : n + 1], found[1].kind[n : n + 1]]) for n in range(24)]
    for n, (pair, value) in enumerate(zip(copies, similar, strict=True)):
        if value > 0.9:
            kind = "near" if value < 1 else "exact"
            assert [KINDS[number] for number in pair] == (["", kind] if n % 2 == 0 else [kind, ""])
            why = found[1 - n % 2].why(n)
            assert why is not None
            assert why[0] == f"{kind}_copy"
            assert int(why[2], 16) == 2 * n + n % 2
            if page.verify == "text":
                assert found[1 - n % 2].similarity[n] == pytest.approx(value, abs=1e-3)
        elif value < 0.78:
            assert not pair.any()
    assert found[1].why(24) == ("exact_copy", "same text", f"{0:016x}")
    assert found[0].why(0) is None
    assert found[1].exact[24]
    assert sum(value > 0.9 for value in similar) > 8


def test_dates_are_compared_by_their_digits():
    dates = pa.array(["2026-04-01T00:00:00Z", "2026", "20260401", "2026-04-01T00:00:00.123Z", "", "?", None])
    undated = [99999999999999] * 3
    expected = [20260401000000, 20260000000000, 20260401000000, 20260401000000, *undated]
    assert date_keys(dates).tolist() == expected


def test_addresses_are_equal_but_for_scheme_case_of_host_fragment_and_last_slash():
    same = ["https://A.test/b", "http://a.test/b/", "https://a.test/b#c"]
    assert len({address_key(url) for url in same}) == 1
    others = ["https://a.test/B", "https://a.test/b?c", "https://a.test", "https://b.test/b"]
    assert len({address_key(url) for url in [same[0], *others]}) == 5
    assert address_key("") == 0
