"""Reads files in a process of its own with limits, so that no file can hang, fill or end the process that asks.

One such process serves many files. When it dies of one (a limit, a crash in a library), the file gets a problem with
the reason, and the next file a new process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from shikomi.documents.passage import FIELDS, LIMITS, ROWS, Fields, HtmlReader, Limits, Part, Passage
from shikomi.documents.worker import FRAME
from shikomi.errors import MachineError

LIBRARIES = {"pdf": "pypdfium2"}
"""What kinds need beyond a plain install; the extra ``documents`` has them."""
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from shikomi.documents.worker import main; main()"
_PATIENCE_SECONDS = 60.0
_PATIENCE_FACTOR = 10.0
"""Wall time without a sign of life after which the process is ended: 60 s and ten times its processor time. A backstop
for what takes no processor time (a network folder that hangs); on a machine with work for ten it is not reached."""
_SLOW = (-signal.SIGPROF, -signal.SIGXCPU)


def read(
    path: Path | str,
    limits: Limits = LIMITS,
    *,
    kind: str = "",
    fields: Fields = FIELDS,
    html: HtmlReader | None = None,
) -> Iterator[Passage]:
    """Read one file in a process of its own; for many files, ``Reader``.

    Args:
        path: the file.
        limits: what it may cost.
        kind: what it is (``KINDS``); empty: found out.
        fields: which fields of its rows hold what.
        html: what reads a page's bytes instead of the reader here; a function of a module, or a ``partial`` of one.

    Raises:
        MachineError: the extra ``documents`` is needed and not installed.
    """
    with Reader(limits, html=html) as reader:
        yield from reader.read(path, kind=kind, fields=fields)


def require(kinds: Iterable[str]) -> None:
    """Say before any work is done that a library is missing.

    Raises:
        MachineError: one of the kinds needs what is not installed.
    """
    for kind in kinds:
        library = LIBRARIES.get(kind)
        if library and importlib.util.find_spec(library) is None:
            raise _missing(library, kind)


def _missing(library: str, kind: str) -> MachineError:
    return MachineError(
        f"reading {kind} files needs the package {library}, which is not installed",
        where='extra "documents"',
        hint="pip install 'shikomi[documents]' (in a checkout: pip install -c constraints.txt -e '.[documents]')",
    )


class Reader:
    """A process that reads files, one at a time; replaced when it dies.

    Args:
        limits: what one file may cost.
        html: see ``read``.
    """

    def __init__(self, limits: Limits = LIMITS, *, html: HtmlReader | None = None) -> None:
        self.limits = limits
        self.html = _reference(html) if html else None
        self.patience = _PATIENCE_SECONDS + _PATIENCE_FACTOR * limits.cpu_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._end()

    def read(self, path: Path | str | Part, *, kind: str = "", fields: Fields = FIELDS) -> Generator[Passage]:
        """Yield the passages of a file, or of a part of one; a problem is a passage too, and never an exception.

        Raises:
            MachineError: the extra ``documents`` is needed and not installed, or no process can be started.
        """
        part = path if isinstance(path, Part) else Part(os.fspath(path))
        process = self._started()
        question = {"part": asdict(part), "kind": kind, "fields": asdict(fields)}
        last: Passage | None = None
        finished = False
        try:
            self._ask(process, question)
            while True:
                message = self._receive(process)
                if message is None:
                    yield self._epitaph(process, last, kind)
                    return
                if "missing" in message:
                    raise _missing(message["missing"], kind or "such")
                if "end" in message:
                    finished = not message["leaving"]
                    return
                for row in message["passages"]:
                    last = Passage(*row)
                    yield last
        finally:
            if not finished:  # dead, or left in the middle of a file
                self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
        # A session of its own: a Ctrl-C is told to us alone, and we end it.
        process = self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self._ask(process, {"limits": asdict(self.limits), "html": self.html})
        if self._receive(process) is None:
            code = process.wait()
            self._end()
            raise MachineError(
                f"the process that reads documents ended as it started (exit code {code})",
                where=sys.executable,
                hint="is there memory and room for one more process? ulimit -v and ulimit -u tell",
            )
        return process

    def _ask(self, process: subprocess.Popen[bytes], question: dict[str, Any]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(question).encode("ascii") + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # dead already: the answer that does not come says so

    def _receive(self, process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
        """The next message, or None when the process is dead or has been silent for too long."""
        size = self._take(process, FRAME.size)
        body = self._take(process, FRAME.unpack(size)[0]) if size is not None else None
        return json.loads(body) if body is not None else None

    def _take(self, process: subprocess.Popen[bytes], size: int) -> bytes | None:
        assert process.stdout is not None
        source = process.stdout.fileno()
        until = time.monotonic() + self.patience
        while len(self._buffer) < size:
            ready, _, _ = select.select([source], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                process.kill()
                self._silent = True
                return None
            data = os.read(source, 1 << 18)
            if not data:
                return None
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _epitaph(self, process: subprocess.Popen[bytes], last: Passage | None, kind: str) -> Passage:
        """The problem that a file's reader died of."""
        code = process.wait()
        reason, detail = "crashed", f"exit code {code}"
        if self._silent:
            reason, detail = "too_slow", f"nothing came for {self.patience:.0f} s"
        elif code in _SLOW:
            reason, detail = "too_slow", f"more than {self.limits.cpu_seconds:g} s of processor time"
        elif code < 0:
            detail = f"signal {-code}"
            detail += ": most often too little memory" if -code in (signal.SIGKILL, signal.SIGABRT) else ""
        kind = last.kind if last else kind
        document = 0
        if last:
            document = last.document + 1 if last.kind in ROWS else last.document
            detail += f"; nothing after {last.where} was read" if last.where else ""
        return Passage(kind=kind, document=document, problem=reason, detail=detail)

    def _end(self) -> None:
        process, self._process = self._process, None
        self._buffer.clear()
        self._silent = False
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        process.wait()


def _reference(function: Any) -> dict[str, Any]:
    """How the other process finds a function."""
    keywords = function.keywords if isinstance(function, partial) else {}
    function = function.func if isinstance(function, partial) else function
    return {"module": function.__module__, "name": function.__qualname__, "keywords": keywords}
