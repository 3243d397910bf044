"""Questions to a web server: ranges of files, with every answer checked for what it says it is."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from shikomi.corpus.fetch.remote import Answer, Missing, Refused, Trouble, needs_extra, without_secrets
from shikomi.recipe.common_crawl import CommonCrawlPage

_CHUNK_BYTES = 64 << 10
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_BEYOND = re.compile(r"bytes \*/(\d+)")
_MAY_PASS = {408, 425, 429, 500, 502, 503, 504}
_THROTTLED = {429, 503}
_MAX_REDIRECTS = 5
_OWN_HOSTS = ("localhost", "127.0.0.1", "::1")


class HttpRemote:
    """Files under one ``http:`` or ``https:`` address; safe to use from several threads.

    A user and password in the address become a header, its query goes with every request; neither is ever shown.
    """

    def __init__(self, base: str, page: CommonCrawlPage) -> None:
        try:
            import urllib3
        except ImportError as error:
            raise needs_extra("urllib3") from error
        # At its level "debug" the library writes whole addresses into the log, and with them tokens.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        self._urllib3 = urllib3
        parts = urlsplit(base)
        keys, _, place = parts.netloc.rpartition("@")
        self._parts = parts._replace(netloc=place)
        self._shown = without_secrets(base)
        contact = f"; {page.contact}" if page.contact else ""
        self._headers = {"Accept-Encoding": "identity", "User-Agent": f"shikomi{contact}"}
        if keys:
            self._headers |= urllib3.make_headers(basic_auth=unquote(keys))
        self._pool = self._connections(parts.scheme, parts.hostname or "", page)

    def _connections(self, scheme: str, host: str, page: CommonCrawlPage) -> Any:
        urllib3 = self._urllib3
        options = {
            "maxsize": page.connections,
            "block": True,
            "timeout": urllib3.Timeout(connect=page.timeout, read=page.timeout),
            # We try again ourselves, since only we know where in a file to go on.
            "retries": urllib3.Retry(
                total=None, connect=0, read=0, redirect=_MAX_REDIRECTS, status=0, other=0,
                respect_retry_after_header=False,
            ),
        }  # fmt: skip
        proxy = getproxies().get(scheme)
        if proxy and host not in _OWN_HOSTS and not proxy_bypass(host):
            keys = urlsplit(proxy).netloc.rpartition("@")[0]
            headers = urllib3.make_headers(proxy_basic_auth=unquote(keys)) if keys else None
            return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
        return urllib3.PoolManager(**options)

    def shown(self, name: str) -> str:
        return self._shown + name

    @contextlib.contextmanager
    def ask(self, name: str, start: int, stop: int | None, validator: str) -> Iterator[Answer]:
        url = urlunsplit(self._parts._replace(path=self._parts.path + quote(name, safe="/=+,:@~")))
        headers = dict(self._headers)
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
            if validator:
                headers["If-Range"] = validator
        try:
            response = self._pool.request("GET", url, headers=headers, preload_content=False, decode_content=False)
        except self._urllib3.exceptions.HTTPError as error:
            raise self._silence(error) from None
        try:
            yield self._answer(response)
        finally:
            # What is left of an answer would be read as the beginning of the next: such a connection is closed. Either
            # way its place must be given back, or the next to ask waits for it without end.
            if response.length_remaining != 0:
                response.close()
            response.release_conn()

    def _answer(self, response: Any) -> Answer:
        status, headers = response.status, response.headers
        etag = headers.get("ETag", "")
        validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")  # W/"…" cannot promise bytes
        if status == 200:
            length = headers.get("Content-Length", "")
            size = int(length) if length.isdigit() else None
            return Answer(0, size, size, validator, self._chunks(response))
        if status == 206:
            match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
            if not match or int(match[2]) < int(match[1]):
                raise Trouble("part of a file came without saying which part", restart=True)
            size = None if match[3] == "*" else int(match[3])
            return Answer(int(match[1]), int(match[2]) + 1, size, validator, self._chunks(response))
        if status == 416:
            match = _BEYOND.fullmatch(headers.get("Content-Range", "").strip())
            raise Trouble("asked for bytes beyond the end", restart=True, size=int(match[1]) if match else None)
        if status in (404, 410):
            raise Missing
        if status in _MAY_PASS:
            raise Trouble(f"HTTP status {status}", wait=self._retry_after(headers), throttled=status in _THROTTLED)
        raise Refused(f"HTTP status {status}")

    def _chunks(self, response: Any) -> Iterator[bytes]:
        got = 0
        try:
            # Whatever has come is handed on at once: of a line that falls silent, nothing is lost.
            while chunk := response.read1(_CHUNK_BYTES, decode_content=False):
                got += len(chunk)
                yield chunk
        except self._urllib3.exceptions.TimeoutError:
            raise Trouble(f"silent after {got} bytes") from None
        except self._urllib3.exceptions.HTTPError:
            raise Trouble(f"cut after {got} bytes") from None

    def _retry_after(self, headers: Any) -> float | None:
        value = headers.get("Retry-After")
        try:
            return self._urllib3.Retry().parse_retry_after(value) if value else None
        except self._urllib3.exceptions.HTTPError:
            return None

    def _silence(self, error: Exception) -> Exception:
        """No answer: why, in words without the address."""
        kinds = self._urllib3.exceptions
        cause = getattr(error, "reason", None) or error
        if isinstance(error, kinds.MaxRetryError) and isinstance(cause, kinds.ResponseError):
            return Refused("sent from address to address without end")
        if isinstance(cause, kinds.LocationValueError):
            return Refused("no address of a web server")
        if isinstance(cause, kinds.NameResolutionError):
            return Trouble("its name is not known", silent=True)
        if isinstance(cause, kinds.SSLError):
            return Trouble("its certificate is not accepted", silent=True)
        if isinstance(cause, kinds.NewConnectionError | kinds.ProxyError):
            return Trouble("no connection to it", silent=True)
        if isinstance(cause, kinds.ConnectTimeoutError):
            return Trouble("it does not answer", silent=True)
        return Trouble("cut before the answer")
