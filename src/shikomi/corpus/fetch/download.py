"""Bytes of remote files, whatever the line does: cut answers go on where they were cut, lies start over.

A file grows beside its sidecar of ``{size, validator}``; both outlive a killed process. Nothing is taken over from
before unless the server proves, by ETag or date, that the file is still the same.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from shikomi.corpus.fetch.pace import Pace
from shikomi.corpus.fetch.remote import Answer, Missing, Refused, Remote, Trouble
from shikomi.errors import DataError, MachineError
from shikomi.io import PARTIAL_SUFFIX
from shikomi.recipe.common_crawl import CommonCrawlPage
from shikomi.units import format_bytes, format_seconds

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAX_SKIP_BYTES = 32 << 20
"""Where a server sends whole files only, this much is read and thrown away to reach a range; beyond it, we refuse."""
_FEW = 3
"""Attempts where waiting hardly helps: no server answers at all, or it says no."""


class MissingFile(DataError):
    """There is no such remote file."""


class Sink(Protocol):
    """What fetched bytes go into."""

    length: int
    size: int | None
    validator: str

    def begin(self, size: int | None, validator: str) -> None:
        """Bytes are about to come, of a file of this size and sign."""
        ...

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        ...

    def restart(self) -> None:
        """Forget everything."""
        ...


class MemorySink:
    """Fetched bytes in memory."""

    def __init__(self) -> None:
        self.restart()

    def begin(self, size: int | None, validator: str) -> None:
        self.size, self.validator = size, validator

    def write(self, chunk: bytes) -> None:
        self.data += chunk
        self.length = len(self.data)

    def restart(self) -> None:
        self.data = bytearray()
        self.length = 0
        self.size: int | None = None
        self.validator = ""


class FileSink:
    """Fetched bytes in ``<path>.partial``; what an earlier process left there is gone on with.

    Args:
        path: the file to be.
        copies: how many files of this size must still find room on the disk, this one included.
    """

    def __init__(self, path: Path, copies: int = 1) -> None:
        self.partial = path.with_name(path.name + PARTIAL_SUFFIX)
        self._sidecar = path.with_name(path.name + PARTIAL_SUFFIX + ".json")
        self._copies = copies
        self.length, self.size, self.validator = 0, None, ""
        with full_disk_told(path):
            self._file = open(self.partial, "ab")  # noqa: SIM115 - closed by close()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(self._sidecar.read_text(encoding="utf-8"))
            size, validator = told["size"], told["validator"]
            if isinstance(validator, str) and validator and (size is None or isinstance(size, int)):
                self.length, self.size, self.validator = self._file.tell(), size, validator
        if not self.validator or (self.size is not None and self.length > self.size):
            self.restart()

    def begin(self, size: int | None, validator: str) -> None:
        if (size, validator) == (self.size, self.validator):
            return
        self.size, self.validator = size, validator
        check_room(self.partial.parent, ((size or 0) - self.length) + (self._copies - 1) * (size or 0))
        with full_disk_told(self.partial):
            self._sidecar.write_text(json.dumps({"size": size, "validator": validator}), encoding="utf-8")

    def write(self, chunk: bytes) -> None:
        with full_disk_told(self.partial):
            self._file.write(chunk)
        self.length += len(chunk)

    def restart(self) -> None:
        self._sidecar.unlink(missing_ok=True)
        self._file.truncate(0)
        self.length, self.size, self.validator = 0, None, ""

    def flush(self) -> None:
        """Let others see the bytes."""
        with full_disk_told(self.partial):
            self._file.flush()

    def close(self) -> None:
        """Flush what there is; it may be gone on with later."""
        with full_disk_told(self.partial):
            self._file.close()

    def finish(self, path: Path) -> None:
        """Make the bytes durable and give them their name."""
        with full_disk_told(path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self.partial, path)
        self._sidecar.unlink(missing_ok=True)


class Fetcher:
    """Asks a remote until the bytes are there, at the page's pace."""

    def __init__(self, remote: Remote, pace: Pace, page: CommonCrawlPage) -> None:
        self.remote = remote
        self.pace = pace
        self._attempts = page.attempts
        self._longest_wait = page.longest_wait
        self._heard = False

    def read(self, name: str, start: int = 0, stop: int | None = None) -> tuple[bytes, int]:
        """Bytes ``start`` to ``stop`` of a file (fewer where it ends before), and how many requests they took.

        Raises:
            DataError: the server gives up, refuses, or has no such file.
        """
        sink = MemorySink()
        tries = self.pull(name, sink, start, stop)
        return bytes(sink.data), tries

    def size(self, name: str) -> int:
        """Size of a remote file in bytes.

        Raises:
            DataError: as ``read``, or the server does not tell.
        """
        sink = MemorySink()
        self.pull(name, sink, 0, 1)
        if sink.size is None:
            raise DataError(
                "the server does not tell how large the file is",
                where=self.remote.shown(name),
                hint='use mode = "warc", or another base',
            )
        return sink.size

    def pull(self, name: str, sink: Sink, start: int = 0, stop: int | None = None) -> int:
        """Fill a sink, from where it is, with bytes ``start`` to ``stop`` (None: the end); returns the requests sent.

        Raises:
            DataError: the server gives up, refuses, or has no such file.
            MachineError: the disk is full.
        """
        tries = failures = best = 0
        while True:
            if sink.length and sink.size == start + sink.length:
                return tries  # killed between the last byte and the rename
            best = max(best, sink.length)
            tries += 1
            try:
                self.pace.request()
                with self.remote.ask(name, start + sink.length, stop, sink.validator) as answer:
                    self._heard = True
                    self._take(answer, sink, start, stop)
                self.pace.succeed()
                return tries
            except Missing:
                raise self._missing(name) from None
            except Refused as refused:
                trouble = Trouble(str(refused), refused=True)
                limit = min(self._attempts, _FEW)
            except Trouble as told:
                trouble = told
                self._heard = self._heard or not told.silent
                limit = self._attempts if self._heard else min(self._attempts, _FEW)
            if trouble.size is not None and stop is not None and start >= trouble.size and not sink.length:
                return tries  # the range lies beyond the file's end: there is nothing to fetch
            failures = 1 if sink.length > best else failures + 1
            if trouble.restart:
                sink.restart()
            self._wait(name, trouble, failures, limit)

    def _wait(self, name: str, trouble: Trouble, failures: int, limit: int) -> None:
        where = self.remote.shown(name)
        if failures >= limit:
            again = f"; {failures} attempts" if failures > 1 else ""
            hint = "give the same command again: it goes on from here; or try at another time, or more slowly"
            if not self._heard:
                hint = "check corpus.common_crawl.base, the network and, where there is one, the proxy (HTTPS_PROXY)"
            elif trouble.refused:
                hint = (
                    "check the rights, or wait a day and lower corpus.common_crawl.requests_per_second: "
                    "Common Crawl blocks who asks too fast"
                )
            raise DataError(f"fetching failed: {trouble.reason}{again}", where=where, hint=hint)
        if trouble.wait is not None and trouble.wait > self._longest_wait:
            raise DataError(
                f"the server asks to wait {format_seconds(trouble.wait)}",
                where=where,
                hint="give the same command again after that time (corpus.common_crawl.longest_wait sets the limit)",
            )
        self.pace.fail(failures, trouble.wait, everybody=trouble.throttled)

    def unsteady(self, name: str) -> DataError:
        """The error for a file that came damaged, and otherwise each time: that is no damage of the file's own."""
        return DataError(
            "what comes is damaged, and differently each time",
            where=self.remote.shown(name),
            hint="the line, a proxy or the server spoils it; try another line or another corpus.common_crawl.base",
        )

    def _missing(self, name: str) -> MissingFile:
        return MissingFile(
            "there is no such file", where=self.remote.shown(name), hint="check corpus.common_crawl.base and .snapshot"
        )

    def _take(self, answer: Answer, sink: Sink, start: int, stop: int | None) -> None:
        """Check an answer against what was asked and what is already there; write its bytes.

        Raises:
            Trouble: it is cut, or says one thing and is another.
        """
        wanted = start + sink.length
        skip = 0
        if answer.start != wanted:
            if answer.start:
                raise Trouble(f"answered with bytes from {answer.start} instead of {wanted}", restart=True)
            sink.restart()  # the whole file: ranges are not served, or it has changed
            skip = start
            if answer.size is not None and answer.size <= start:
                raise Trouble(f"the file ends at {answer.size}", size=answer.size)
            if skip > _MAX_SKIP_BYTES:
                raise Refused("it serves whole files only, no ranges")
        elif sink.length and (answer.size, answer.validator) != (sink.size, sink.validator):
            raise Trouble("the file changed while it was fetched", restart=True)
        sink.begin(answer.size, answer.validator)
        end = answer.size if stop is None else stop if answer.size is None else min(stop, answer.size)
        for chunk in answer.chunks:
            self.pace.received(len(chunk))
            if skip:
                dropped = min(skip, len(chunk))
                skip -= dropped
                chunk = chunk[dropped:]
            if end is not None:
                chunk = chunk[: end - start - sink.length]
            if chunk:
                sink.write(chunk)
            if end is not None and start + sink.length >= end and stop is not None:
                break
        if end is not None and start + sink.length < end:
            raise Trouble(f"ended after {start + sink.length} bytes of {end}")


def check_room(folder: Path, needed: int) -> None:
    """See to it that ``needed`` bytes fit on a folder's disk.

    Raises:
        MachineError: they do not.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(
            f"not enough room: {format_bytes(needed)} are still to come, {format_bytes(free)} are free",
            where=str(folder),
            hint="make room, or choose fewer corpus.common_crawl.parts; the same command goes on from here",
        )


@contextlib.contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """Tell a full disk as what it is.

    Raises:
        MachineError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise MachineError(
            f"no room to write: {os.strerror(error.errno or 0)}",
            where=str(path.parent),
            hint="make room and give the same command again: it goes on from here",
        ) from error
