"""Where snapshots lie: one question, "the bytes from here", asked of a web server or of a file system of fsspec."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from shikomi.corpus.fetch.pace import Pace
from shikomi.errors import MachineError, RecipeError
from shikomi.recipe.common_crawl import CommonCrawlPage

KEY = "corpus.common_crawl"
BASE_KEY = f"{KEY}.base"
_CHUNK_BYTES = 4 << 20
_S3_OPTIONS = ("region", "endpoint_override", "scheme", "anonymous")
_S3_REGION = "us-east-1"
"""Where the bucket ``commoncrawl`` lies (commoncrawl.org/get-started)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes on their way.

    Attributes:
        start: place in the file of the first byte that comes.
        stop: place after the last byte that is promised; None if nothing is promised.
        size: of the whole file in bytes; None if unknown.
        validator: changes when the file changes; empty if there is no such sign.
        chunks: the bytes; iterating raises ``Trouble`` where they are cut.
    """

    start: int
    stop: int | None
    size: int | None
    validator: str
    chunks: Iterator[bytes]


class Trouble(Exception):
    """A question failed in a way that may pass.

    Attributes:
        reason: for people; never holds an address's secrets.
        wait: seconds the server asked to wait, if it did.
        throttled: the server said that it is asked too much.
        silent: no server answered at all.
        refused: the server says no, and will hardly change its mind.
        restart: what has been fetched of this file is of no use.
        size: the file's true size, where the answer was "beyond its end".
    """

    def __init__(
        self,
        reason: str,
        *,
        wait: float | None = None,
        throttled: bool = False,
        silent: bool = False,
        refused: bool = False,
        restart: bool = False,
        size: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.throttled = throttled
        self.silent = silent
        self.refused = refused
        self.restart = restart
        self.size = size


class Missing(Exception):
    """There is no file of this name."""


class Refused(Exception):
    """The server knows us and says no; asking again hardly helps."""


class Remote(Protocol):
    """Files under one base address."""

    def shown(self, name: str) -> str:
        """The address of a file for logs and ledgers, without keys and tokens."""
        ...

    def ask(self, name: str, start: int, stop: int | None, validator: str) -> AbstractContextManager[Answer]:
        """Ask for bytes ``start`` to ``stop`` (None: the end) of a file, as it was when it had this validator.

        Raises:
            Trouble: it may work later.
            Missing: there is no such file.
            Refused: not for us.
        """
        ...


def open_remote(page: CommonCrawlPage, pace: Pace) -> Remote:
    """The files under the page's ``base``.

    Raises:
        RecipeError: a variable of ``base`` is not set, or its kind of address is unknown.
        MachineError: a library that this kind of address needs is not installed.
    """
    base = _with_variables(page.base)
    if not base.split("?")[0].endswith("/"):
        path, mark, query = base.partition("?")
        base = f"{path}/{mark}{query}"
    if urlsplit(base).scheme in ("http", "https"):
        from shikomi.corpus.fetch.http import HttpRemote

        return HttpRemote(base, page)
    return FileSystemRemote(base, page, pace)


def without_secrets(url: str) -> str:
    """An address without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def needs_extra(what: str) -> MachineError:
    """The error for a library of the extra ``crawl`` that is not there."""
    return MachineError(
        f"fetching needs {what}, which is not installed", where=BASE_KEY, hint='pip install "shikomi[crawl]"'
    )


def _with_variables(base: str) -> str:
    def value(match: re.Match) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise RecipeError(
                f"the environment variable {match[1]} is not set", where=BASE_KEY, hint=f"export {match[1]}=… first"
            )
        return found

    return re.sub(r"\$\{(\w+)\}", value, base)


class FileSystemRemote:
    """A snapshot in an object store or on disk, read through fsspec; S3 by the client that pyarrow brings."""

    def __init__(self, base: str, page: CommonCrawlPage, pace: Pace) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise needs_extra("fsspec") from error
        self._shown = without_secrets(base)
        self._pace = pace
        scheme = urlsplit(base).scheme
        if scheme == "s3":
            self._files, self._root = _s3(base, page.timeout)
            return
        try:
            self._files, self._root = fsspec.core.url_to_fs(base)
        except (ImportError, ValueError) as error:
            raise RecipeError(
                f'addresses that begin with "{scheme}:" cannot be read here',
                where=BASE_KEY,
                hint="use https:, s3: or file:, or install the fsspec package for this kind of address",
            ) from error

    def shown(self, name: str) -> str:
        return self._shown + name

    @contextlib.contextmanager
    def ask(self, name: str, start: int, stop: int | None, validator: str) -> Iterator[Answer]:
        path = f"{self._root.rstrip('/')}/{name}"
        try:
            info = self._files.info(path)
            size = int(info["size"])
            found = f"{size}-{info.get('ETag') or info.get('etag') or info.get('mtime') or ''}"
            if info.get("type") == "directory":
                raise Missing
            if validator and validator != found:
                start = 0  # as a web server does: what is there now, from its beginning
            if start >= size > 0:
                raise Trouble("asked for bytes beyond the end", restart=True, size=size)
            end = size if stop is None else min(stop, size)
            with self._files.open(path, "rb") as file:
                yield Answer(start, end, size, found, self._chunks(file, start, end))
        except OSError as error:
            raise _told(error) from None

    def _chunks(self, file: Any, start: int, stop: int) -> Iterator[bytes]:
        position = start
        try:
            file.seek(start)
            while position < stop:
                if position > start:
                    self._pace.request()
                chunk = file.read(min(_CHUNK_BYTES, stop - position))
                if not chunk:
                    raise Trouble(f"cut after {position - start} of {stop - start} bytes")
                position += len(chunk)
                yield chunk
        except OSError as error:
            raise _told(error) from None


def _told(error: OSError) -> Exception:
    """What a file system's error means for us; its text is left out, since it may hold an address with its keys."""
    code = "".join(re.findall(r"AWS Error ([A-Z_]+)", str(error))[:1])
    if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError) or "NO_SUCH" in code:
        return Missing()
    if isinstance(error, PermissionError) or code in ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID"):
        return Refused(code or "no permission")
    reason = code or error.strerror or type(error).__name__
    return Trouble(reason, throttled="SLOW" in code or "THROTTL" in code, silent=code == "NETWORK_CONNECTION")


def _s3(base: str, timeout: float) -> tuple[Any, str]:
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    parts = urlsplit(base)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    unknown = [name for name in options if name not in _S3_OPTIONS]
    if unknown:
        raise RecipeError(
            f'an s3 address does not take "{unknown[0]}"', where=BASE_KEY, hint=f"it takes {', '.join(_S3_OPTIONS)}"
        )
    keys, _, bucket = parts.netloc.rpartition("@")
    user, _, password = keys.partition(":")
    if user:
        options |= {"access_key": unquote(user), "secret_key": unquote(password)}
    options = {"region": _S3_REGION, **options, "anonymous": options.get("anonymous", "") in ("1", "true")}
    store = S3FileSystem(connect_timeout=timeout, request_timeout=timeout, **options)
    return ArrowFSWrapper(store), bucket + parts.path
