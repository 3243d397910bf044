"""The real command line in a process of its own, and what a store holds after it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
STAGES = (
    "crawl", "dialogues", "pages", "corpus", "tokenizer", "tokens", "pretrain", "release_base",
    "anneal", "sft", "dpo", "evaluate", "release",
)  # fmt: skip
"""Every stage of a recipe that makes its own crawl, in the order of a build."""

WAIT_SECONDS = 300.0
"""Given to what must happen sooner or later on a busy machine; no test asserts it."""


@dataclass(frozen=True)
class Told:
    """An error as the command line tells it."""

    what: str
    where: str
    hint: str


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)

    @property
    def told(self) -> Told:
        """The error in three lines, which must be the last that is said; nothing of Python's own may be beside it."""
        assert "Traceback" not in self.err, self.err
        lines = self.err.splitlines()
        heads = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        assert len(heads) == 1, self.err
        found = lines[heads[0] :]
        assert len(found) == 3, self.err
        assert found[1].startswith("  at: "), self.err
        assert found[2].startswith("hint: "), self.err
        return Told(found[0][len("error: ") :], found[1][len("  at: ") :], found[2][len("hint: ") :])


def command_line(*words: object) -> list[str]:
    """The words that start ``shikomi`` with this Python."""
    return [sys.executable, "-m", "shikomi.cli.main", *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    """One thread a process (weights are bit for bit the same only for equal numbers), no colour, no store preset.

    What ``more`` names is put in its place, or taken out where it is empty.
    """
    given = {**os.environ, "SHIKOMI_STORE": "", "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **more}
    return {name: value for name, value in given.items() if value}


def shikomi(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ended:
    """Run ``shikomi WORDS`` to its end, with ``env`` beside the usual environment."""
    done = subprocess.run(
        command_line(*words), cwd=cwd, env=environment(**(env or {})), capture_output=True, encoding="utf-8"
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def succeeded(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ended:
    """Run ``shikomi WORDS``, which must end with exit code 0."""
    ended = shikomi(*words, cwd=cwd, env=env)
    assert ended.code == 0, ended.err
    return ended


class Running:
    """A command that runs in a process group of its own."""

    def __init__(self, *words: object, log: Path) -> None:
        self.log = log
        with open(log, "wb") as handle:
            self.process = subprocess.Popen(
                command_line(*words), env=environment(), stdout=handle, stderr=handle, start_new_session=True
            )

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text(encoding="utf-8")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Look a thousand times a second until the condition holds or the command has ended."""
        wait_until(lambda: self.over or condition(), self)

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the command has ended."""
        until = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= until)

    def end(self) -> int:
        """Wait for its end; returns its exit code."""
        return self.process.wait(WAIT_SECONDS)

    def kill(self) -> None:
        """SIGKILL to the process and to everything it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_alone(self) -> None:
        """SIGKILL to the process and to nothing that it has started."""
        self.process.kill()
        self.process.wait()

    def group_lives(self) -> bool:
        """Whether any process of its group is left, dead ones whose parent has not looked after them left aside."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state != "Z":
                    return True
        return False

    def children(self) -> list[str]:
        """Ids of the workers it has started (Python's own tracker of resources is none)."""
        found = []
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{self.process.pid}/task").iterdir():
                found += (task / "children").read_text().split()
        return [child for child in found if b"resource_tracker" not in _command_of(child)]


def _command_of(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b"resource_tracker"


def _command_of(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b"resource_tracker"


def wait_until(condition: Callable[[], bool], running: Running) -> None:
    """Wait for what must happen; fails with what the command said if it does not."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, running.said
        time.sleep(0.001)


def stage_folders(store: Path) -> dict[str, Path]:
    """The one finished folder of each stage in a store, by stage."""
    found = {}
    for stage in STAGES:
        folders = [path.parent for path in (store / stage).glob(f"*/{MANIFEST}")]
        assert len(folders) <= 1, folders
        found.update((stage, folder) for folder in folders)
    return found


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its path, but for the manifest, which tells times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(_told(path)).hexdigest() for path in files}


MEASURED = ("tokens_per_second", "mfu", "memory_mb", "checkpoint_seconds", "note")
"""What a step's row says of the machine: it may differ, the curve may not."""


def _told(path: Path) -> bytes:
    """A file's bytes; a run's rows without what was measured of the machine."""
    if path.name != "metrics.jsonl":
        return path.read_bytes()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return json.dumps([{name: row[name] for name in row if name not in MEASURED} for row in rows]).encode()


def facts(folder: Path) -> dict[str, Any]:
    """What the manifest of a finished stage says of the result, without what was measured of the machine."""
    told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    known = {
        name: value for name, value in told["facts"].items() if name not in (*MEASURED, "peak_flops", "peak_basis")
    }
    files = {name: size for name, size in told["files"].items() if name != "metrics.jsonl"}
    return {"id": told["id"], "page": told["page"], "inputs": told["inputs"], "files": files, "facts": known}


def journal(store: Path) -> list[dict[str, Any]]:
    """The events of a store's journal; a line that is still being written is left out."""
    rows = []
    path = store / "journal.jsonl"
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def half_written(store: Path) -> list[str]:
    """What in a store is or may be taken for a finished result and is none: a ``.partial`` in a stage's folder, a
    finished folder without manifest, files other than the manifest says; and every work folder."""
    found = [path.relative_to(store).as_posix() for path in (store / "work").iterdir()]
    for stage in STAGES:
        for folder in (store / stage).glob("*"):
            name = folder.relative_to(store).as_posix()
            manifest = folder / MANIFEST
            if not manifest.is_file():
                found.append(f"{name}: no manifest")
                continue
            wanted = json.loads(manifest.read_text(encoding="utf-8"))["files"]
            sizes = {name: (folder / name).stat().st_size for name in contents(folder)}
            if sizes != wanted or any(".partial" in name or "scratch" in name for name in sizes):
                found.append(f"{name}: {sizes} instead of {wanted}")
    return found
