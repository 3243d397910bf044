"""WARC reading: what is a page, what is passed over, and what damage is counted as."""

from __future__ import annotations

import gzip
import random
from collections import Counter

import pytest

from shikomi.corpus.text.crawl import DAMAGED, TOO_LARGE, kind_of, read_records
from shikomi.errors import DataError
from tests.corpus.pages import Response, html_page, japanese_text, write_warc

LIMIT = 100_000


def read(path, limit=LIMIT):
    skipped: Counter[str] = Counter()
    return list(read_records(path, max_page_bytes=limit, skipped=skipped)), skipped


@pytest.mark.parametrize("zipped", [True, False])
def test_reads_url_date_status_type_and_bytes(crawl, zipped):
    records, skipped = read(crawl(count=2, gzip=zipped))
    assert [record.url for record in records] == ["https://example-0.test/", "https://example-1.test/"]
    assert [r.date for r in records] == ["2026-04-01T00:00:00Z", "2026-04-01T00:00:01Z"]
    assert {(r.status, r.content_type) for r in records} == {(200, "text/html; charset=utf-8")}
    assert records[0].payload == html_page(japanese_text(0)).encode()
    assert not skipped


def test_encodings_of_the_transfer_are_undone_where_the_body_has_them(tmp_path):
    page = html_page(japanese_text(1)).encode()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(page), page)
    path = write_warc(
        tmp_path / "encoded.warc.gz",
        [
            Response("https://a.test/", gzip.compress(page), headers=[("Content-Encoding", "gzip")]),
            Response("https://b.test/", chunks, headers=[("Transfer-Encoding", "chunked")]),
            Response("https://c.test/", page, headers=[("Content-Encoding", "gzip")]),
            Response("https://d.test/", page, headers=[("Transfer-Encoding", "chunked")]),
            Response("https://e.test/", page, headers=[("Content-Encoding", "br")]),
        ],
    )
    records, _ = read(path)
    assert [record.payload == page for record in records] == [True] * 5


def test_other_records_are_passed_over_and_counted_by_type(tmp_path):
    page = html_page("本文").encode()
    kinds = ["request", "response", "metadata", "resource"]
    path = write_warc(tmp_path / "kinds.warc.gz", [Response(f"https://{k}.test/", page, kind=k) for k in kinds])
    records, skipped = read(path)
    assert [record.url for record in records] == ["https://response.test/"]
    assert skipped == {"request": 1, "metadata": 1, "resource": 1}


def test_a_page_above_the_limit_is_told_without_its_bytes(tmp_path):
    bomb = gzip.compress(b"a" * 3_000_000)
    path = write_warc(
        tmp_path / "large.warc.gz",
        [
            Response("https://large.test/", b"a" * 500_000),
            Response("https://bomb.test/", bomb, headers=[("Content-Encoding", "gzip")]),
            Response("https://small.test/", b"<p>small"),
        ],
    )
    records, _ = read(path)
    assert [(record.problem, len(record.payload)) for record in records] == [(TOO_LARGE, 0), (TOO_LARGE, 0), ("", 8)]


def test_truncated_gzip_in_mid_record_keeps_the_pages_before_it(crawl, tmp_path):
    whole = crawl(count=3)
    intact, _ = read(whole)
    path = tmp_path / "cut.warc.gz"
    path.write_bytes(whole.read_bytes()[:-400])
    records, _ = read(path)
    assert records[:2] == intact[:2]
    assert [(r.url, r.problem, r.payload) for r in records[2:]] == [("https://example-2.test/", DAMAGED, b"")]


def test_a_gzip_cut_at_any_byte_of_its_last_record_is_one_damaged_record(crawl, tmp_path):
    whole = crawl(count=2)
    intact, _ = read(whole)
    data = whole.read_bytes()
    path = tmp_path / "cut.warc.gz"
    for end in (*range(intact[1].offset + 1, intact[1].offset + 420, 7), len(data) - 8, len(data) - 1):
        path.write_bytes(data[:end])
        records, _ = read(path)
        assert records[0] == intact[0], end
        assert [(record.problem, record.payload) for record in records[1:]] == [(DAMAGED, b"")], end
    path.write_bytes(data[: intact[1].offset])
    assert read(path)[0] == intact[:1]


def test_a_gzip_cut_in_its_first_record_is_one_damaged_record(crawl, tmp_path):
    path = tmp_path / "cut.warc.gz"
    path.write_bytes(crawl(count=1).read_bytes()[:150])
    assert [record.problem for record in read(path)[0]] == [DAMAGED]


@pytest.mark.parametrize("cut", [False, True])
def test_a_warc_zipped_as_a_whole_is_read_too(crawl, tmp_path, cut):
    plain = crawl(count=3, gzip=False)
    zipped = gzip.compress(plain.read_bytes(), mtime=0)
    path = tmp_path / "whole.warc.gz"
    path.write_bytes(zipped[:-400] if cut else zipped)
    wanted, found = read(plain)[0], read(path)[0]
    assert [(record.url, record.payload) for record in found[:2]] == [(r.url, r.payload) for r in wanted[:2]]
    assert [record.problem for record in found] == ["", "", DAMAGED if cut else ""]


def test_plain_warc_cut_in_mid_record_keeps_the_pages_before_it(crawl, tmp_path):
    path = tmp_path / "cut.warc"
    path.write_bytes(crawl(count=2, gzip=False).read_bytes()[:-400])
    records, _ = read(path)
    assert [(r.url, r.problem) for r in records] == [
        ("https://example-0.test/", ""),
        ("https://example-1.test/", DAMAGED),
    ]


def test_a_length_that_runs_into_the_next_record_is_damage_and_no_text(crawl, tmp_path):
    data = crawl(count=2, gzip=False).read_bytes()
    length = data.split(b"Content-Length: ")[1].split(b"\r\n")[0]
    longer = str(int(length) + 700).encode()
    path = tmp_path / "long.warc"
    path.write_bytes(data.replace(b"Content-Length: " + length, b"Content-Length: " + longer, 1))
    records, _ = read(path)
    assert records[0].problem == DAMAGED
    assert all(not record.payload for record in records if record.problem)


def test_a_page_that_quotes_a_warc_record_is_a_page(tmp_path):
    page = b"<html><pre>example:\r\n\r\nWARC/1.0\r\nWARC-Type: response\r\n\r\n</pre></html>"
    records, _ = read(write_warc(tmp_path / "quote.warc.gz", [Response("https://quote.test/", page)]))
    assert [(record.problem, record.payload) for record in records] == [("", page)]


def flips(rnd: random.Random, data: bytes) -> bytearray:
    """One to three bits of the data flipped, anywhere."""
    flipped = bytearray(data)
    for _ in range(rnd.randint(1, 3)):
        flipped[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
    return flipped


def small_crawl(path, *, gzip: bool):
    texts = [japanese_text(seed, sentences=8) for seed in range(4)]
    responses = [Response(f"https://example-{n}.test/", html_page(text).encode()) for n, text in enumerate(texts)]
    return write_warc(path, responses, gzip=gzip)


def test_flipped_bits_never_put_a_text_under_another_url(tmp_path):
    """200 files of gzip members: each page is what it was, under its own URL, or counted as damaged."""
    whole = small_crawl(tmp_path / "whole.warc.gz", gzip=True)
    expected = {record.url: record.payload for record in read(whole)[0]}
    path, counts = tmp_path / "flipped.warc.gz", Counter()
    for seed in range(200):
        path.write_bytes(flips(random.Random(seed), whole.read_bytes()))
        records, skipped = read(path)
        good = [record for record in records if not record.problem]
        assert all(record.payload == expected[record.url] for record in good), seed
        assert len(records) > len(good) or len(good) == 4, seed  # what is missing is counted
        assert not skipped, seed
        counts.update(record.problem for record in records)
    assert counts[""] > 400
    assert counts[DAMAGED] > 200


def test_flipped_bits_of_a_plain_warc_are_told_where_its_digests_can_tell(tmp_path):
    """Without compression nothing guards a header: a flipped URL is one; but no text lands under another page's."""
    whole = small_crawl(tmp_path / "whole.warc", gzip=False)
    expected = {record.url: record.payload for record in read(whole)[0]}
    path, altered, damaged = tmp_path / "flipped.warc", 0, 0
    for seed in range(200):
        path.write_bytes(flips(random.Random(seed), whole.read_bytes()))
        records, _ = read(path)
        for record in records:
            damaged += record.problem == DAMAGED
            if not record.problem and record.url in expected:
                same = zip(record.payload, expected[record.url], strict=False)
                assert sum(a != b for a, b in same) <= 3, seed
                altered += record.payload != expected[record.url]
            elif not record.problem:
                assert min(sum(a != b for a, b in zip(record.url, url, strict=False)) for url in expected) <= 3, seed
    assert damaged > 150
    assert altered < damaged / 2  # before the first digest that was right


@pytest.mark.parametrize("place", [0, 1, 2, 3, 5])
def test_a_flip_in_the_very_first_bytes_costs_the_first_record(tmp_path, place):
    data = bytearray(small_crawl(tmp_path / "whole.warc.gz", gzip=True).read_bytes())
    data[place] ^= 0x40
    path = tmp_path / "flipped.warc.gz"
    path.write_bytes(data)
    assert kind_of(path) == "warc"
    records = read(path)[0]
    assert [record.url for record in records if not record.problem][-3:] == [
        f"https://example-{n}.test/" for n in (1, 2, 3)
    ]


def test_reading_goes_on_after_a_damaged_record(crawl, tmp_path):
    whole = crawl(count=4)
    second = [record.offset for record in read(whole)[0]][1]
    data = bytearray(whole.read_bytes())
    data[second + 300] ^= 0xFF
    path = tmp_path / "damaged.warc.gz"
    path.write_bytes(data)
    records, _ = read(path)
    assert [r.url for r in records if not r.problem] == [f"https://example-{n}.test/" for n in (0, 2, 3)]
    assert len([r for r in records if r.problem == DAMAGED]) == 1


def test_arc_files_are_read_too(tmp_path):
    page = html_page("古い書庫の頁です。").encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
    head = b"1 0 test\nURL IP-address Archive-date Content-type Archive-length\n"
    arc = b"filedesc://test.arc 0.0.0.0 20260401000000 text/plain %d\n%s\n" % (len(head), head)
    arc += b"http://old.test/ 192.0.2.1 20260401000000 text/html %d\n%s\n" % (len(http), http)
    path = tmp_path / "old.arc"
    path.write_bytes(arc)
    assert kind_of(path) == "arc"
    records, skipped = read(path)
    assert [(r.url, r.status, r.payload) for r in records] == [("http://old.test/", 200, page)]
    assert skipped == {"warcinfo": 1}


@pytest.mark.parametrize(
    "content", [b"hello\n" * 100, gzip.compress(b'{"url": 1}\n' * 100), b"\0" * 5000, b"PK\x03\x04" + b"x" * 500]
)
def test_a_file_that_is_no_warc_is_named_with_a_hint(tmp_path, content):
    path = tmp_path / "日本語 の ファイル.warc.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    what, where, hint = str(caught.value).splitlines()
    assert what == "not a WARC file"
    assert where == f"  at: {path}"
    assert hint.startswith("hint: corpus.warc takes WARC files")


def test_an_empty_file_and_a_folder_hold_no_records(tmp_path):
    (tmp_path / "empty.warc.gz").touch()
    assert kind_of(tmp_path / "empty.warc.gz") == "empty"
    assert kind_of(tmp_path) == "folder"
    assert read(tmp_path / "empty.warc.gz")[0] == []
    assert read(tmp_path)[0] == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read WARC file") as caught:
        read(tmp_path / "missing.warc.gz")
    assert caught.value.where == str(tmp_path / "missing.warc.gz")
