"""Whole files of a snapshot: the same bytes whatever the line, the server or a kill do to them."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from shikomi.corpus.fetch.snapshot import fetch
from shikomi.corpus.text.crawl import read_records
from shikomi.errors import DataError, MachineError, ShikomiError
from shikomi.recipe.common_crawl import CommonCrawlPage
from tests.corpus.fetch import cc_server
from tests.corpus.fetch.cc_server import (
    NAME,
    closing,
    cut,
    displaced,
    flipped,
    lengthless,
    promising,
    serving,
    status,
    whole,
)

CRAWLED = [cc_server.pages(6, first) for first in (0, 6, 12)]
LAID = cc_server.snapshot(CRAWLED)
FIRST = "-00000.warc.gz"
WARCS = sorted(path for path in LAID if path.endswith(".warc.gz"))


@pytest.fixture
def server():
    with serving(dict(LAID)) as running:
        yield running


def page_of(base: str, **fields) -> CommonCrawlPage:
    """A page that asks a test's server at once and again."""
    quick = {"requests_per_second": 10_000.0, "backoff": "0s", "timeout": "5s", "attempts": 6}
    return CommonCrawlPage(**{"snapshot": NAME, "parts": ":", "base": base, **quick, **fields})


def fetched(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("warc/*"))}


def ledger(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "fetch.jsonl").read_text(encoding="utf-8").splitlines()]


WHOLE = {path.rsplit("/", 1)[1]: LAID[path] for path in WARCS}


def test_whole_files_are_fetched_byte_for_byte(server, tmp_path):
    told = []
    facts = fetch(page_of(server.base), tmp_path, progress=lambda *about: told.append(about))
    assert fetched(tmp_path) == WHOLE
    assert facts == {
        "snapshot": NAME,
        "mode": "warc",
        "base": server.base,
        "listed_files": 3,
        "files": 3,
        "bytes": sum(map(len, WHOLE.values())),
        "records": 3 * (1 + 6 * 3),
        "damaged_records": 0,
    }
    assert [(row["file"], row["tries"], row["damaged"]) for row in ledger(tmp_path)] == [
        (f"warc/{name}", 1, 0) for name in WHOLE
    ]
    assert told[-1][:3] == (3, 3, "files")
    assert all(each.headers["User-Agent"].startswith("shikomi") for each in server.asked)


def test_the_build_reads_what_was_fetched(server, tmp_path):
    fetch(page_of(server.base, parts="1"), tmp_path)
    (path,) = (tmp_path / "warc").glob("*.warc.gz")
    records = list(read_records(path, max_page_bytes=10**6, skipped=Counter()))
    assert [(record.url, record.payload) for record in records] == [(page.url, page.body) for page in CRAWLED[1]]


def test_parts_pick_files_of_the_list(server, tmp_path):
    facts = fetch(page_of(server.base, parts="0,2"), tmp_path)
    assert list(fetched(tmp_path)) == [next(iter(WHOLE)), list(WHOLE)[2]]
    assert (facts["files"], facts["listed_files"]) == (2, 3)


def test_wet_files_become_warc_files_by_name(server, tmp_path):
    fetch(page_of(server.base, mode="wet", parts="0"), tmp_path)
    ((name, data),) = fetched(tmp_path).items()
    assert name.endswith("-00000.wet.warc.gz")
    assert data == next(data for path, data in LAID.items() if path.endswith("-00000.warc.wet.gz"))


# What a server may do to a file without the file coming out otherwise, and what the law is about.
TROUBLES = {
    "cut once": [cut(5000)],
    "cut again and again": [cut(3000), cut(1), cut(0), cut(4000), cut(7)],
    "slow down": [status(503, retry_after="0"), status(429), status(500, retry_after="soon")],
    "slow down after a cut": [cut(3000), status(503, retry_after="0")],
    "no answer": [closing, closing],
    "whole file instead of the rest": [cut(5000), whole],
    "whole file, cut too": [cut(5000), cut(6000), whole],
    "the wrong range": [cut(5000), displaced(100)],
    "a length too long": [promising(500)],
    "a length too short": [promising(-500)],
    "another size than before": [cut(5000), promising(40)],
    "a range without its place": [cut(5000), status(206)],
    "beyond the end": [cut(5000), status(416)],
    "no rights for a moment": [status(403)],
    "a flipped byte on the way": [flipped(9000)],
    "a page instead of the file": [status(200)],
    "no length": [lengthless()],
    "no length, cut": [lengthless(4000)],
    "no length, up to the end of the connection": [lengthless(4000, chunked=False), lengthless(chunked=False)],
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_law_whatever_the_line_does_the_bytes_are_the_same(server, tmp_path, trouble):
    server.faults[FIRST] += TROUBLES[trouble]
    facts = fetch(page_of(server.base, parts="0"), tmp_path)
    assert list(fetched(tmp_path).values()) == [WHOLE[next(iter(WHOLE))]]
    assert facts["damaged_records"] == 0
    (row,) = ledger(tmp_path)
    assert row["tries"] == len(server.of(FIRST)) >= len(TROUBLES[trouble])
    assert not list(tmp_path.glob("scratch/*.partial*"))


def test_a_cut_file_goes_on_where_it_was_cut(server, tmp_path):
    server.faults[FIRST] += [cut(5000), cut(2000)]
    fetch(page_of(server.base, parts="0"), tmp_path)
    asked = server.of(FIRST)
    assert [each.range for each in asked] == ["", "bytes=5000-", "bytes=7000-"]
    assert [each.if_range for each in asked][1:] == [cc_server.etag(server.files[WARCS[0]])] * 2


def test_without_a_sign_that_it_is_the_same_file_a_cut_one_starts_over(server, tmp_path):
    server.validators = False
    server.faults[FIRST] += [cut(5000)]
    fetch(page_of(server.base, parts="0"), tmp_path)
    assert fetched(tmp_path)[next(iter(WHOLE))] == WHOLE[next(iter(WHOLE))]


def test_a_file_that_changes_while_it_is_fetched_starts_over(server, tmp_path):
    other = LAID[WARCS[1]]

    def cut_and_change(handler, data):
        server.files[WARCS[0]] = other
        cut(5000)(handler, data)

    server.faults[FIRST] += [cut_and_change]
    fetch(page_of(server.base, parts="0"), tmp_path)
    assert list(fetched(tmp_path).values()) == [other]


def test_law_killed_and_resumed_gives_the_same_bytes(server, tmp_path):
    server.always[FIRST] = cc_server.slow(400, 0.1)
    page = page_of(server.base, parts="0:2", connections=1)
    partial = tmp_path / "scratch" / f"{next(iter(WHOLE))}.partial"
    cc_server.killed(page, tmp_path, lambda: partial.exists() and partial.stat().st_size > 0)
    size = partial.stat().st_size
    assert 0 < size < len(LAID[WARCS[0]])
    del server.always[FIRST]
    before = len(server.asked)
    fetch(page, tmp_path)
    assert fetched(tmp_path) == {name: WHOLE[name] for name in list(WHOLE)[:2]}
    assert [each.range for each in server.asked[before:] if each.path.endswith(FIRST)] == [f"bytes={size}-"]


@pytest.mark.parametrize(
    "sidecar", ["", "{", "[]", "{}", '{"size": "9", "validator": ""}', '{"size": 9, "validator": "x"}']
)
def test_a_start_that_cannot_be_trusted_is_not_gone_on_with(server, tmp_path, sidecar):
    server.faults[FIRST] += [cut(5000)]
    with pytest.raises(DataError, match=r"fetching failed: (cut|ended) after 5000"):
        fetch(page_of(server.base, parts="0", attempts=1), tmp_path)
    (told,) = (tmp_path / "scratch").glob("*.partial.json")
    assert json.loads(told.read_text())["size"] == len(LAID[WARCS[0]])
    told.write_text(sidecar)
    fetch(page_of(server.base, parts="0"), tmp_path)
    assert list(fetched(tmp_path).values()) == [LAID[WARCS[0]]]
    assert [each.range for each in server.of(FIRST)] == ["", ""]


def test_a_file_that_only_lacked_its_name_is_not_fetched_again(server, tmp_path):
    (tmp_path / "scratch").mkdir()
    partial = tmp_path / "scratch" / f"{next(iter(WHOLE))}.partial"
    partial.write_bytes(LAID[WARCS[0]])
    told = {"size": len(LAID[WARCS[0]]), "validator": cc_server.etag(LAID[WARCS[0]])}
    partial.with_name(partial.name + ".json").write_text(json.dumps(told))
    fetch(page_of(server.base, parts="0"), tmp_path)
    assert list(fetched(tmp_path).values()) == [LAID[WARCS[0]]]
    assert not server.of(FIRST)


def test_finished_files_are_not_asked_for_again(server, tmp_path):
    server.always["-00002.warc.gz"] = status(404)
    with pytest.raises(DataError, match="no such file"):
        fetch(page_of(server.base, connections=1), tmp_path)
    before = len((tmp_path / "scratch" / "fetch.jsonl").read_text().splitlines())
    assert before == 2
    server.always.clear()
    server.asked.clear()
    facts = fetch(page_of(server.base), tmp_path)
    assert fetched(tmp_path) == WHOLE
    assert facts["files"] == len(ledger(tmp_path)) == before + 1
    assert [each.path.rsplit("/", 1)[1] for each in server.asked] == ["warc.paths.gz", list(WHOLE)[2]]


def test_a_finished_file_that_was_changed_is_fetched_again(server, tmp_path):
    fetch(page_of(server.base), tmp_path)
    (tmp_path / "warc" / list(WHOLE)[1]).write_bytes(b"short")
    fetch(page_of(server.base), tmp_path)
    assert fetched(tmp_path) == WHOLE


def test_damage_of_the_snapshot_itself_is_counted_and_kept(server, tmp_path):
    data = bytearray(LAID[WARCS[0]])
    data[len(data) // 2] ^= 0xFF
    server.files[WARCS[0]] = bytes(data)
    facts = fetch(page_of(server.base), tmp_path)
    assert facts["damaged_records"] == 1
    assert [(row["damaged"], row["tries"]) for row in ledger(tmp_path)] == [(1, 2), (0, 1), (0, 1)]
    assert fetched(tmp_path)[next(iter(WHOLE))] == bytes(data)


@pytest.mark.parametrize("mode", ["warc", "index"])
def test_damage_that_differs_each_time_is_not_taken_for_the_snapshots_own(server, tmp_path, mode):
    server.faults[".warc.gz"] += [flipped(100 + 7 * number) for number in range(40)]
    with pytest.raises(DataError, match="damaged, and differently each time") as caught:
        fetch(page_of(server.base, mode=mode, attempts=4, connections=1), tmp_path)
    three_lines(caught.value)
    assert not fetched(tmp_path)
    server.faults.clear()
    fetch(page_of(server.base, mode=mode), tmp_path)
    fetch(page_of(server.base, mode=mode), tmp_path / "at once")
    assert fetched(tmp_path) == fetched(tmp_path / "at once")


def test_without_looking_into_files_lengths_are_still_checked(server, tmp_path):
    server.faults[FIRST] += [cut(5000), flipped(100)]
    facts = fetch(page_of(server.base, parts="0", check_members=False), tmp_path)
    assert facts["records"] is None
    (data,) = fetched(tmp_path).values()
    assert len(data) == len(LAID[WARCS[0]])
    assert data != LAID[WARCS[0]], "a flipped byte is left for the reader of pages to find"
    server.files[WARCS[1]] = b"<html>Please log in</html>"
    with pytest.raises(DataError, match="no compressed WARC file"):
        fetch(page_of(server.base, parts="1", check_members=False), tmp_path / "other")


def three_lines(error: ShikomiError) -> list[str]:
    lines = str(error).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("  at: ")
    assert lines[2].startswith("hint: ")
    return lines


def test_room_for_all_files_is_looked_for_at_the_first(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2 * len(LAID[WARCS[0]])))
    with pytest.raises(MachineError, match="not enough room") as caught:
        fetch(page_of(server.base, connections=1), tmp_path)
    assert "still to come" in three_lines(caught.value)[0]
    assert not fetched(tmp_path)


def test_a_disk_that_fills_up_is_told_and_gone_on_from(server, tmp_path, monkeypatch):
    from shikomi.corpus.fetch.download import FileSink

    real = FileSink.write

    def full(self, chunk):
        if self.length > 4000:
            from shikomi.corpus.fetch.download import full_disk_told

            with full_disk_told(self.partial):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, chunk[:5000])

    server.always[FIRST] = cc_server.slow(5000, 0.01)
    monkeypatch.setattr(FileSink, "write", full)
    with pytest.raises(MachineError, match="no room to write") as caught:
        fetch(page_of(server.base, parts="0"), tmp_path)
    three_lines(caught.value)
    monkeypatch.setattr(FileSink, "write", real)
    fetch(page_of(server.base, parts="0"), tmp_path)
    assert list(fetched(tmp_path).values()) == [LAID[WARCS[0]]]
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.of(FIRST)[-1].range)


def test_a_wait_longer_than_agreed_is_told(server, tmp_path):
    server.faults[FIRST] += [status(503, retry_after="7200")]
    with pytest.raises(DataError, match="asks to wait 2:00:00") as caught:
        fetch(page_of(server.base), tmp_path)
    three_lines(caught.value)


def test_a_wait_that_the_server_asks_for_holds_for_all_connections(server, tmp_path):
    server.faults[FIRST] += [status(503, retry_after="2")]
    server.always["-00001.warc.gz"] = cc_server.slow(2000, 0.1)  # its thread is free again well within the wait
    fetch(page_of(server.base, connections=2), tmp_path)
    refused, again = (each.time for each in server.of(FIRST))
    assert again - refused >= 2.0
    assert server.of("-00002.warc.gz")[0].time - refused >= 1.9


def test_a_failure_ends_the_other_connections_at_once(server, tmp_path):
    server.always[FIRST] = status(404)
    server.always["-00001.warc.gz"] = cc_server.slow(100, 0.05)
    with pytest.raises(DataError, match="no such file"):
        fetch(page_of(server.base, connections=2), tmp_path)
    assert list(WHOLE)[1] not in fetched(tmp_path)
    partial = tmp_path / "scratch" / f"{list(WHOLE)[1]}.partial"
    assert not partial.exists() or partial.stat().st_size < len(LAID[WARCS[1]])


def test_redirects_are_followed(server, tmp_path):
    server.files["moved.warc.gz"] = LAID[WARCS[0]]
    server.always[FIRST] = status(302, location=f"{server.base}moved.warc.gz")
    fetch(page_of(server.base, parts="0"), tmp_path)
    assert list(fetched(tmp_path).values()) == [LAID[WARCS[0]]]
    server.always[FIRST] = status(302, location=f"{server.base}x{FIRST}")
    with pytest.raises(DataError, match="from address to address"):
        fetch(page_of(server.base, parts="0"), tmp_path / "other")
