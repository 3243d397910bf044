"""The Common Crawl page: parts, what decides what is fetched, and what is refused before anything is asked for."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shikomi.recipe.common_crawl import CommonCrawlPage

WHERE = {
    "base": "s3://commoncrawl/",
    "requests_per_second": 1.0,
    "bytes_per_second": "10MB",
    "connections": 9,
    "attempts": 2,
    "backoff": "3s",
    "longest_wait": "1h",
    "timeout": "5s",
    "gap_bytes": "1MB",
    "check_members": False,
    "contact": "crawl@example.co.jp",
}


def page(**fields) -> CommonCrawlPage:
    return CommonCrawlPage(**{"snapshot": "CC-MAIN-2023-50", "parts": "0:10", **fields})


@pytest.mark.parametrize(
    ("parts", "numbers"),
    [
        ("0:3", [0, 1, 2]),
        ("7", [7]),
        ("99", []),
        (":", list(range(10))),
        ("8:", [8, 9]),
        (":2", [0, 1]),
        ("::4", [0, 4, 8]),
        ("1:8:3", [1, 4, 7]),
        ("5, 0:2, 1", [0, 1, 5]),
        ("8:20", [8, 9]),
        ("4:4", []),
    ],
)
def test_parts_pick_files_as_slices_do(parts, numbers):
    assert page(parts=parts).chosen(10) == numbers


@pytest.mark.parametrize("parts", ["", "a", "-1", "1-3", "0:10,", "::0", "1:2:3:4"])
def test_other_parts_are_refused(parts):
    with pytest.raises(ValidationError, match="expected parts such as"):
        page(parts=parts)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("snapshot", "../secret", "name of a snapshot"),
        ("snapshot", "", "name of a snapshot"),
        ("base", "data.commoncrawl.org", "expected an address"),
        ("contact", "あて先", "in ASCII"),
        ("contact", "a\r\nX: y", "in ASCII"),
        ("bytes_per_second", "10 apples", "expected a size"),
        ("timeout", 5, "expected a duration"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(field, value, says):
    with pytest.raises(ValidationError, match=says):
        page(**{field: value})


def test_how_politely_and_from_where_never_changes_what_is_built():
    for mode in ("warc", "wet", "index"):
        assert page(mode=mode).identity() == page(mode=mode, **WHERE).identity()


def test_what_is_selected_changes_what_is_built():
    plain = page(mode="index").identity()
    changes = [
        {"snapshot": "CC-MAIN-2024-10"},
        {"parts": "0:11"},
        {"languages": ["kor"]},
        {"top_level_domains": []},
        {"hosts": ["example.co.jp"]},
        {"mime_types": []},
        {"max_records": 5},
        {"warc_bytes": "2GB"},
    ]
    for change in changes:
        assert page(mode="index", **change).identity() != plain, change


def test_fields_of_the_index_are_no_part_of_whole_files():
    assert set(page().identity()) == {"snapshot", "parts", "mode"}


def test_fields_of_the_index_without_index_mode_are_refused():
    with pytest.raises(ValidationError, match=r"hosts, max_records: read only with mode = .index., and mode is .warc."):
        page(hosts=["example.co.jp"], max_records=3)


def test_the_volume_of_whole_files():
    ten = page().volume()
    assert (ten.files, ten.pages, ten.requests) == (10, 566_000, 11)
    assert ten.bytes == ten.disk_bytes == 10_480_000_000
    assert ten.seconds == pytest.approx(11 / 5)
    assert ten.cpu_seconds == pytest.approx(225, rel=0.01)
    assert page(bytes_per_second="10MB").volume().seconds == pytest.approx(1048)
    assert page(check_members=False).volume().cpu_seconds < ten.cpu_seconds / 4
    assert page(parts=":").volume().pages == pytest.approx(2.64e9, rel=0.01)
    assert page(parts="99999").volume().files == 0


def test_the_volume_of_single_records_is_one_of_requests():
    one = page(mode="index", parts="150", gap_bytes=0).volume()
    assert one.requests == 247_011
    assert one.seconds == pytest.approx(13.7 * 3600, rel=0.01)
    assert one.disk_bytes == pytest.approx(4.57e9, rel=0.01)
    assert one.bytes == one.disk_bytes + 107_000_000
    wide = page(mode="index", parts="150", gap_bytes="1MB").volume()
    assert wide.requests < one.requests / 4
    assert wide.bytes > 10 * one.bytes
    assert wide.disk_bytes == one.disk_bytes
    few = page(mode="index", parts="150", max_records=1000).volume()
    assert few.pages == 1000
    assert few.requests < 1100
