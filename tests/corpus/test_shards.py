"""Small parts of a shard's row: hosts and ids."""

from __future__ import annotations

import pytest

from shikomi.corpus.shards import document_id, host_of
from shikomi.corpus.text.crawl import Record


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.TEST/path", "example.test"),
        ("http://user:word@example.test:8080?q=1", "example.test"),
        ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
        ("https://日本語.test/", "日本語.test"),
        ("dns:example.test", ""),
        ("", ""),
    ],
)
def test_host(url, host):
    assert host_of(url) == host


def test_ids_depend_on_url_date_and_length():
    def make(url="u", date="d", payload=b"x"):
        return document_id(Record(url, date, 200, "", payload, 0))

    assert len({make(), make(url="v"), make(date="e"), make(payload=b"xy")}) == 4
    assert make() == make()
    assert len(make()) == 16
    assert len(make(url="\ud800")) == 16
