"""A store with no room, and a store that two builds want at once."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shikomi.cli.main import run
from shikomi.flow.lock import hold
from tests.e2e.command import (
    STAGES,
    Running,
    contents,
    half_written,
    journal,
    shikomi,
    stage_folders,
    succeeded,
    wait_until,
)
from tests.e2e.tiny import NAME, TinyBuild

DISK_BYTES = 4_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 4 MB, where this process may mount one; else None."""
    folder = tmp_path / "小さな ディスク"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "shikomi-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int) -> Path:
    """Fill a file system but for so many bytes; returns the file that fills it."""
    found = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(max(0, found.f_bavail * found.f_frsize - leave_bytes)))
    return ballast


def is_whole(tiny_build: TinyBuild, store: Path) -> bool:
    """Whether every stage that looks finished holds what the straight build holds."""
    folders = stage_folders(store)
    return all(contents(folder) == contents(tiny_build.folders[stage]) for stage, folder in folders.items())


@pytest.mark.parametrize(("finished", "leave_bytes"), [("crawl", 60_000), ("tokens", 30_000), ("pretrain", 180_000)])
def test_no_space_left(
    tiny_build: TinyBuild,
    small_disk: Path | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    finished: str,
    leave_bytes: int,
):
    """The disk is full in a stage: exit code 3, nothing half-written counts, and with room the build goes on."""
    store = tiny_build.copy((small_disk or tmp_path) / "store", before=finished)
    words = ("build", tiny_build.recipe, "--store", store, "--until", finished)
    if small_disk is not None:
        ballast = fill(small_disk, leave_bytes)
        ended = shikomi(*words)
        ballast.unlink()
        code, err = ended.code, ended.err
    else:  # no right to mount: a full disk told by the system call that flushes files

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            code = run([str(word) for word in words])
        err = capsys.readouterr().err
    what, where, hint = err.splitlines()[-3:]
    assert code == 3, err
    assert what.startswith("error: no space is left on the disk: ")
    assert where == f"  at: {store}"
    assert hint.startswith("hint: make room and give the same command again: it goes on from here")
    assert "Traceback" not in err
    assert not list(store.glob(f"{finished}/*/manifest.json"))
    assert is_whole(tiny_build, store)
    succeeded(*words)
    assert finished in stage_folders(store)
    assert is_whole(tiny_build, store)
    assert half_written(store) == []


def test_a_store_that_is_a_file(tiny_build: TinyBuild, tmp_path: Path):
    path = tmp_path / "store"
    path.write_text("", encoding="utf-8")
    ended = shikomi("build", tiny_build.recipe, "--store", path)
    assert ended.code == 3
    assert ended.told.what == "the store is a file, not a folder"
    assert ended.told.where == str(path)


def test_two_builds_at_once_build_everything_once(tiny_build: TinyBuild, tmp_path: Path):
    store = tmp_path / "store"
    words = ("build", tiny_build.recipe, "--store", store, "--until", "tokens")
    both = [Running(*words, log=tmp_path / f"log-{number}") for number in range(2)]
    try:
        assert [one.end() for one in both] == [0, 0], [one.said for one in both]
    finally:
        for one in both:
            one.kill()
    assert is_whole(tiny_build, store)
    assert half_written(store) == []
    stages = STAGES[: STAGES.index("tokens") + 1]
    assert sorted(one.said.count(" done in ") for one in both) == [0, len(stages)]
    assert sorted(one.said.count(" cached") for one in both) == [0, len(stages)]
    events = [row["event"] for row in journal(store)]
    once = ["build_started", *["stage_started", "stage_finished"] * len(stages), "build_finished"]
    assert events == [*once, "build_started", "build_finished"]


def test_the_second_build_waits_and_says_for_whom(tiny_build: TinyBuild, tmp_path: Path):
    store = tiny_build.copy(tmp_path / "store", only=("crawl",))
    (store / "work").mkdir()
    words = ("build", tiny_build.recipe, "--store", store, "--until", "crawl")
    with hold(store / "lock", "別の レシピ"):
        running = Running(*words, log=tmp_path / "log")
        try:
            wait_until(lambda: "waiting for the store" in running.said, running)
        except BaseException:
            running.kill()
            raise
        assert f"in use by process {os.getpid()} on " in running.said
        assert 'building "別の レシピ" since ' in running.said
        assert not running.over
        assert journal(store) == []
    assert running.end() == 0
    assert "cached" in running.said


def test_no_wait_fails_at_once_and_says_for_whom(tiny_build: TinyBuild, tmp_path: Path):
    store = tiny_build.copy(tmp_path / "store", only=("crawl",))
    first = Running("build", tiny_build.recipe, "--store", store, "--until", "pretrain", log=tmp_path / "log")
    try:
        first.wait_until(lambda: any(row["event"] == "stage_started" for row in journal(store)))
        ended = shikomi("build", tiny_build.recipe, "--store", store, "--no-wait")
        assert not first.over, "the first build ended before the second began"
    finally:
        first.kill()
    assert ended.code == 1
    assert ended.told.what.startswith(f"the store is in use by process {first.process.pid} on ")
    assert f'building "{NAME}" since ' in ended.told.what
    assert ended.told.where == str(store)
    assert "--no-wait" in ended.told.hint


def test_a_killed_build_holds_the_store_no_longer(tiny_build: TinyBuild, tmp_path: Path):
    store = tiny_build.copy(tmp_path / "store", only=("crawl",))
    first = Running("build", tiny_build.recipe, "--store", store, log=tmp_path / "log")
    first.wait_until(lambda: any(row["event"] == "stage_started" for row in journal(store)))
    first.kill()
    succeeded("build", tiny_build.recipe, "--store", store, "--until", "corpus", "--no-wait")
    assert is_whole(tiny_build, store)
