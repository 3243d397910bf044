"""One build at a time: the second waits or says who holds the store; a dead holder holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shikomi.errors import ShikomiError
from shikomi.flow.lock import hold

HOLDER = """
import sys
from pathlib import Path
from shikomi.flow.lock import hold
with hold(Path(sys.argv[1]), "先の仕込み"):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(path: Path) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_build_that_may_not_wait_says_who_holds_it(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "lock")
    with pytest.raises(ShikomiError) as caught, hold(tmp_path / "lock", "二番", wait=False):
        pass
    process.communicate()
    assert f"process {process.pid}" in caught.value.what
    assert "先の仕込み" in caught.value.what
    assert "--no-wait" in caught.value.hint


def test_a_second_build_waits_says_for_whom_and_then_goes_on(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "lock")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        assert process.stdin is not None
        process.stdin.close()  # let the holder end

    with hold(tmp_path / "lock", "二番", say=say):
        assert "二番" in (tmp_path / "lock").read_text(encoding="utf-8")
    process.wait()
    assert len(said) == 1
    assert str(process.pid) in said[0]


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "lock")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with hold(tmp_path / "lock", "二番", wait=False):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold(tmp_path / "lock", "x"):
        raise RuntimeError
    with hold(tmp_path / "lock", "x", wait=False):
        pass


def test_a_holder_that_has_not_said_its_name_yet(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "lock")
    (tmp_path / "lock").write_text("")
    with pytest.raises(ShikomiError, match="another process"), hold(tmp_path / "lock", "x", wait=False):
        pass
    process.communicate()
