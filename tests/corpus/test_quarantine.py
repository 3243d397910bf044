"""Pages that hang, eat memory or kill: the worker goes, the shard is made again, the page is put aside with its URL."""

from __future__ import annotations

import pytest

from shikomi.compute.local import LocalPool
from shikomi.compute.pool import Limits
from shikomi.corpus.quarantine import strike
from shikomi.errors import ShikomiError
from shikomi.io import read_json
from tests.corpus.poison import Task, make, struck

LIMITS = Limits(seconds=0.8, memory_bytes=40_000_000)


def run(tasks: list[Task], workers: int = 2) -> list[list[str]]:
    pool = LocalPool(workers, limits=LIMITS, apart=True)
    return list(pool.map(make, tasks, on_death=lambda task: strike(task.shard)))


def begun(task: Task) -> int:
    return len(task.shard.with_suffix(".begun").read_text().splitlines())


def good(number: int) -> str:
    return f"https://{number}.test/"


def test_every_kind_of_poison_becomes_a_row_and_harms_no_other_page(tmp_path):
    clean = Task(tmp_path / "clean.json")
    poisoned = Task(tmp_path / "poisoned.json", harm={0: "hang", 2: "kill", 4: "eat"})
    rows = run([clean, poisoned])
    assert rows[0] == [good(number) for number in range(6)]
    assert rows[1] == [
        good(0) + " quarantined not done in 0.8 s",
        good(1),
        good(2) + " quarantined ended its worker (memory, or a fault in a library)",
        good(3),
        good(4) + " quarantined more memory than a page may take",
        good(5),
    ]
    told = read_json(poisoned.shard)["quarantined"]
    assert [(entry["record"], entry["url"]) for entry in told] == [(n, good(n)) for n in (0, 2, 4)]
    assert begun(clean) == 1
    assert begun(poisoned) == 5  # two for each page that ends its worker, and the last
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".begun"}  # nothing is left beside the shards


def test_one_worker_is_a_process_too_and_waiting_is_ended(tmp_path):
    task = Task(tmp_path / "shard.json", count=3, harm={1: "sleep"})
    assert run([task], workers=1) == [[good(0), good(1) + " quarantined not done in 0.8 s", good(2)]]


def test_a_record_that_kills_its_reader_ends_the_file_there(tmp_path):
    task = Task(tmp_path / "shard.json", count=4, reading=2)
    assert run([task]) == [
        [good(0), good(1), "quarantined reading this record ends its worker; the file is read no further"]
    ]


def test_a_death_before_the_first_record_counts_as_the_pools_own(tmp_path):
    task = Task(tmp_path / "no-folder" / "shard.json")
    with pytest.raises(FileNotFoundError):
        run([task])
    assert strike(task.shard) is False


def test_strikes_against_other_contents_do_not_count(tmp_path):
    shard = tmp_path / "shard.json"
    for _ in range(2):
        struck(Task(shard, fingerprint="old"), 0)
    assert make(Task(shard, count=1, fingerprint="new")) == [good(0)]
    for _ in range(2):
        struck(Task(shard, fingerprint="new"), 0)
    assert make(Task(shard, count=1, fingerprint="new"))[0].startswith(good(0) + " quarantined")
    assert make(Task(shard, count=1, fingerprint="new")) == [good(0)]  # a finished shard's strikes are forgotten


def test_an_item_that_kills_without_end_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("shikomi.corpus.quarantine.MAX_POISONED", 0)
    task = Task(tmp_path / "shard.json", count=2, harm={0: "kill", 1: "kill"})
    with pytest.raises(ShikomiError, match="a worker died 2 times on the same item"):
        run([task])


def test_in_a_process_that_is_no_worker_nothing_is_ended_or_left(tmp_path):
    assert make(Task(tmp_path / "shard.json", count=2)) == [good(0), good(1)]
    assert {path.name for path in tmp_path.iterdir()} == {"shard.json", "shard.begun"}
