"""One build at a time in a store: a file lock that the kernel takes back when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from shikomi.errors import ShikomiError

POLL_SECONDS = 0.25
SAY_AGAIN_SECONDS = 30.0


def _holder(handle: IO[str]) -> str:
    """Who says in the lock file that he holds it."""
    handle.seek(0)
    try:
        told = json.loads(handle.read())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told["since"]))
        return f'process {told["pid"]} on {told["host"]}, building "{told["recipe"]}" since {since}'
    except (json.JSONDecodeError, KeyError, TypeError):
        return "another process (it has not yet said who it is)"


@contextlib.contextmanager
def hold(
    path: Path, recipe: str, *, wait: bool = True, say: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Hold the lock at ``path`` inside a ``with``.

    ``flock`` is bound to the open file, so the kernel frees it when the process ends in whatever way; the text in the
    file only says who it is. Children started by exec do not inherit it.

    Args:
        path: the lock file; made if missing, never deleted (deleting it would let two processes hold two files).
        recipe: what to tell those who wait.
        wait: whether to wait for the present holder.
        say: told who holds the lock, at once and then twice a minute.

    Raises:
        ShikomiError: held by another process, and ``wait`` is false.
    """
    with open(path, "a+", encoding="utf-8") as handle:
        due = 0.0
        while not _try(handle):
            if not wait:
                raise ShikomiError(
                    f"the store is in use by {_holder(handle)}",
                    where=str(path.parent),
                    hint="wait for it to end (leave --no-wait out), or give this build another --store",
                )
            if time.monotonic() >= due:
                say(f"waiting for the store: in use by {_holder(handle)}")
                due = time.monotonic() + SAY_AGAIN_SECONDS
            time.sleep(POLL_SECONDS)
        try:
            told = {"pid": os.getpid(), "host": socket.gethostname(), "recipe": recipe, "since": time.time()}
            handle.seek(0)
            handle.truncate()
            handle.write(json.dumps(told, ensure_ascii=False) + "\n")
            handle.flush()
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


def _try(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
