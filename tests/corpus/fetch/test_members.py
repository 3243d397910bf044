"""Members of compressed WARC files: each checked to its checksum, each record to its length and digest."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from shikomi.corpus.fetch import members as checked
from shikomi.corpus.fetch.members import Examined, examine, record_problem
from shikomi.sample import warc
from tests.corpus.fetch.cc_server import members

BODY = "<p>本文</p>".encode()
PAGE = warc.exchange("https://example.co.jp/", "2026-01-12T00:00:00Z", "text/html", BODY)
RESPONSE = members(PAGE)[1]


def record(**fields: str) -> bytes:
    """A response record whose fields are as given; its block is fixed."""
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + BODY
    told = {"WARC-Type": "response", "Content-Length": str(len(block)), **fields}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return gzip.compress(f"WARC/1.0\r\n{head}\r\n".encode() + block + b"\r\n\r\n")


def test_a_whole_file_has_only_readable_members(tmp_path):
    path = tmp_path / "a.warc.gz"
    path.write_bytes(PAGE * 5)
    assert examine(path) == Examined(True, 15, 0, hashlib.sha256(PAGE * 5).hexdigest())
    path.write_bytes(b"")
    assert examine(path) == Examined(True, 0, 0, hashlib.sha256(b"").hexdigest())


@pytest.mark.parametrize(
    ("change", "members_left", "damaged"),
    [
        (lambda data: data[:-10], 14, 1),
        (lambda data: data[: len(PAGE) + 40] + data[len(PAGE) + 60 :], 14, 1),
        (lambda data: b"junk" + data, 15, 1),
        (lambda data: data + b"junk", 15, 1),
        (lambda data: b"junk", 0, 1),
        (lambda data: data[:30] + data[len(PAGE) : len(PAGE) + 30] + data[2 * len(PAGE) :], 9, 1),
    ],
)
def test_damage_is_counted_by_stretch_and_reading_goes_on(tmp_path, change, members_left, damaged):
    path = tmp_path / "a.warc.gz"
    path.write_bytes(change(PAGE * 5))
    found = examine(path)
    assert (found.members, found.damaged) == (members_left, damaged)


@pytest.mark.parametrize("size", [4, 5, 7, 64, 1 << 20])
def test_members_are_found_again_wherever_pieces_of_the_file_end(tmp_path, monkeypatch, size):
    monkeypatch.setattr(checked, "_SEARCH_BYTES", size)
    path = tmp_path / "a.warc.gz"
    for junk in range(1, 9):
        path.write_bytes(b"\x1f\x8b" * junk + PAGE + b"\x1f" * junk)
        found = examine(path)
        assert (found.members, found.damaged) == (3, 2)


def test_whole_records_have_no_problem():
    for member in members(PAGE):
        assert record_problem(member) == ""


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (b"", "it is cut"),
        (b"no gzip", "its compression is damaged"),
        (RESPONSE[:-1], "it is cut"),
        (RESPONSE + RESPONSE, "it is longer than one record"),
        (RESPONSE + b"\0", "it is longer than one record"),
        (RESPONSE[:-6] + bytes(6), "its compression is damaged"),
        (gzip.compress(b"<html></html>"), "it is no WARC record"),
        (gzip.compress(b"WARC/1.0\r\n\r\nbody"), "its length is not what it says"),
        (record(**{"Content-Length": "3"}), "its length is not what it says"),
        (record(**{"Content-Length": "9999"}), "its length is not what it says"),
        (record(**{"WARC-Block-Digest": "sha1:" + "A" * 32}), "its digest is not that of its bytes"),
        (record(**{"WARC-Payload-Digest": "sha1:" + "A" * 32}), "its digest is not that of its bytes"),
        (record(**{"WARC-Payload-Digest": "sha256:" + hashlib.sha256(BODY).hexdigest()}), ""),
        (record(**{"WARC-Payload-Digest": warc.digest(BODY)}), ""),
        (record(**{"WARC-Block-Digest": "blake3:whatever"}), ""),
        (record(), ""),
    ],
)
def test_what_is_wrong_with_a_record_is_said(member, problem):
    assert record_problem(member) == problem


def test_a_bomb_is_not_inflated_to_its_end(monkeypatch):
    monkeypatch.setattr(checked, "MAX_RECORD_BYTES", 1000)
    assert "more than 1000 bytes" in record_problem(gzip.compress(b"WARC/1.0\r\n" + bytes(10**6)))
