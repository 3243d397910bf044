"""The runner: builds what is missing, passes over what is there, tells what went wrong and leaves nothing half-done."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shikomi.errors import DataError, MachineError, RecipeError, ShikomiError, UsageError
from shikomi.flow.runner import Build, versions
from shikomi.flow.step import Context, Source, Step, sources
from shikomi.flow.store import Store
from shikomi.io import read_json
from shikomi.recipe.sample import SamplePage
from tests.flow.toys import chain, contents, toy


class Noting:
    """A watch that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def say(self, text: str) -> None:
        self.told.append(("say", text))

    def begin(self, stage: str, number: int, of: int):
        self.told.append(("begin", stage, number, of))
        return lambda done, total, unit, note="": self.told.append(("progress", stage, done, total, unit))

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        self.told.append(("end", stage, cached))


def failing(error: Exception) -> Step:
    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
        (out / "half.txt").write_text("half")
        raise error

    return Step("broken", 1, None, {}, run)


def test_a_build_runs_in_order_and_a_second_one_finds_it_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "日本語 と 空白")
    watch = Noting()
    built = Build(chain(), store).run(recipe="おもちゃ", watch=watch)
    assert [one.name for one in built] == ["crawl", "corpus", "tokens"]
    assert not any(one.cached for one in built)
    assert [one[1:] for one in watch.told if one[0] == "begin"] == [("crawl", 1, 3), ("corpus", 2, 3), ("tokens", 3, 3)]
    assert ("progress", "corpus", 3, 3, "shards") in watch.told
    before = contents(store.root)
    again = Build(chain(), store).run(recipe="おもちゃ")
    assert all(one.cached for one in again)
    assert [one.id for one in again] == [one.id for one in built]
    assert contents(store.root) == before
    assert len(before) == 3 * 4


def test_two_stores_hold_the_same_ids_and_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Build(chain(), Store(tmp_path / name)).run(workers=2 if name == "b" else 1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_manifest_tells_what_was_built_from_what_and_what_it_took(tmp_path: Path) -> None:
    store = Store(tmp_path)
    build = Build(chain(), store)
    build.run(workers=3, threads=2)
    corpus = build.step("corpus")
    manifest = read_json(build.folder(corpus) / "manifest.json")
    assert manifest["inputs"] == {"crawl": {"step": "crawl", "id": build.id(build.step("crawl"))}}
    assert manifest["page"] == {"rules": {"letters": 1}}
    assert manifest["facts"]["shards"] == 3
    assert manifest["workers"] == 3
    assert manifest["threads"] == 2
    assert manifest["peak_mb"] > 1
    assert manifest["seconds"] >= 0
    assert manifest["machine"]["cores"] >= 1
    assert manifest["versions"]["python"].startswith("3.")
    assert "shards/part-0.txt" in manifest["files"]


def test_only_what_a_change_touches_is_built_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Build(chain(), store).run()
    built = Build(chain(second=2), store).run()
    assert [one.cached for one in built] == [True, False, False]


def test_until_stops_after_a_stage(tmp_path: Path) -> None:
    build = Build(chain(), Store(tmp_path))
    assert [one.name for one in build.run(until="corpus")] == ["crawl", "corpus"]
    assert not build.finished(build.step("tokens"))
    with pytest.raises(UsageError) as caught:
        build.run(until="corpsu")
    assert 'did you mean "corpus"' in caught.value.hint


def test_a_page_counts_by_its_fields_and_a_version_by_itself(tmp_path: Path) -> None:
    def identity(page: Any, version: int = 1) -> str:
        return Build([], Store(tmp_path)).id(Step("crawl", version, page, {}, lambda i, o, c: {}))

    assert identity(SamplePage()) == identity(SamplePage().identity())
    assert identity(SamplePage(seed=8)) != identity(SamplePage())
    assert identity(SamplePage(), 2) != identity(SamplePage())


def test_a_source_counts_by_contents_and_order_not_by_name(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", "two"), ("c", "one")):
        (tmp_path / name).write_text(text)

    def identity(*names: str) -> str:
        step = toy("read", {}, {"files": Source("files", [tmp_path / name for name in names])})
        return Build([step], Store(tmp_path / "store")).id(step)

    assert identity("a", "b") == identity("c", "b")
    assert identity("a", "b") != identity("b", "a")


def test_sources_are_found_once(tmp_path: Path) -> None:
    source = Source("files", [])
    assert list(sources([toy("a", {}, {"x": source}), toy("b", {}, {"y": source})])) == [source]


def test_a_file_that_changes_while_it_is_read_spoils_the_stage(tmp_path: Path) -> None:
    path = tmp_path / "pages"
    path.write_text("before")

    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
        path.write_text("after")
        return {}

    build = Build([Step("read", 1, None, {"files": Source("files", [path])}, run)], Store(tmp_path / "store"))
    with pytest.raises(DataError, match="changed while stage read was reading"):
        build.run()
    assert not build.finished(build.steps[0])


def test_a_failed_stage_keeps_its_work_and_is_not_finished(tmp_path: Path) -> None:
    build = Build([failing(RecipeError("no", where="x"))], Store(tmp_path))
    with pytest.raises(RecipeError, match="no"):
        build.run()
    assert not build.finished(build.steps[0])
    assert [path.name for path in (tmp_path / "work").glob("broken-*/half.txt")] == ["half.txt"]
    events = build.store.journal.read()
    assert [event["event"] for event in events] == ["build_started", "stage_started", "stage_failed"]


def test_time_of_a_failed_attempt_is_counted_into_the_next(tmp_path: Path) -> None:
    fails = [True]

    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
        if fails.pop() if fails else False:
            raise DataError("once")
        return {}

    store = Store(tmp_path)
    build = Build([Step("toy", 1, None, {}, run)], store)
    with pytest.raises(DataError):
        build.run()
    store.spend("toy", build.id(build.steps[0]), 100.0, 50.0)
    assert build.run()[0].seconds >= 100.0
    assert (store.manifest("toy", build.id(build.steps[0])) or {})["cpu_seconds"] >= 50.0


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError("safetensors: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_with_what_is_free(tmp_path: Path, error: Exception) -> None:
    build = Build([failing(error)], Store(tmp_path / "store"))
    with pytest.raises(MachineError) as caught:
        build.run()
    assert "free where the store is" in caught.value.what
    assert "nothing half-written counts as finished" in caught.value.hint
    assert caught.value.exit_code == 3
    assert not build.finished(build.steps[0])
    assert not list(tmp_path.glob("store/broken/*"))


def test_a_full_disk_behind_another_error_is_found(tmp_path: Path) -> None:
    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
        try:
            with open("/dev/full", "w") as handle:
                handle.write("x" * 100_000)
        except OSError as error:
            raise DataError("the shard could not be written") from error
        return {}

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(MachineError, match="no space is left"):
        Build([Step("toy", 1, None, {}, run)], Store(tmp_path)).run()


LIMITED = """
import resource, sys
from pathlib import Path
from shikomi.errors import MachineError
from shikomi.flow.runner import Build
from shikomi.flow.step import Step
from shikomi.flow.store import Store

def run(inputs, out, context):
    (out / "large.bin").write_bytes(b"x" * 2_000_000)
    return {}

build = Build([Step("toy", 1, None, {}, run)], Store(Path(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    build.run()
except MachineError as error:
    print(error.what)
print("finished", build.finished(build.steps[0]))
"""


def test_a_file_that_may_not_grow_is_told_and_the_next_attempt_succeeds(tmp_path: Path) -> None:
    def attempt(limit: int) -> str:
        command = [sys.executable, "-c", LIMITED, str(tmp_path), str(limit)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "past the limit for files" in (first := attempt(1_000_000))
    assert "finished False" in first
    assert attempt(10_000_000) == "finished True\n"


def test_memory_that_runs_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="memory ran out"):
        Build([failing(MemoryError())], Store(tmp_path)).run()


def test_facts_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(ShikomiError, match="stage toy returned are not JSON"):
        Build([Step("toy", 1, None, {}, lambda i, o, c: {"folder": o})], Store(tmp_path)).run()


def test_numbers_of_numpy_are_taken_as_facts(tmp_path: Path) -> None:
    import numpy as np

    build = Build([Step("toy", 1, None, {}, lambda i, o, c: {"n": np.int64(3), "x": np.float32(0.5)})], Store(tmp_path))
    build.run()
    assert (build.store.manifest("toy", build.id(build.steps[0])) or {})["facts"] == {"n": 3, "x": 0.5}


def test_a_damaged_result_is_built_again(tmp_path: Path) -> None:
    build = Build(chain(), Store(tmp_path))
    build.run()
    before = contents(tmp_path)
    (build.folder(build.step("corpus")) / "rows.jsonl").unlink()
    watch = Noting()
    again = Build(chain(), Store(tmp_path)).run(watch=watch)
    assert [one.cached for one in again] == [True, False, True]
    assert any("rows.jsonl is missing" in one[1] for one in watch.told if one[0] == "say")
    assert contents(tmp_path) == before


def test_a_result_that_was_whole_but_not_yet_moved_is_moved(tmp_path: Path) -> None:
    build = Build(chain(), Store(tmp_path))
    build.run()
    step = build.step("tokens")
    build.folder(step).rename(build.store.work("tokens", build.id(step)))
    assert [one.cached for one in Build(chain(), Store(tmp_path)).run()] == [True, True, True]


def test_the_record_of_a_build_tells_its_ids(tmp_path: Path) -> None:
    build = Build(chain(), Store(tmp_path))
    build.run(recipe="試し", about={"overrides": ["a=1"]}, until="crawl")
    record = read_json(tmp_path / "builds" / "試し.json")
    assert [step["name"] for step in record["steps"]] == ["crawl", "corpus", "tokens"]
    assert record["steps"][2]["id"] == build.id(build.step("tokens"))
    assert record["overrides"] == ["a=1"]
    assert record["finished"] >= record["started"]


def test_versions_name_loaded_libraries_only() -> None:
    command = "from shikomi.flow.runner import versions; print(sorted(versions()))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "['python', 'shikomi']\n"
    import numpy as np

    assert versions()["numpy"] == np.__version__
