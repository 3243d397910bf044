"""Shards whose pages do harm: what a worker is given by the tests of quarantine, here and on a cluster."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from shikomi.compute.pool import tick
from shikomi.corpus.quarantine import _MARK, Watch, _key, strike
from shikomi.corpus.text.crawl import Record
from shikomi.io import write_json


def hang() -> None:
    """Search for ever in C, without giving the interpreter lock back."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def sleep() -> None:
    """Wait for what never comes."""
    time.sleep(600)


def eat() -> None:
    """Take memory until there is none."""
    held = []
    while True:
        held.append(bytearray(1 << 22))


def kill() -> None:
    """End as under the system's memory killer."""
    os.kill(os.getpid(), signal.SIGKILL)


HARM = {"hang": hang, "sleep": sleep, "eat": eat, "kill": kill}


@dataclass(frozen=True)
class Task:
    """A shard of ``count`` records; ``harm`` says which do what, ``reading`` at which the reader itself kills."""

    shard: Path
    count: int = 6
    harm: dict[int, str] = field(default_factory=dict)
    reading: int = -1
    fingerprint: str = "1"

    def records(self):
        for number in range(self.count):
            if number == self.reading:
                kill()
            yield Record(f"https://{number}.test/", "", 200, "text/html", b"<p>", number)


def make(task: Task) -> list[str]:
    """Make the shard: a line a record; and say in a file beside it how often it was begun."""
    with open(task.shard.with_suffix(".begun"), "a") as begun:
        begun.write(f"{os.getpid()}\n")
    rows = []
    with Watch(task.shard, task.fingerprint) as watch:
        for number, record in enumerate(watch.over(task.records())):
            tick(pages=1)
            try:
                if not record.problem:
                    HARM.get(task.harm.get(number, ""), lambda: None)()
            except MemoryError:
                record = watch.out_of_memory(record)
            rows.append(f"{record.url} {record.problem} {record.detail}".strip())
        write_json(task.shard, {"rows": rows, "quarantined": watch.quarantined})
    return rows


def struck(task: Task, number: int) -> None:
    """As if a worker had died at a record of the shard, out of time."""
    beside = [task.shard.with_name(f"{task.shard.name}.{kind}.partial") for kind in ("mark", "trace")]
    beside[0].write_bytes(_MARK.pack(number, _key(task.fingerprint), 2.0))
    beside[1].write_text("where it was")
    assert strike(task.shard)
