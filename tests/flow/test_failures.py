"""Stages that fail: what is told, what is left, and that the next build goes on from there."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shikomi.errors import DataError, MachineError, ShikomiError
from shikomi.flow import runner
from shikomi.flow.store import MANIFEST
from shikomi.io import read_json
from tests.flow.toy import SHARDS, contents, facts, journal, one_step, toy_build


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "仕込み の 倉"


def test_a_failed_stage_leaves_its_work_and_is_gone_on_with(root: Path):
    wanted = toy_build(root.parent / "straight")
    wanted.run()
    ran: list[int] = []

    def fail(shard: int) -> None:
        if shard == 5:
            raise DataError("page 5 is broken", where="a.warc.gz:5")
        ran.append(shard)

    build = toy_build(root, each=fail)
    with pytest.raises(DataError, match="page 5 is broken"):
        build.run()
    assert contents(root) == {}
    assert len(list((build.store.work("numbers", build.id(build.steps[0])) / "shards").iterdir())) == 5
    assert journal(build, "stage_failed")[0]["error"] == "page 5 is broken"
    toy_build(root, each=ran.append).run()
    assert ran == list(range(SHARDS))
    assert contents(root) == contents(wanted.store.root)
    assert [event["resumed"] for event in journal(build, "stage_started")] == [False, True, False]


def test_an_error_without_words_is_told_by_its_kind(root: Path):
    def run(*given: Any) -> dict:
        raise KeyboardInterrupt

    build = one_step(root, run)
    with pytest.raises(KeyboardInterrupt):
        build.run()
    assert journal(build, "stage_failed")[0]["error"] == "KeyboardInterrupt"


def full(number: int, words: str = "") -> Callable[[int], None]:
    def each(shard: int) -> None:
        if shard == 7:
            raise OSError(number, words or "told by the kernel", "shard")

    return each


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "no space is left on the disk"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EFBIG, "a file would grow past the limit"),
    ],
)
def test_a_full_disk_is_told_and_gone_on_from(root: Path, number: int, what: str):
    build = toy_build(root, each=full(number))
    with pytest.raises(MachineError) as caught:
        build.run()
    assert caught.value.exit_code == 3
    assert caught.value.what.startswith(what)
    assert "free where the store is" in caught.value.what
    assert "make room" in caught.value.hint
    assert contents(root) == {}
    ran: list[int] = []
    toy_build(root, each=ran.append).run()
    assert ran == list(range(7, SHARDS))


def test_a_full_disk_is_seen_through_another_library_s_error(root: Path):
    def run(*given: Any) -> dict:
        try:
            raise RuntimeError("write failed: No space left on device (os error 28)")
        except RuntimeError as error:
            raise ValueError("shard was not written") from error

    with pytest.raises(MachineError, match="no space is left on the disk"):
        one_step(root, run).run()


def test_memory_that_ran_out_is_told(root: Path):
    def run(*given: Any) -> dict:
        raise MemoryError

    with pytest.raises(MachineError) as caught:
        one_step(root, run).run()
    assert "--workers" in caught.value.hint


def test_other_errors_are_left_as_they_are(root: Path):
    with pytest.raises(OSError, match="told by the kernel"):
        toy_build(root, each=full(errno.EIO)).run()


@pytest.mark.parametrize("value", [{"x": {1, 2}}, {"x": float("nan")}, {"x": Path("a")}, {("a", "b"): 1}])
def test_facts_that_are_not_json_are_an_error(root: Path, value: Any):
    build = one_step(root, lambda *given: value)
    with pytest.raises(ShikomiError, match="facts that stage one returned are not JSON"):
        build.run()
    assert not build.finished(build.steps[0])
    assert [event["stage"] for event in journal(build, "stage_failed")] == ["one"]


class Number:
    """As numpy's numbers are."""

    def item(self) -> float:
        return 2.5


def test_facts_may_hold_numbers_of_a_library_or_be_absent(root: Path):
    build = one_step(root, lambda *given: {"x": Number(), "y": (1, 2)})
    build.run()
    assert facts(build)["one"] == {"x": 2.5, "y": [1, 2]}
    build = one_step(root.parent / "b", lambda *given: None)
    build.run()
    assert facts(build)["one"] == {}


def test_a_failed_build_is_recorded_as_unfinished(root: Path):
    with pytest.raises(OSError, match="told by"):
        toy_build(root, each=full(errno.EIO)).run(recipe="x")
    assert read_json(root / "builds" / "x.json")["finished"] is None


def test_time_of_attempts_that_were_cut_off_is_counted(root: Path, monkeypatch: pytest.MonkeyPatch):
    build = toy_build(root, each=full(errno.EIO))
    step = build.steps[0]
    build.store.create()
    build.store.spend(step.name, build.id(step), 1000.0, 500.0)
    with pytest.raises(OSError, match="told by"):
        build.run()
    spent = build.store.spent(step.name, build.id(step))
    assert 1000.0 <= spent["seconds"] < 1100.0
    assert 500.0 <= spent["cpu_seconds"] < 600.0
    monkeypatch.setattr(runner, "NOTE_SECONDS", 0.0)  # noted with every progress: a kill forgets nothing

    def look(shard: int) -> None:
        if shard == 9:
            noted.append(build.store.spent(step.name, build.id(step))["seconds"])

    noted: list[float] = []
    built = toy_build(root, each=look).run()
    assert noted[0] >= spent["seconds"]
    assert built[0].seconds >= spent["seconds"]
    assert read_json(built[0].folder / MANIFEST)["cpu_seconds"] >= 500.0
    assert list((root / "work").iterdir()) == []
