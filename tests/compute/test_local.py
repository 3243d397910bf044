"""The local pool: order, same results, ticks, and what happens when a function fails or a worker dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shikomi.compute.local import LocalPool
from shikomi.compute.pool import tick
from shikomi.errors import DataError, ShikomiError
from tests.conftest import ROOT


def _slow_square(number: int) -> int:
    time.sleep(0.05 if number % 3 == 0 else 0)
    tick(items=1)
    return number * number


def _fail_on_three(number: int) -> int:
    if number == 3:
        raise DataError("three is not a number we like", where="item 3", hint="use two")
    return number


def _die_once(item: tuple[str, int]) -> int:
    folder, number = item
    mark = Path(folder) / f"died-{number}"
    if number == 1 and not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _die(number: int) -> int:
    if number == 2:
        os._exit(7)
    return number


def _unsendable(number: int):
    return lambda: number


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(LocalPool(workers).map(_slow_square, range(10))) == [n * n for n in range(10)]


@pytest.mark.parametrize("workers", [1, 2])
def test_ticks_add_up_to_what_was_done(workers):
    seen: list[dict[str, float]] = []
    assert list(LocalPool(workers).map(_slow_square, range(6), on_tick=seen.append)) == [n * n for n in range(6)]
    assert sum(counts.get("items", 0) for counts in seen) == 6


def test_tick_outside_a_pool_does_nothing():
    assert tick(items=3) is None


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_comes_home_with_its_three_lines(workers):
    with pytest.raises(DataError) as caught:
        list(LocalPool(workers).map(_fail_on_three, range(6)))
    assert str(caught.value).splitlines() == ["three is not a number we like", "  at: item 3", "hint: use two"]


def test_an_item_whose_worker_died_is_tried_once_more(tmp_path):
    assert list(LocalPool(2).map(_die_once, [(str(tmp_path), n) for n in range(4)])) == [0, 1, 2, 3]
    assert (tmp_path / "died-1").exists()


def test_an_item_that_kills_every_worker_is_named():
    with pytest.raises(ShikomiError) as caught:
        list(LocalPool(2).map(_die, range(4)))
    assert caught.value.where == "2"
    assert "exit code 7" in caught.value.what


def test_a_result_that_cannot_travel_is_an_error():
    with pytest.raises(ShikomiError, match="cannot be sent back"):
        list(LocalPool(2).map(_unsendable, range(2)))


def test_no_items_no_results():
    assert list(LocalPool(2).map(_slow_square, [])) == []


def test_fewer_than_one_worker_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        LocalPool(0)


def test_a_map_that_is_left_early_leaves_no_process_behind():
    import multiprocessing

    results = LocalPool(2).map(_slow_square, range(50))
    assert next(results) == 0
    results.close()
    assert not multiprocessing.active_children()


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_until(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="whether a process lives is read in Linux's /proc")
@pytest.mark.parametrize("how", ["pool", "executor"])
def test_workers_end_with_a_parent_that_is_killed(tmp_path, how):
    parent = subprocess.Popen([sys.executable, "-m", "tests.compute.parent", how, str(tmp_path)], cwd=ROOT)
    try:
        _wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        parent.kill()
        parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    try:
        _wait_until(lambda: not any(map(_lives, workers)))
    finally:
        for worker in filter(_lives, workers):
            os.kill(worker, signal.SIGKILL)
