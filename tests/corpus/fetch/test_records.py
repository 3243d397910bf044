"""Index mode: exactly the Japanese records of the whole files, with little else fetched, however it goes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shikomi.corpus.fetch import index as cc_index
from shikomi.corpus.fetch import records as cc_records
from shikomi.corpus.fetch.snapshot import fetch
from shikomi.corpus.text.crawl import read_records
from shikomi.errors import DataError, MachineError
from shikomi.recipe.common_crawl import CommonCrawlPage
from tests.corpus.fetch import cc_server
from tests.corpus.fetch.cc_server import (
    Crawled,
    closing,
    cut,
    displaced,
    flipped,
    is_japanese,
    members,
    promising,
    serving,
    status,
    whole,
)  # fmt: skip
from tests.corpus.fetch.test_snapshot import fetched, ledger, page_of, three_lines

CRAWLED = [cc_server.pages(12, first) for first in (0, 12, 24)]
CRAWLED[1] += [
    Crawled("https://moved.example.co.jp/", "jpn", b"<html>x</html>", status=301),
    Crawled("https://sheet.example.co.jp/", "jpn", b"%PDF-", mime="application/pdf"),
    Crawled("https://mail.example.com/", "xjpn,eng", b"<html>y</html>"),
    Crawled("https://empty.example.jp/", "", b"<html>z</html>"),
]
LAID = cc_server.snapshot(CRAWLED)
WARCS = sorted(path for path in LAID if path.endswith(".warc.gz"))
JAPANESE = {page.url: page.member for pages in CRAWLED for page in pages if is_japanese(page)}


@pytest.fixture
def server():
    with serving(dict(LAID)) as running:
        yield running


def index_page(base: str, **fields) -> CommonCrawlPage:
    return page_of(base, mode="index", **fields)


def records(out: Path) -> list[bytes]:
    return [member for data in fetched(out).values() for member in members(data)]


def urls(out: Path) -> set[str]:
    read = (read_records(path, max_page_bytes=10**6, skipped=Counter()) for path in out.glob("warc/*.warc.gz"))
    return {record.url for one in read for record in one}


def test_law_index_mode_gives_exactly_the_japanese_records_of_the_whole_files(server, tmp_path):
    fetch(page_of(server.base), tmp_path / "whole")
    there = set()
    for data in fetched(tmp_path / "whole").values():
        there |= set(members(data))
    facts = fetch(index_page(server.base), tmp_path / "index")
    got = records(tmp_path / "index")
    assert len(got) == len(set(got)) == len(JAPANESE) == 19
    assert set(got) == set(JAPANESE.values())
    assert there > set(got)
    assert urls(tmp_path / "index") == set(JAPANESE)
    assert facts["records"] == facts["selected_records"] == 19
    assert (facts["damaged_records"], facts["files"], facts["index_files"]) == (0, 1, 2)
    assert "https://empty.example.jp/" in JAPANESE


def test_only_the_ranges_of_wanted_records_are_fetched(server, tmp_path):
    facts = fetch(index_page(server.base, gap_bytes=0), tmp_path)
    asked = [each for path in WARCS for each in server.of(path)]
    assert all(each.range for each in asked)
    assert facts["bytes"] == sum(map(len, JAPANESE.values()))
    assert facts["ranges"] == len(asked) == len(ledger(tmp_path))
    for row in ledger(tmp_path):
        assert row["bytes"] == row["stop"] - row["start"]
        assert set(row) == {"url", "file", "start", "stop", "bytes", "sha256", "tries", "records", "damaged"}


def test_law_how_ranges_are_put_together_changes_no_byte(server, tmp_path):
    seen = {}
    for gap in ("0B", "1KiB", "1GB"):
        facts = fetch(index_page(server.base, gap_bytes=gap), tmp_path / gap)
        seen[gap] = (facts["ranges"], facts["bytes"])
        assert fetched(tmp_path / gap) == fetched(tmp_path / "0B")
    assert seen["0B"][0] > seen["1GB"][0] == 3
    assert seen["0B"][1] < seen["1GB"][1]


def test_a_new_local_file_begins_where_one_is_full(server, tmp_path):
    facts = fetch(index_page(server.base, warc_bytes="2KB"), tmp_path)
    sizes = [len(data) for data in fetched(tmp_path).values()]
    assert facts["files"] == len(sizes) > 3
    longest = max(map(len, JAPANESE.values()))
    assert all(2000 <= size < 2000 + longest for size in sizes[:-1])
    assert set(records(tmp_path)) == set(JAPANESE.values())
    assert {row["file"] for row in ledger(tmp_path)} == {f"warc/{name}" for name in fetched(tmp_path)}


TROUBLES = {
    "cut": [cut(300), cut(0), cut(1)],
    "slow down": [status(503, retry_after="0"), status(429)],
    "no answer": [closing],
    "whole files instead of ranges": [whole] * 20,
    "whole files, cut": [cut(300), whole],
    "other ranges": [displaced(7), displaced(30)],
    "lengths too long": [promising(100)],
    "a page instead of the range": [status(200)],
    "flipped bytes on the way": [flipped(100), flipped(2000)],
}


# Flipped bytes of an index are not among them: not every byte of a Parquet file has a checksum over it.
@pytest.mark.parametrize(
    ("where", "trouble"),
    [(".warc.gz", each) for each in TROUBLES] + [(".parquet", each) for each in list(TROUBLES)[:-1]],
)
def test_law_whatever_the_line_does_the_bytes_are_the_same(server, tmp_path, where, trouble):
    server.faults[where] += TROUBLES[trouble]
    facts = fetch(index_page(server.base), tmp_path)
    assert sorted(records(tmp_path)) == sorted(JAPANESE.values())
    assert facts["damaged_records"] == 0


def test_law_killed_and_resumed_gives_the_same_bytes(server, tmp_path):
    fetch(index_page(server.base, warc_bytes="4KB"), tmp_path / "once")
    page = index_page(server.base, warc_bytes="4KB", gap_bytes=0, connections=1)
    server.always[".warc.gz"] = cc_server.slow(300, 0.1)
    journal = tmp_path / "killed" / "scratch" / "index-00001.warc.gz.jsonl"
    cc_server.killed(page, tmp_path / "killed", lambda: journal.exists() and journal.stat().st_size > 0)
    server.always.clear()
    assert len(fetched(tmp_path / "killed")) == 1
    there = [each["start"] for path in journal.parent.glob("*.jsonl") for each in cc_records.Rows(path).read()]
    server.asked.clear()
    fetch(page, tmp_path / "killed")
    assert fetched(tmp_path / "killed") == fetched(tmp_path / "once")
    assert not server.of(".parquet"), "what the index said is kept"
    asked = [each for each in server.asked if each.path.endswith(".warc.gz")]
    assert len(asked) == len(ledger(tmp_path / "killed")) - len(there)


@pytest.mark.parametrize("lost", ["part of the file", "part of the journal", "another gap"])
def test_what_a_lost_power_line_leaves_is_gone_on_from(server, tmp_path, lost):
    fetch(index_page(server.base), tmp_path / "once")
    page = index_page(server.base, gap_bytes=0, connections=1, attempts=1)
    server.faults[".warc.gz"] += [cc_server.good] * 9 + [status(404)]
    with pytest.raises(DataError, match="no such file"):
        fetch(page, tmp_path / "again")
    partial = tmp_path / "again" / "scratch" / "index-00000.warc.gz.partial"
    journal = tmp_path / "again" / "scratch" / "index-00000.warc.gz.jsonl"
    if lost == "part of the file":
        partial.write_bytes(partial.read_bytes()[: partial.stat().st_size // 2])
    elif lost == "part of the journal":
        journal.write_bytes(journal.read_bytes()[:-30])
    else:
        page = index_page(server.base, gap_bytes="1MB")
    fetch(page, tmp_path / "again")
    assert fetched(tmp_path / "again") == fetched(tmp_path / "once")


C2 = "www.c2.example.org"


def languages(page: Crawled) -> list[str]:
    return page.languages.split(",") if page.languages else []


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"languages": ["eng"], "top_level_domains": []}, lambda page: "eng" in languages(page)),
        ({"languages": ["eng", "zho"], "top_level_domains": []}, lambda page: {"eng", "zho"} & set(languages(page))),
        ({"languages": ["zho"], "top_level_domains": ["de"]}, lambda p: p.languages == "zho" or p.host[-3:] == ".de"),
        ({"languages": []}, lambda page: True),
        ({"hosts": ["example.co.jp"]}, lambda page: page.host.endswith(".example.co.jp") and is_japanese(page)),
        ({"hosts": ["C2.example.org", "d3.example.ne.jp"]}, lambda page: page.host in (C2, "d3.example.ne.jp")),
        ({"hosts": ["10.0.0.1", "c2.example.org"]}, lambda page: page.host == C2),
        ({"hosts": ["www.c2.example.org"]}, lambda page: page.host == C2),
    ],
)
def test_the_page_says_which_records(server, tmp_path, fields, wanted):
    fetch(index_page(server.base, **fields), tmp_path)
    html = [page for pages in CRAWLED for page in pages if page.status == 200 and page.mime == "text/html"]
    members_wanted = {page.member for page in html if wanted(page)}
    assert members_wanted
    assert set(records(tmp_path)) == members_wanted


def test_other_types_are_taken_if_the_page_says_so(server, tmp_path):
    fetch(index_page(server.base, mime_types=["application/pdf"]), tmp_path / "pdf")
    assert urls(tmp_path / "pdf") == {"https://sheet.example.co.jp/"}
    fetch(index_page(server.base, mime_types=[]), tmp_path / "any")
    assert urls(tmp_path / "any") == set(JAPANESE) | {"https://sheet.example.co.jp/"}


def test_hosts_are_looked_for_only_where_they_can_be(server, tmp_path):
    everything = fetch(index_page(server.base), tmp_path / "all")
    all_bytes = sum(len(each.range) > 0 for each in server.of(".parquet"))
    server.asked.clear()
    some = fetch(index_page(server.base, hosts=["d3.example.ne.jp"]), tmp_path / "some")
    assert 0 < some["records"] < everything["records"]
    assert len(server.of(".parquet")) < all_bytes


def test_an_index_without_statistics_is_read_whole(server, tmp_path):
    for path in [path for path in LAID if "subset=warc" in path]:
        sink = pa.BufferOutputStream()
        pq.write_table(pq.read_table(pa.BufferReader(LAID[path])), sink, write_statistics=False, use_dictionary=False)
        server.files[path] = sink.getvalue().to_pybytes()
    fetch(index_page(server.base, hosts=["d3.example.ne.jp"]), tmp_path)
    assert urls(tmp_path) == {"https://d3.example.ne.jp/page/3.html"}


@pytest.mark.parametrize("limit", [1, 4, 12, 500])
def test_a_limit_takes_the_first_records_of_the_index(server, tmp_path, limit):
    facts = fetch(index_page(server.base, max_records=limit), tmp_path)
    files = [
        [url for url in pq.read_table(pa.BufferReader(LAID[path]))["url"].to_pylist() if url in JAPANESE]
        for path in sorted(path for path in LAID if "subset=warc" in path)
    ]
    assert urls(tmp_path) == set((files[0] + files[1])[:limit])
    assert facts["records"] == min(limit, len(JAPANESE))
    assert len({each.path for each in server.of(".parquet")}) == (1 if limit <= len(files[0]) else 2)


def test_damaged_records_are_left_out_and_counted(server, tmp_path):
    page = next(page for page in CRAWLED[0] if page.url in JAPANESE)
    data = LAID[WARCS[0]]
    at = data.index(page.member) + len(page.member) // 2
    server.files[WARCS[0]] = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
    facts = fetch(index_page(server.base), tmp_path)
    assert facts["damaged_records"] == 1
    assert set(records(tmp_path)) == set(JAPANESE.values()) - {page.member}
    (row,) = [row for row in ledger(tmp_path) if row["damaged"]]
    assert row["problem"] == "its compression is damaged"


def test_an_index_of_other_files_is_told_early(server, tmp_path):
    for number, path in enumerate(WARCS):
        server.files[path] = b"x" * 50 + LAID[WARCS[number]]
    with pytest.raises(DataError, match=r"11 of the first \d+ records are not where the index says") as caught:
        fetch(index_page(server.base, gap_bytes=0), tmp_path)
    three_lines(caught.value)


def test_a_record_beyond_the_end_of_its_file_is_damaged(server, tmp_path):
    server.files[WARCS[0]] = LAID[WARCS[0]][:600]
    facts = fetch(index_page(server.base, gap_bytes=0), tmp_path)
    lost = sum(is_japanese(page) for page in CRAWLED[0])
    assert facts["damaged_records"] == lost
    assert facts["records"] == len(JAPANESE) - lost


def test_nothing_that_fits_is_told(server, tmp_path):
    with pytest.raises(DataError, match="none of the records in 2 index files fits") as caught:
        fetch(index_page(server.base, hosts=["absent.example"]), tmp_path)
    three_lines(caught.value)


def test_what_is_no_index_is_told(server, tmp_path):
    server.always[".parquet"] = lambda handler, data: handler.give(b"PAR0" * 100)
    with pytest.raises(DataError, match="not a readable index") as caught:
        fetch(index_page(server.base), tmp_path)
    three_lines(caught.value)


def test_an_index_without_languages_is_told(server, tmp_path):
    for path in [path for path in LAID if "subset=warc" in path]:
        table = pq.read_table(pa.BufferReader(LAID[path])).drop_columns(["content_languages"])
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        server.files[path] = sink.getvalue().to_pybytes()
    with pytest.raises(DataError, match='no column "content_languages"') as caught:
        fetch(index_page(server.base), tmp_path)
    assert "2018-39" in three_lines(caught.value)[2]
    facts = fetch(index_page(server.base, languages=[]), tmp_path / "any")
    assert facts["records"] > len(JAPANESE)


def test_an_index_that_cannot_be_fetched_is_told_as_such(server, tmp_path):
    server.always[".parquet"] = status(503)
    with pytest.raises(DataError, match="HTTP status 503") as caught:
        fetch(index_page(server.base), tmp_path)
    three_lines(caught.value)
    server.always[".parquet"] = cc_server.lengthless()
    with pytest.raises(DataError, match="does not tell how large") as caught:
        fetch(index_page(server.base), tmp_path)
    three_lines(caught.value)


def test_room_is_looked_for_before_the_first_record(server, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(MachineError, match="not enough room") as caught:
        fetch(index_page(server.base), tmp_path)
    three_lines(caught.value)
    assert not [each for path in WARCS for each in server.of(path)]


def test_large_gaps_are_not_fetched_when_the_server_has_no_ranges(server, tmp_path, monkeypatch):
    from shikomi.corpus.fetch import download

    monkeypatch.setattr(download, "_MAX_SKIP_BYTES", 1000)
    server.always[".warc.gz"] = whole
    with pytest.raises(DataError, match="serves whole files only") as caught:
        fetch(index_page(server.base, gap_bytes=0), tmp_path)
    three_lines(caught.value)


@pytest.mark.parametrize(
    ("host", "key"),
    [("www.example.co.jp", "jp,co,example"), ("www2.a.example.jp", "jp,example,a"), ("A.Example.", "example,a")],
)
def test_hosts_are_sorted_as_the_index_sorts_them(host, key):
    assert cc_index.surt(host) == key


def test_ranges_stay_small():
    spans = [("a", 0, 10), ("a", 12, 10), ("a", 40, 10), ("b", 50, 10), ("b", 60, cc_index.MAX_RANGE_BYTES)]
    found = list(cc_index._coalesced(((0, *span) for span in spans), gap_bytes=2))
    assert [(each.name, each.start, each.stop, len(each.records)) for each in found] == [
        ("a", 0, 22, 2),
        ("a", 40, 50, 1),
        ("b", 50, 60, 1),
        ("b", 60, 60 + cc_index.MAX_RANGE_BYTES, 1),
    ]


def test_what_the_index_said_is_kept_in_order_of_buckets(server, tmp_path):
    fetch(index_page(server.base), tmp_path)
    told = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("scratch/index/*.json"))]
    assert sum(each["records"] for each in told) == len(JAPANESE)
    assert sum(each["bytes"] for each in told) == sum(map(len, JAPANESE.values()))
