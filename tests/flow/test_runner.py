"""The runner: finished stages are passed over, cut off ones gone on with, and a manifest is written last."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from shikomi.errors import DataError, UsageError
from shikomi.flow import runner, store
from shikomi.flow.runner import Build
from shikomi.flow.step import Context, Source, Step
from shikomi.flow.store import MANIFEST, Store
from shikomi.io import read_json
from shikomi.log import Progress, silent
from tests.flow.toy import SHARDS, contents, facts, journal, numbers, one_step, total, toy_build


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "仕込み の 倉"


class Told:
    """A watch that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple] = []

    def say(self, text: str) -> None:
        self.events.append(("say", text))

    def begin(self, stage: str, number: int, of: int) -> Progress:
        self.events.append(("begin", stage, number, of))
        return silent

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        self.events.append(("end", stage, cached))


def test_steps_run_in_order_and_not_again(root: Path):
    ran: list[int] = []
    build, told = toy_build(root, each=ran.append), Told()
    built = build.run(watch=told, workers=2, threads=3)
    assert [(one.name, one.cached) for one in built] == [("numbers", False), ("sum", False)]
    assert told.events == [
        ("begin", "numbers", 1, 2), ("end", "numbers", False), ("begin", "sum", 2, 2), ("end", "sum", False),
    ]  # fmt: skip
    before = contents(root)
    assert facts(build)["sum"] == {"sum": 3 * sum(range(SHARDS * 100))}
    again = toy_build(root, each=ran.append).run()
    assert all(one.cached for one in again)
    assert [one.seconds for one in again] == [one.seconds for one in built]
    assert [one.folder for one in again] == [one.folder for one in built]
    assert ran == list(range(SHARDS))
    assert contents(root) == before


def test_a_step_is_told_how_it_may_work(root: Path):
    seen: list[Context] = []
    one_step(root, lambda inputs, out, context: seen.append(context)).run(workers=3, threads=4)
    assert (seen[0].workers, seen[0].threads) == (3, 4)


def test_until_a_stage(root: Path):
    build = toy_build(root)
    assert [one.name for one in build.run(until="numbers")] == ["numbers"]
    assert build.finished(build.step("numbers"))
    assert not build.finished(build.step("sum"))
    with pytest.raises(UsageError) as caught:
        build.run(until="number")
    assert caught.value.hint == 'did you mean "numbers"?'
    assert "numbers sum" in caught.value.where
    with pytest.raises(UsageError, match='no stage "zzz"'):
        build.step("zzz")


def test_a_manifest_says_what_made_the_stage(root: Path, tmp_path: Path):
    (tmp_path / "a.txt").write_text("1")
    build = toy_build(root, inputs={"pages": Source("crawl", [tmp_path / "a.txt"])})
    build.run(workers=2)
    manifest = read_json(build.folder(build.steps[0]) / MANIFEST)
    assert manifest["step"] == "numbers"
    assert manifest["id"] == build.id(build.steps[0]) == build.folder(build.steps[0]).name
    assert manifest["page"] == {"shards": SHARDS, "factor": 3}
    assert manifest["inputs"] == {"pages": {"source": "crawl", "id": build.id(build.steps[0].inputs["pages"])}}
    assert manifest["workers"] == 2
    assert manifest["peak_mb"] > 1
    assert manifest["seconds"] >= 0
    assert manifest["versions"]["shikomi"]
    assert "cores" in manifest["machine"]
    assert manifest["files"]["shards/00000.txt"] == (build.folder(build.steps[0]) / "shards/00000.txt").stat().st_size
    assert len(manifest["files"]) == SHARDS
    assert str(tmp_path) not in json.dumps(manifest)


def test_scratch_and_partial_files_are_thrown_away(root: Path):
    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict:
        (out / "scratch" / "deep").mkdir(parents=True)
        (out / "kept").mkdir()
        (out / "kept" / "a.txt.partial").write_text("half")
        (out / "b.partial").mkdir()
        (out / "kept" / "a.txt").write_text("whole")
        return {}

    build = one_step(root, run)
    [built] = build.run()
    assert {path.name for path in built.folder.rglob("*")} == {MANIFEST, "kept", "a.txt"}
    assert list((root / "work").iterdir()) == []


def test_the_manifest_is_written_after_everything_else(root: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[set[str], bool]] = []
    write = store.write_json

    def watched(path: Path, value: Any) -> None:
        if path.name == MANIFEST:
            there = {found.name for found in path.parent.iterdir()}
            seen.append((there, path.parent.parent.name == "work"))
        write(path, value)

    monkeypatch.setattr(store, "write_json", watched)
    toy_build(root).run()
    # Scratch is still whole then: a build cut off before the manifest has all it resumes from.
    assert seen == [({"shards", "scratch"}, True), ({"合計.txt"}, True)]


@pytest.mark.parametrize("harm", ["longer", "missing"])
def test_a_damaged_result_is_built_again(root: Path, harm: str):
    build, told = toy_build(root), Told()
    build.run()
    before = contents(root)
    path = build.folder(build.steps[0]) / "shards" / "00003.txt"
    path.write_text(path.read_text() + "x") if harm == "longer" else path.unlink()
    assert not build.finished(build.steps[0])
    built = build.run(watch=told)
    assert [one.cached for one in built] == [False, True]
    assert contents(root) == before
    assert journal(build, "stage_damaged")[0]["what"].startswith("shards/00003.txt ")
    assert any(event[0] == "say" and "damaged" in event[1] for event in told.events)


def test_a_folder_without_a_manifest_is_not_finished(root: Path):
    build = toy_build(root)
    folder = build.folder(build.steps[0])
    folder.mkdir(parents=True)
    (folder / "by hand.txt").write_text("x")
    assert not build.finished(build.steps[0])
    build.run()
    assert not (folder / "by hand.txt").exists()
    assert build.finished(build.steps[0])


def test_a_stage_cut_off_between_manifest_and_rename_is_moved_in(root: Path):
    ran: list[int] = []
    build = toy_build(root)
    build.run()
    before = contents(root)
    step = build.steps[0]
    build.folder(step).rename(build.store.work(step.name, build.id(step)))
    built = toy_build(root, each=ran.append).run()
    assert [one.cached for one in built] == [True, True]
    assert ran == []
    assert contents(root) == before


class Cut(BaseException):
    """The process ends here; nothing it does afterwards reaches the disk."""


def cut_after(count: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the store's changes to the disk end with the ``count``-th; returns the counter."""
    done = [0]

    def watched(name: str, owner: Any) -> None:
        inner = getattr(owner, name)

        def wrapped(*given: Any, **named: Any) -> Any:
            if done[0] >= count:
                raise Cut
            done[0] += 1
            return inner(*given, **named)

        monkeypatch.setattr(owner, name, wrapped)

    for owner, name in (
        (store, "write_json"),
        (store, "_flush"),
        (store, "sync_folder"),
        (store.shutil, "rmtree"),
        (Path, "rename"),
        (Path, "unlink"),
    ):
        watched(name, owner)
    return done


def test_whenever_the_store_is_cut_off_the_next_build_ends_in_the_same_bytes(root: Path):
    straight = toy_build(root.parent / "straight", page={"shards": 2, "factor": 3})
    with pytest.MonkeyPatch.context() as patch:
        changes = cut_after(10**6, patch)
        straight.run()
    wanted = contents(straight.store.root)
    assert changes[0] > 10
    for count in range(changes[0]):
        build = toy_build(root / str(count), page={"shards": 2, "factor": 3})
        with pytest.MonkeyPatch.context() as patch:
            cut_after(count, patch)
            with pytest.raises(Cut):
                build.run()
        finished = contents(build.store.root)
        assert finished.items() <= wanted.items(), count
        assert all(not build.store.damage(step.name, build.id(step)) for step in build.steps)
        build.run()
        assert contents(build.store.root) == wanted, count


def test_the_journal_tells_what_happened(root: Path):
    build = toy_build(root)
    build.run(recipe="玩具", about={"file": "a.toml"})
    told = [(event["event"], event.get("stage")) for event in build.store.journal.read()]
    assert told == [
        ("build_started", None),
        ("stage_started", "numbers"), ("stage_finished", "numbers"),
        ("stage_started", "sum"), ("stage_finished", "sum"),
        ("build_finished", None),
    ]  # fmt: skip
    record = read_json(root / "builds" / "玩具.json")
    assert record["file"] == "a.toml"
    assert record["steps"] == [{"name": step.name, "id": build.id(step)} for step in build.steps]
    assert record["finished"] >= record["started"]


def test_notes_of_time_that_make_no_sense_count_for_nothing(root: Path):
    build = toy_build(root)
    step = build.steps[0]
    build.store.create()
    for text in ("", "{}", '{"seconds": "x", "cpu_seconds": 1}', "[]"):
        (root / "work" / f"numbers-{build.id(step)}.spent.json").write_text(text)
        assert build.store.spent("numbers", build.id(step)) == {"seconds": 0.0, "cpu_seconds": 0.0}


def test_a_source_is_given_as_its_folder(root: Path, tmp_path: Path):
    path = tmp_path / "入力" / "a.txt"
    path.parent.mkdir()
    path.write_text("1")
    seen: list[dict[str, Path]] = []

    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict:
        seen.append(inputs)
        return {}

    Build([Step("one", 1, None, {"a": Source("a", [path]), "b": Source("b", [])}, run)], Store(root)).run()
    assert seen[0]["a"] == path.parent


def test_a_source_that_changes_while_it_is_read_ends_the_stage(root: Path, tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("1")

    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict:
        path.write_text("2")
        return {}

    build = Build([Step("one", 1, None, {"a": Source("a", [path])}, run)], Store(root))
    with pytest.raises(DataError, match="files changed while stage one was reading them"):
        build.run()
    assert not build.finished(build.steps[0])


def test_a_missing_source_is_told_before_any_stage_runs(root: Path, tmp_path: Path):
    ran: list[int] = []
    first = numbers(each=ran.append)
    second = total({"numbers": first, "more": Source("more", [tmp_path / "ない.txt"])})
    with pytest.raises(DataError) as caught:
        Build([first, second], Store(root)).run()
    assert caught.value.where == str(tmp_path / "ない.txt")
    assert ran == []


def test_versions_are_those_of_loaded_libraries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "VERSIONED", ("pytest", "json", "not loaded"))
    assert runner.versions() == {
        "shikomi": metadata.version("shikomi"), "python": platform.python_version(), "pytest": pytest.__version__,
    }  # fmt: skip
