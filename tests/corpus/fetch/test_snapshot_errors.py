"""What goes wrong for good is told in three lines: what, where, and what to do."""

from __future__ import annotations

import gzip
import time

import pytest

from shikomi.corpus.fetch.snapshot import fetch
from shikomi.errors import DataError, RecipeError
from tests.corpus.fetch.cc_server import NAME, closing, cut, promising, serving, status
from tests.corpus.fetch.test_snapshot import FIRST, LAID, WARCS, fetched, page_of, three_lines


@pytest.fixture
def server():
    with serving(dict(LAID)) as running:
        yield running


def test_a_wrong_snapshot_name_is_told(server, tmp_path):
    with pytest.raises(RecipeError) as caught:
        fetch(page_of(server.base, snapshot="CC-MAIN-2026-99"), tmp_path)
    lines = three_lines(caught.value)
    assert "no snapshot CC-MAIN-2026-99" in lines[0]
    assert "corpus.common_crawl.snapshot" in lines[1]
    assert len(server.asked) == 1


def test_a_host_that_does_not_answer_is_told_after_few_attempts(tmp_path):
    with serving({}) as gone:
        base = gone.base
    with pytest.raises(DataError) as caught:
        fetch(page_of(base, attempts=20), tmp_path)
    lines = three_lines(caught.value)
    assert lines[0] == "fetching failed: no connection to it; 3 attempts"
    assert "corpus.common_crawl.base" in lines[2]


def test_a_host_that_does_not_exist_is_told(tmp_path):
    with pytest.raises(DataError, match=r"fetching failed: (its name is not known|no connection to it)") as caught:
        fetch(page_of("https://nowhere.invalid/"), tmp_path)
    three_lines(caught.value)


def test_parts_that_pick_nothing_are_told(server, tmp_path):
    with pytest.raises(RecipeError) as caught:
        fetch(page_of(server.base, parts="3:9"), tmp_path)
    lines = three_lines(caught.value)
    assert "picks none of the 3 files" in lines[0]
    assert "0 to 2" in lines[2]


def test_a_server_that_keeps_saying_no_is_told(server, tmp_path):
    server.always[FIRST] = status(403)
    with pytest.raises(DataError, match="HTTP status 403; 3 attempts") as caught:
        fetch(page_of(server.base), tmp_path)
    assert "requests_per_second" in three_lines(caught.value)[2]
    assert len(server.of(FIRST)) == 3


@pytest.mark.parametrize("fault", [status(503), closing, cut(0), promising(500), status(206)])
def test_a_server_that_fails_for_ever_is_given_up(server, tmp_path, fault):
    server.always[FIRST] = fault
    with pytest.raises(DataError, match="fetching failed") as caught:
        fetch(page_of(server.base, parts="0"), tmp_path)
    three_lines(caught.value)
    assert 6 <= len(server.of(FIRST)) <= 13


def test_attempts_count_failures_in_a_row_without_progress(server, tmp_path):
    server.always[FIRST] = cut(1500)
    fetch(page_of(server.base, parts="0", attempts=2), tmp_path)
    assert list(fetched(tmp_path).values()) == [LAID[WARCS[0]]]
    assert len(server.of(FIRST)) == -(-len(LAID[WARCS[0]]) // 1500)


def test_a_silent_connection_counts_as_cut(server, tmp_path):
    def silent(handler, data):
        handler.give(data, lambda part: part[:1000])
        handler.wfile.flush()
        time.sleep(1.5)

    server.faults[FIRST] += [silent]
    fetch(page_of(server.base, parts="0", timeout="0.5s"), tmp_path)
    assert list(fetched(tmp_path).values()) == [LAID[WARCS[0]]]
    assert "bytes=1000-" in [each.range for each in server.of(FIRST)]


def test_what_is_no_warc_file_is_told(server, tmp_path):
    server.files[WARCS[0]] = b"<html>Please log in</html>"
    with pytest.raises(DataError, match="no compressed WARC file") as caught:
        fetch(page_of(server.base), tmp_path)
    assert "proxy" in three_lines(caught.value)[2]


@pytest.mark.parametrize(
    "listing",
    [
        b"<html>Please log in</html>",
        gzip.compress(b"\xff\xfe"),
        gzip.compress(b"crawl-data/a/../../../etc/passwd\n"),
        gzip.compress(b"https://elsewhere.example/x.warc.gz\n"),
        gzip.compress(b"crawl-data/a.warc.gz\n")[:-4],
    ],
)
def test_what_is_no_list_of_files_is_told(server, tmp_path, listing):
    server.files[f"crawl-data/{NAME}/warc.paths.gz"] = listing
    with pytest.raises(DataError, match="list of files") as caught:
        fetch(page_of(server.base), tmp_path)
    three_lines(caught.value)


def test_a_list_that_names_a_file_twice_is_told(server, tmp_path):
    server.files[f"crawl-data/{NAME}/warc.paths.gz"] = gzip.compress(f"{WARCS[0]}\n{WARCS[0]}\n".encode())
    with pytest.raises(DataError, match="names one twice") as caught:
        fetch(page_of(server.base), tmp_path)
    three_lines(caught.value)
