"""Who opted out stays out, however the address is written, and nobody else."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.corpus.care.optout import (
    REASON,
    canonical_url,
    entry,
    make_opt_out,
    parse,
    read_list,
    read_opt_out,
    write_list,
)
from shikomi.errors import DataError

ID = "0123456789abcdef"

LIST = f"""\
# who wrote to us
id {ID.upper()}
url https://example.jp/a?b=1   # one page
prefix https://example.jp/blog/
host example.com

https://bare.example/x
https://bare.example/y/*
bare-host.example
fedcba9876543210
"""


@pytest.fixture
def opted(tmp_path):
    path = tmp_path / "opt-out.txt"
    path.write_text(LIST, encoding="utf-8")
    return read_opt_out([path], ["noai"])


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://example.jp/a?b=1", "url example.jp/a?b=1"),
        ("HTTP://EXAMPLE.JP:80/a?b=1#part", "url example.jp/a?b=1"),
        ("https://example.jp/a", None),
        ("https://example.jp/a?b=12", None),
        ("https://example.jp:8080/a?b=1", None),
        ("https://example.jp/blog/", "prefix example.jp/blog/"),
        ("https://example.jp/blog/2026/1.html", "prefix example.jp/blog/"),
        ("https://example.jp/blog", None),
        ("https://example.jp/blogs/1", None),
        ("https://other.jp/blog/1", None),
        ("https://example.com/", "host example.com"),
        ("https://www.sub.example.com/x", "host example.com"),
        ("https://notexample.com/", None),
        ("https://example.com.evil.jp/", None),
        ("https://bare.example/x", "url bare.example/x"),
        ("https://bare.example/y/z", "prefix bare.example/y/"),
        ("https://user:word@bare-host.example", "host bare-host.example"),
        ("", None),
        ("no address", None),
    ],
)
def test_by_address(opted, url, why):
    assert opted.reason("x", url) == why


def test_by_id_host_and_sign(opted):
    assert opted.reason(ID, "https://elsewhere.example/") == f"id {ID}"
    assert opted.reason("fedcba9876543210", "") == "id fedcba9876543210"
    assert opted.reason("x", "", "WWW.example.com.") == "host example.com"
    assert opted.reason("x", "", "", "noai,noindex") == "sign noai"
    assert opted.reason("x", "", "", "noindex") is None
    row = {"id": "x", "url": "https://example.com/", "host": "example.com"}
    assert opted.decide(row) == (REASON, "host example.com")
    assert opted.decide({**row, "url": "https://a.example/", "host": "a.example", "signs": None}) is None


def test_an_empty_list_keeps_everything():
    nothing = make_opt_out([])
    assert nothing.reason("x", "https://example.jp/", "example.jp", "noai,tdm") is None


def test_what_is_opted_out_pickles(opted):
    assert pickle.loads(pickle.dumps(opted)) == opted


def test_addresses_are_compared_in_one_form():
    assert canonical_url("https://example.jp/会社 概要") == canonical_url("http://example.jp/%e4%bc%9a%e7%a4%be%20概要")
    assert canonical_url("https://例え.example/") == canonical_url("https://xn--r8jz45g.example")
    assert canonical_url("//example.jp?q") == "example.jp/?q"
    assert canonical_url("file name") == ""


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_address_is_taken_and_its_form_is_stable(text):
    for url in (text, f"https://example.jp/{text}", f"https://{text}/"):
        once = canonical_url(url)
        assert not once or canonical_url("https://" + once) == once
        make_opt_out([("host", "example.jp"), ("prefix", "example.jp/a")]).reason("x", url)


def test_a_list_depends_on_its_set_of_entries_alone(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    (tmp_path / "list.txt").write_text(LIST, encoding="utf-8")
    entries = read_list(tmp_path / "list.txt")
    assert len(entries) == 8
    write_list(first, [*entries])
    write_list(second, [*sorted(entries, reverse=True), *entries])
    assert first.read_bytes() == second.read_bytes()
    assert read_list(first) == entries


def test_a_host_with_a_star_and_an_empty_line():
    assert parse("host *.example.jp") == entry("host", "example.jp")
    assert parse("   # only a comment") is None


@pytest.mark.parametrize(
    "line",
    ["id 123", "url nowhere", "url https:///x", "host ex ample.jp", "page https://a.example/", "host -", "prefix *"],
)
def test_a_line_that_is_no_entry_is_named(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"example.jp\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as told:
        read_list(path)
    assert told.value.where == f"{path}:2"
    assert told.value.hint


def test_a_list_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\x00host")
    for path in (tmp_path, tmp_path / "missing.txt", tmp_path / "latin.txt"):
        with pytest.raises(DataError) as told:
            read_opt_out([path])
        assert told.value.hint
