"""The lock: one build at a time; who waits is told for whom; the kernel frees it when its holder dies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shikomi.errors import ShikomiError
from shikomi.flow import lock
from shikomi.flow.lock import hold
from tests.flow.toy import toy_build

HOLDER = """
import sys
from pathlib import Path
from shikomi.flow.lock import hold
with hold(Path(sys.argv[1]), "別の 仕込み"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "仕込み の 倉"
    folder.mkdir()
    return folder


@pytest.fixture
def holder(root: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(root / "lock")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_who_does_not_wait_is_told_who_holds_it(root: Path, holder: subprocess.Popen):
    with pytest.raises(ShikomiError) as caught:
        toy_build(root).run(wait=False)
    assert f"process {holder.pid} on " in caught.value.what
    assert 'building "別の 仕込み" since ' in caught.value.what
    assert caught.value.where == str(root)
    assert "--no-wait" in caught.value.hint
    assert not (root / "journal.jsonl").exists()


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_who_waits_is_told_for_whom_and_goes_on(
    root: Path, holder: subprocess.Popen, monkeypatch: pytest.MonkeyPatch, end: str
):
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.01)
    told, waiting, held = [], threading.Event(), threading.Event()

    def say(text: str) -> None:
        told.append(text)
        waiting.set()

    def second() -> None:
        with hold(root / "lock", "b", say=say):
            held.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert waiting.wait(60)
    assert not held.is_set()
    if end == "leaves":
        holder.communicate("")
    else:
        holder.kill()
    assert held.wait(60)
    thread.join()
    [words] = told
    assert words.startswith(f"waiting for the store: in use by process {holder.pid} on ")


def test_waiting_is_told_again_now_and_then(root: Path, holder: subprocess.Popen, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lock, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(lock, "SAY_AGAIN_SECONDS", 0.0)
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        if len(told) == 3:
            holder.communicate("")

    with hold(root / "lock", "b", say=say):
        pass
    assert len(told) >= 3


def test_a_holder_that_has_not_said_who_he_is(root: Path):
    with hold(root / "lock", "a"):
        for text in ("", "{", "[]", "{}", '{"pid": 1, "host": "h", "recipe": "r", "since": "x"}'):
            (root / "lock").write_text(text)
            with pytest.raises(ShikomiError, match="has not yet said who it is"), hold(root / "lock", "b", wait=False):
                raise AssertionError("two hold the lock")


def test_it_is_free_after_a_build_and_after_an_error(root: Path):
    for _ in range(2):
        with pytest.raises(RuntimeError), hold(root / "lock", "仕込み", wait=False):
            raise RuntimeError
    with hold(root / "lock", "長い名前" * 20, wait=False):
        pass
    with hold(root / "lock", "短", wait=False):
        assert json.loads((root / "lock").read_text(encoding="utf-8"))["recipe"] == "短"
