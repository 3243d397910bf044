"""The reader's process: takes files from its standard input, sends passages back, and has limits that end it.

It is started by ``reader.Reader`` and dies with it. What libraries print cannot reach the pipe of the passages.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import resource
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from shikomi.documents.passage import ROWS, Fields, Limits, Part, Passage
from shikomi.documents.reading import passages, prepare

FRAME = struct.Struct(">I")
_BATCH_CHARACTERS = 200_000
_BATCH = 64
_ROWS_PER_TIMER = 1_000
_REPLACE_AFTER_BYTES = 256 << 20
"""Growth of the address space after which the process asks to be replaced: what a bad file left behind."""


def main() -> None:
    """Serve until standard input ends."""
    try:
        _serve()
    except BrokenPipeError:
        os._exit(0)


def _serve() -> None:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = _questions()
    setup = asked.get()
    limits = Limits(**setup["limits"])
    html = _function(setup["html"]) if setup["html"] else None
    grown = _Growth()
    _send(out, {"ready": os.getpid()})
    while True:
        question = asked.get()
        part, fields = Part(**question["part"]), Fields(**question["fields"])
        prepare(part, question["kind"])
        _limit_memory(_address_space() + limits.memory_bytes)
        try:
            _answer(out, passages(part, question["kind"], fields, limits, html), limits)
        except ImportError as error:
            _send(out, {"missing": error.name or str(error)})
        except MemoryError:
            _send(out, {"passages": [_row(Passage(problem="too_much_memory"))]})
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            _limit_memory(resource.RLIM_INFINITY)
        leaving = grown.too_much()
        _send(out, {"end": True, "leaving": leaving})
        if leaving:
            return


class _Growth:
    """Watches what files leave behind; what libraries take when they are first needed does not count."""

    def __init__(self) -> None:
        self.modules = len(sys.modules)
        self.base = _address_space()

    def too_much(self) -> bool:
        """Whether the process should be replaced."""
        now = _address_space()
        if len(sys.modules) != self.modules:
            self.modules, self.base = len(sys.modules), now
        return now - self.base > _REPLACE_AFTER_BYTES


def _questions() -> queue.SimpleQueue[Any]:
    """Lines of standard input, read by a thread that ends this process when the parent is gone."""
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            lines.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=listen, name="questions", daemon=True).start()
    return lines


def _function(reference: dict[str, Any]) -> Callable[..., Any]:
    """The function of a reference, imported when it is first called: most files need none."""
    found: list[Callable[..., Any]] = []

    def call(payload: bytes) -> Any:
        if not found:
            found.append(getattr(importlib.import_module(reference["module"]), reference["name"]))
        return found[0](payload, **reference["keywords"])

    return call


def _answer(out: BinaryIO, found: Iterator[Passage], limits: Limits) -> None:
    """Send passages in frames; the clock starts anew every thousand rows, since files of rows have no end."""
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
    batch: list[list] = []
    characters = 0
    for number, passage in enumerate(found, start=1):
        batch.append(_row(passage))
        characters += len(passage.text)
        if len(batch) >= _BATCH or characters >= _BATCH_CHARACTERS:
            _send(out, {"passages": batch})
            batch, characters = [], 0
        if passage.kind in ROWS and number % _ROWS_PER_TIMER == 0:
            signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
    if batch:
        _send(out, {"passages": batch})


def _row(passage: Passage) -> list:
    return [getattr(passage, name) for name in Passage.__slots__]


def _send(out: BinaryIO, message: dict[str, Any]) -> None:
    data = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    out.write(FRAME.pack(len(data)) + data)
    out.flush()


def _address_space() -> int:
    """Bytes of address space in use; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _limit_memory(amount: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY and (amount == resource.RLIM_INFINITY or amount > hard):
        amount = hard
    with contextlib.suppress(ValueError, OSError):  # macOS has the name and not the limit
        resource.setrlimit(resource.RLIMIT_AS, (amount, hard))
