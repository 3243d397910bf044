"""WARC 1.0 records (ISO 28500) as Common Crawl writes them: one gzip member a record; bytes depend on input only."""

from __future__ import annotations

import base64
import hashlib
import uuid
import zlib

_CRLF = "\r\n"
_GZIP = 31
"""zlib window bits that ask for a gzip header; zlib writes no time into it."""


def member(kind: str, fields: dict[str, str], block: bytes) -> bytes:
    """One record, compressed on its own, so that readers can start at any record."""
    all_fields = {"WARC-Type": kind, **fields, "Content-Length": str(len(block))}
    head = _CRLF.join(["WARC/1.0", *(f"{name}: {value}" for name, value in all_fields.items()), "", ""])
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    return packer.compress(head.encode("utf-8") + block + b"\r\n\r\n") + packer.flush()


def info(name: str, date: str) -> bytes:
    """The ``warcinfo`` record that opens a file."""
    text = _CRLF.join(
        ["software: shikomi.sample", "format: WARC File Format 1.0", "description: synthetic pages, all fictional", ""]
    )
    fields = {
        "WARC-Date": date,
        "WARC-Record-ID": record_id(name, "warcinfo"),
        "WARC-Filename": name,
        "Content-Type": "application/warc-fields",
    }
    return member("warcinfo", fields, text.encode("utf-8"))


def exchange(url: str, date: str, content_type: str, body: bytes) -> bytes:
    """Request, response and metadata records of one page fetched with status 200."""
    host, path = url.split("/", 3)[2:]
    request = _CRLF.join([f"GET /{path} HTTP/1.1", "User-Agent: sample-bot", f"Host: {host}", "Accept: */*", "", ""])
    head = _CRLF.join(
        [
            "HTTP/1.1 200 OK",
            f"Content-Type: {content_type}",
            "X-Crawl-Transfer-Encoding: chunked",
            f"Content-Length: {len(body)}",
            "",
            "",
        ]
    )
    response = head.encode("ascii") + body
    common = {"WARC-Date": date, "WARC-Target-URI": url}
    asked, answered = record_id(url, "request"), record_id(url, "response")
    return b"".join(
        (
            member(
                "request",
                {
                    **common,
                    "WARC-Record-ID": asked,
                    "WARC-Concurrent-To": answered,
                    "Content-Type": "application/http; msgtype=request",
                },
                request.encode("ascii"),
            ),
            member(
                "response",
                {
                    **common,
                    "WARC-Record-ID": answered,
                    "WARC-Concurrent-To": asked,
                    "Content-Type": "application/http; msgtype=response",
                    "WARC-Payload-Digest": digest(body),
                    "WARC-Block-Digest": digest(response),
                },
                response,
            ),
            member(
                "metadata",
                {
                    **common,
                    "WARC-Record-ID": record_id(url, "metadata"),
                    "WARC-Refers-To": answered,
                    "Content-Type": "application/warc-fields",
                },
                b"fetchTimeMs: 120\r\n",
            ),
        )
    )


def digest(data: bytes) -> str:
    """SHA-1 in base 32, as crawlers write it (a checksum, not a safeguard)."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode("ascii")


def record_id(name: str, kind: str) -> str:
    """A record id that depends on its address and kind alone."""
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{name}#{kind}')}>"
