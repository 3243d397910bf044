"""The command line in this process, with a cache of its own and no preset store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Made, Shell, make


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No measurement, no store and no wish of the user who runs the tests reaches a test; what a verb tells the
    numerical libraries reaches no other test."""
    before = dict(os.environ)
    monkeypatch.setenv("SHIKOMI_CACHE", str(tmp_path / "cache"))
    for name in ("SHIKOMI_STORE", "NO_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_WAIT_POLICY"):
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in before.items() if name not in os.environ})


@pytest.fixture
def shikomi(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs a verb in this process."""
    return Shell(capsys)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The tiny recipe, every stage finished, made by hand. Not to be changed by a test."""
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def unmade(tmp_path: Path) -> Made:
    """The tiny recipe with no store."""
    return make(tmp_path / "nothing built", finished=())
