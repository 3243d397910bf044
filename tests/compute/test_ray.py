"""The Ray pool: the local pool's results, ticks and errors; and the same bytes though a node is lost in mid-run."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

from shikomi.compute.local import LocalPool
from shikomi.compute.pool import Limits
from shikomi.compute.ray import RayPool
from shikomi.corpus.pages import read_pages
from shikomi.corpus.quarantine import strike
from shikomi.corpus.shards import Task, make_shard
from shikomi.errors import DataError, MachineError
from shikomi.io import sha256_file
from shikomi.recipe.corpus import CorpusPage
from tests.compute.cluster import cluster
from tests.compute.test_local import _fail_on_three, _slow_square
from tests.corpus import poison
from tests.corpus.pages import Response, html_page, japanese_text, write_warc

pytestmark = pytest.mark.ray

LIMITS = Limits(seconds=2.0, memory_bytes=40_000_000)


@pytest.fixture(scope="module")
def two_nodes(ray):
    """A cluster of two worker nodes; the first test takes one away."""
    with cluster(nodes=2) as made:
        yield made


def ray_pool(made, tmp_path: Path, workers: int) -> RayPool:
    """A pool on a cluster whose workers must see the test's folder."""
    return RayPool(made.address, workers=workers, limits=LIMITS, shared=tmp_path / "store")


def test_a_cluster_that_does_not_answer_is_told_at_once(ray):
    with pytest.raises(MachineError, match="no Ray cluster answers") as caught:
        list(RayPool("127.0.0.1:1").map(_slow_square, range(3)))
    assert caught.value.where == "site: ray.address = 127.0.0.1:1"


def test_without_ray_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match="Ray is not installed"):
        list(RayPool("127.0.0.1:1").map(_slow_square, range(3)))


@dataclass(frozen=True)
class Held:
    """A shard that, the first time, says where it is made and waits until it may be."""

    task: Task
    folder: Path

    def __str__(self) -> str:
        return str(self.task)


def make_held(held: Held) -> dict:
    """Make the shard, once the test lets it."""
    import ray

    name = held.task.shard.name
    (held.folder / f"{name}.at-{ray.get_runtime_context().get_node_id()}").touch()
    while not (held.folder / "go").exists():
        time.sleep(0.02)
    return make_shard(held.task)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def warcs(tmp_path) -> list[Path]:
    """Four small files of good pages."""
    pages = [Response(f"https://example-{n}.test/", html_page(japanese_text(n)).encode()) for n in range(8)]
    return [write_warc(tmp_path / f"{n}.warc.gz", pages[2 * n : 2 * n + 2]) for n in range(4)]


def test_a_node_lost_in_mid_run_changes_no_byte(two_nodes, tmp_path, warcs):
    """Two shards are being made, one on each node, when one node is killed; all four end as on this machine."""
    page, marks = CorpusPage(), tmp_path / "marks"
    marks.mkdir()
    tasks = [Task(warc, tmp_path / "store" / f"part-{n:05d}.parquet", page) for n, warc in enumerate(warcs)]
    lost = two_nodes.list_all_nodes()[-1]
    began: list[str] = []

    def kill() -> None:
        wait_for(lambda: len(list(marks.iterdir())) == 2)
        began.extend(path.name for path in marks.iterdir())
        two_nodes.remove_node(lost, allow_graceful=False)
        (marks / "go").touch()

    assert RayPool(two_nodes.address).workers == 2  # the cluster's processors
    killer = Thread(target=kill)
    killer.start()
    seen: list[dict[str, float]] = []
    pool = ray_pool(two_nodes, tmp_path, workers=2)
    summaries = list(pool.map(make_held, [Held(task, marks) for task in tasks], on_tick=seen.append))
    killer.join()
    assert sum(name.endswith(lost.node_id) for name in began) == 1  # it was at work when it was lost
    facts = read_pages(page, warcs, tmp_path / "local")
    assert [summary["records"] for summary in summaries] == [2] * 4
    assert facts["read"] == 8 == sum(counts.get("pages", 0) for counts in seen)
    for task in tasks:
        assert sha256_file(task.shard) == sha256_file(tmp_path / "local" / "shards" / task.shard.name)
    left = [path.name for path in (tmp_path / "store").iterdir() if path.suffix != ".partial"]  # the lost node's
    assert sorted(left) == [task.shard.name for task in tasks]


def work(item: poison.Task | int) -> list[str] | int:
    """A shard with harm in it, or a number that fails."""
    return poison.make(item) if isinstance(item, poison.Task) else _fail_on_three(item)


def test_poison_and_errors_are_those_of_the_local_pool(two_nodes, tmp_path):
    rows = []
    local = LocalPool(1, limits=LIMITS, apart=True)
    for name, pool in (("ray", ray_pool(two_nodes, tmp_path, workers=1)), ("local", local)):
        task = poison.Task(tmp_path / f"{name}.json", count=4, harm={1: "hang", 2: "eat"})
        poison.struck(task, 1)  # as if it had ended one worker before
        results = pool.map(work, [task, 2, 3, 4], on_death=lambda item: strike(item.shard))
        rows.append(next(results))
        assert next(results) == 2
        with pytest.raises(DataError) as caught:
            next(results)
        assert str(caught.value).splitlines() == ["three is not a number we like", "  at: item 3", "hint: use two"]
    assert rows[0] == rows[1]
    assert [row.split()[1:2] for row in rows[0]] == [[], ["quarantined"], ["quarantined"], []]
    assert "not done in 2 s" in rows[0][1]
