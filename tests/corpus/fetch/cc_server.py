"""A snapshot laid out as Common Crawl lays it out, and a web server on loopback that serves it as badly as asked."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from shikomi.recipe.common_crawl import CommonCrawlPage
from shikomi.sample import warc
from tests.corpus.pages import html_page, japanese_text

NAME = "CC-MAIN-2026-01"
DATE = "2026-01-12T00:00:00Z"


@dataclass
class Crawled:
    """One page of the snapshot, and what the index says of it."""

    url: str
    languages: str | None
    body: bytes
    mime: str = "text/html"
    status: int = 200
    member: bytes = b""

    @property
    def host(self) -> str:
        return self.url.split("/")[2]


def pages(count: int = 12, first: int = 0) -> list[Crawled]:
    """Pages of which a third are Japanese by the index, one has no language and lies under .jp, the rest are others."""
    made = []
    for number in range(first, first + count):
        body = html_page(japanese_text(number)).encode()
        kind = number % 6
        host, languages = {
            0: (f"a{number}.example.co.jp", "jpn"),
            1: (f"b{number}.example.com", "eng"),
            2: (f"www.c{number}.example.org", "eng,jpn"),
            3: (f"d{number}.example.ne.jp", None),
            4: (f"e{number}.example.de", None),
            5: (f"f{number}.example.cn", "zho"),
        }[kind]
        made.append(Crawled(f"https://{host}/page/{number}.html", languages, body))
    return made


def is_japanese(page: Crawled) -> bool:
    """What index mode should pick by default, said another way than the code says it."""
    if page.status != 200 or page.mime != "text/html":
        return False
    return "jpn" in page.languages.split(",") if page.languages else page.host.endswith(".jp")


def members(data: bytes) -> list[bytes]:
    """The gzip members of a file."""
    found = []
    while data:
        inflate = zlib.decompressobj(31)
        inflate.decompress(data)
        assert inflate.eof
        size = len(data) - len(inflate.unused_data)
        found.append(data[:size])
        data = data[size:]
    return found


def snapshot(files: list[list[Crawled]], name: str = NAME, *, index_files: int = 2, group: int = 4) -> dict[str, bytes]:
    """Path → bytes of a snapshot: WARC files, WET files, columnar index, and the lists of them."""
    laid: dict[str, bytes] = {}
    rows = []
    warcs, wets = [], []
    for number, crawled in enumerate(files):
        stem = f"CC-MAIN-20260112000000-20260112030000-{number:05d}"
        path = f"crawl-data/{name}/segments/1768176000000.{number}/warc/{stem}.warc.gz"
        data = warc.info(f"{stem}.warc.gz", DATE)
        text = warc.info(f"{stem}.warc.wet.gz", DATE)
        for page in crawled:
            for member in members(warc.exchange(page.url, DATE, f"{page.mime}; charset=utf-8", page.body)):
                if b"WARC-Type: response" in gzip.decompress(member):
                    page.member = member
                    rows.append(_row(page, path, len(data), len(member)))
                data += member
            fields = {"WARC-Date": DATE, "WARC-Target-URI": page.url, "Content-Type": "text/plain"}
            text += warc.member("conversion", fields, f"題名\n{page.url}\n".encode())
        laid[path] = data
        warcs.append(path)
        wets.append(path.replace("/warc/", "/wet/").replace(".warc.gz", ".warc.wet.gz"))
        laid[wets[-1]] = text
    rows.sort(key=lambda row: row["url_surtkey"])
    table = f"cc-index/table/cc-main/warc/crawl={name}"
    share = -(-len(rows) // index_files)
    tables = []
    for number in range(index_files):
        tables.append(f"{table}/subset=warc/part-{number:05d}-c000.gz.parquet")
        laid[tables[-1]] = parquet(rows[number * share : (number + 1) * share], group)
    diagnostics = f"{table}/subset=crawldiagnostics/part-00000-c000.gz.parquet"
    laid[diagnostics] = parquet(rows[:1], group)
    for kind, paths in (("warc", warcs), ("wet", wets), ("cc-index-table", [diagnostics, *tables])):
        laid[f"crawl-data/{name}/{kind}.paths.gz"] = gzip.compress("".join(f"{p}\n" for p in paths).encode())
    return laid


def _row(page: Crawled, path: str, offset: int, length: int) -> dict[str, Any]:
    labels = page.host.removeprefix("www.").split(".")
    return {
        "url_surtkey": ",".join(reversed(labels)) + ")/" + page.url.split("/", 3)[3],
        "url": page.url,
        "url_host_name": page.host,
        "url_host_tld": labels[-1],
        "fetch_status": page.status,
        "content_mime_type": page.mime,
        "content_mime_detected": page.mime,
        "content_languages": page.languages,
        "warc_filename": path,
        "warc_record_offset": offset,
        "warc_record_length": length,
    }


INDEX_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("url_surtkey", "url", "url_host_name", "url_host_tld")]
    + [("fetch_status", pa.int16())]
    + [(name, pa.string()) for name in ("content_mime_type", "content_mime_detected", "content_languages")]
    + [("warc_filename", pa.string()), ("warc_record_offset", pa.int32()), ("warc_record_length", pa.int32())]
)


def parquet(rows: list[dict[str, Any]], group: int) -> bytes:
    """Rows of the index in the types Common Crawl gives them, ``group`` rows a row group."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, INDEX_SCHEMA), buffer, row_group_size=group, compression="gzip")
    return buffer.getvalue()


@dataclass(frozen=True)
class Asked:
    """One request that came."""

    path: str
    range: str
    if_range: str
    headers: dict[str, str]
    time: float


Fault = Callable[["_Handler", bytes], None]


@dataclass
class Server:
    """What is served, what goes wrong, what was asked.

    Attributes:
        faults: by path or end of it: what happens to the next requests, one after the other.
        always: by path or end of it: what happens to every request.
    """

    files: dict[str, bytes]
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    always: dict[str, Fault] = field(default_factory=dict)
    validators: bool = True
    asked: list[Asked] = field(default_factory=list)
    address: str = ""
    lock: Any = field(default_factory=threading.Lock)

    @property
    def base(self) -> str:
        return f"http://{self.address}/"

    def of(self, end: str) -> list[Asked]:
        """The requests for one file."""
        return [each for each in self.asked if each.path.endswith(end)]

    def fault(self, path: str) -> Fault | None:
        with self.lock:
            for end, queue in self.faults.items():
                if path.endswith(end) and queue:
                    return queue.pop(0)
        return next((fault for end, fault in self.always.items() if path.endswith(end)), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        data = self.server.state.files.get(unquote(urlsplit(self.path).path).lstrip("/"))
        if data is None:
            self.send(404, {}, b"")
        else:
            self.send(200, {**self.signs(data), "Content-Length": str(len(data))}, b"")

    def do_GET(self) -> None:
        state: Server = self.server.state
        path = unquote(urlsplit(self.path).path).lstrip("/")
        asked = Asked(
            self.path.lstrip("/"),
            self.headers.get("Range", ""),
            self.headers.get("If-Range", ""),
            {name.title(): value for name, value in self.headers.items()},
            time.monotonic(),
        )
        with state.lock:
            state.asked.append(asked)
        data = state.files.get(path)
        fault = state.fault(path)
        try:
            if fault:
                fault(self, data or b"")
            elif data is None:
                self.send(404, {}, b"no such key")
            else:
                self.give(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def signs(self, data: bytes) -> dict[str, str]:
        return {"ETag": etag(data)} if self.server.state.validators else {}

    def span(self, data: bytes) -> tuple[int, int] | None:
        """The range that is asked for and may be given, or None for the whole file."""
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range", "")
        if not asked.startswith("bytes=") or (condition and condition != self.signs(data).get("ETag")):
            return None
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1 if last else len(data), len(data))

    def give(self, data: bytes, body: Callable[[bytes], bytes] = bytes) -> None:
        """Answer as a good server does; ``body`` may change the bytes on their way."""
        span = self.span(data)
        if span is None:
            self.send(200, {**self.signs(data), "Content-Length": str(len(data))}, body(data))
        elif span[0] >= len(data):
            self.send(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        else:
            part = data[span[0] : span[1]]
            place = {"Content-Range": f"bytes {span[0]}-{span[1] - 1}/{len(data)}", "Content-Length": str(len(part))}
            self.send(206, {**self.signs(data), **place}, body(part))

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if len(body) < int(headers.get("Content-Length", len(body))) and self.command == "GET":
            self.close_connection = True


def etag(data: bytes) -> str:
    """The sign that a good server gives a file."""
    return f'"{hashlib.md5(data).hexdigest()}"'


def status(code: int, **headers: str) -> Fault:
    """Answer with this status; ``retry_after="1"`` and the like become headers."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return lambda handler, data: handler.send(code, named, b"<Error>SlowDown</Error>")


def cut(after: int) -> Fault:
    """Promise everything, send ``after`` bytes, close."""
    return lambda handler, data: handler.give(data, lambda part: part[:after])


def whole(handler: _Handler, data: bytes) -> None:
    """Serve the whole file, whatever range is asked for."""
    handler.send(200, {**handler.signs(data), "Content-Length": str(len(data))}, data)


def flipped(place: int) -> Fault:
    """Turn one byte of the body round."""

    def change(part: bytes) -> bytes:
        at = place % len(part)
        return part[:at] + bytes([part[at] ^ 0xFF]) + part[at + 1 :]

    return lambda handler, data: handler.give(data, change)


def promising(more: int) -> Fault:
    """Tell a length that is ``more`` bytes too long (or, negative, too short), and close after the body."""

    def serve(handler: _Handler, data: bytes) -> None:
        start = (handler.span(data) or (0, 0))[0]
        size = len(data) + more
        if start >= len(data):
            handler.send(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
        elif handler.span(data) is None:
            handler.send(200, {**handler.signs(data), "Content-Length": str(size)}, data[:size])
        else:
            place = {"Content-Range": f"bytes {start}-{size - 1}/{size}", "Content-Length": str(size - start)}
            handler.send(206, {**handler.signs(data), **place}, data[start:size])

    return serve


def displaced(by: int) -> Fault:
    """Answer a range with another one, and say so in Content-Range."""

    def serve(handler: _Handler, data: bytes) -> None:
        first, last = handler.span(data) or (0, len(data))
        first += by
        place = {"Content-Range": f"bytes {first}-{last - 1}/{len(data)}"}
        handler.send(206, {**handler.signs(data), **place}, data[first:last])

    return serve


def slow(chunk: int, seconds: float) -> Fault:
    """Send ``chunk`` bytes, wait, and so on."""

    def serve(handler: _Handler, data: bytes) -> None:
        handler.give(data, lambda part: b"")  # the headers
        first, last = handler.span(data) or (0, len(data))
        for position in range(first, last, chunk):
            handler.wfile.write(data[position : min(position + chunk, last)])
            handler.wfile.flush()
            time.sleep(seconds)

    return serve


def lengthless(after: int | None = None, *, chunked: bool = True) -> Fault:
    """Answer without a length, in chunks or up to the end of the connection; cut after so many bytes, or not."""

    def serve(handler: _Handler, data: bytes) -> None:
        body = data[:after]
        handler.send_response(200)
        handler.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(body), body) if chunked else body)
        handler.wfile.write(b"0\r\n\r\n" if chunked and after is None else b"")
        handler.close_connection = True

    return serve


def closing(handler: _Handler, data: bytes) -> None:
    """Close without a word."""
    handler.close_connection = True


class _Quiet(ThreadingHTTPServer):
    """A server that does not complain of clients who leave in the middle: ours are meant to."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    """A server of these files on a free port of loopback."""
    state = Server(files)
    server = _Quiet(("127.0.0.1", 0), _Handler)
    server.state = state  # type: ignore[attr-defined]
    server.daemon_threads = True
    state.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def killed(page: CommonCrawlPage, out: Path, when: Callable[[], bool]) -> None:
    """Fetch in a process of its own, and kill it at this moment."""
    code = (
        "import sys; from pathlib import Path; from shikomi.corpus.fetch.snapshot import fetch;"
        "from shikomi.recipe.common_crawl import CommonCrawlPage;"
        "fetch(CommonCrawlPage.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    fields = {name: f"{value}s" if name in ("backoff", "longest_wait", "timeout") else value for name, value in page}
    with subprocess.Popen([sys.executable, "-c", code, json.dumps(fields), str(out)]) as child:
        deadline = time.monotonic() + 60
        while not when() and time.monotonic() < deadline:
            assert child.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        child.kill()


def good(handler: _Handler, data: bytes) -> None:
    """Nothing goes wrong."""
    handler.give(data)
