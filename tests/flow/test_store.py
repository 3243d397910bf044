"""The store: what counts as finished, what is thrown away, and what is remembered of outside files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from shikomi.errors import DataError, MachineError
from shikomi.flow import store as store_module
from shikomi.flow.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "置き場 1")
    made.create()
    return made


def publish(store: Store, name: str = "corpus", identity: str = "abc") -> Path:
    work = store.begin(name, identity)
    (work / "shards").mkdir(exist_ok=True)
    (work / "shards" / "a.txt").write_text("十")
    (work / "scratch").mkdir()
    (work / "scratch" / "b.txt").write_text("scratch")
    (work / "left.txt.partial").write_text("half")
    (work / "folder.partial").mkdir()
    return store.publish(name, identity, {"id": identity, "step": name, "seconds": 1.0})


def test_publishing_leaves_results_and_a_manifest_of_them(store: Store) -> None:
    final = publish(store)
    found = sorted(path.relative_to(final).as_posix() for path in final.rglob("*"))
    assert found == ["manifest.json", "shards", "shards/a.txt"]
    manifest = store.manifest("corpus", "abc")
    assert manifest is not None
    assert manifest["files"] == {"shards/a.txt": 3}
    assert not store.work("corpus", "abc").exists()
    assert store.damage("corpus", "abc") == ""


def test_the_manifest_is_written_after_every_other_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real_flush, real_write = store_module._flush, store_module.write_json
    monkeypatch.setattr(store_module, "_flush", lambda path: (order.append(path.name), real_flush(path)))
    monkeypatch.setattr(
        store_module, "write_json", lambda path, value: (order.append(path.name), real_write(path, value))
    )
    publish(store)
    assert order == ["a.txt", "manifest.json"]


def test_without_a_manifest_nothing_is_finished(store: Store) -> None:
    final = publish(store)
    (final / "manifest.json").unlink()
    assert store.manifest("corpus", "abc") is None
    assert store.manifests("corpus") == []


def test_damage_names_the_file(store: Store) -> None:
    final = publish(store)
    (final / "shards" / "a.txt").write_text("十一")
    assert "shards/a.txt has 6 bytes" in store.damage("corpus", "abc")
    (final / "shards" / "a.txt").unlink()
    assert "shards/a.txt is missing" in store.damage("corpus", "abc")


def test_publishing_replaces_a_folder_that_was_not_finished(store: Store) -> None:
    (store.final("corpus", "abc") / "stray").mkdir(parents=True)
    final = publish(store)
    assert not (final / "stray").exists()
    assert store.damage("corpus", "abc") == ""


def test_finished_results_come_newest_first(store: Store) -> None:
    for identity, when in (("one", 1.0), ("two", 3.0), ("three", 2.0)):
        path = publish(store, "corpus", identity) / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": when}))
    assert [manifest["id"] for manifest in store.manifests("corpus")] == ["two", "three", "one"]


def test_time_spent_by_cut_off_attempts_adds_up_and_goes_with_success(store: Store) -> None:
    assert store.spent("corpus", "abc") == {"seconds": 0.0, "cpu_seconds": 0.0}
    store.spend("corpus", "abc", 12.5, 9.0)
    assert store.spent("corpus", "abc") == {"seconds": 12.5, "cpu_seconds": 9.0}
    publish(store)
    assert store.spent("corpus", "abc")["seconds"] == 0.0


def test_a_damaged_note_of_time_is_no_error(store: Store) -> None:
    store.spend("corpus", "abc", 1, 1)
    next((store.root / "work").glob("*.spent.json")).write_text("{")
    assert store.spent("corpus", "abc")["seconds"] == 0.0


def settle(path: Path) -> None:
    """Let a file look as if nobody had touched it for an hour; its time of change cannot be set, so the clock is."""
    os.utime(path, (time.time() - 3600, time.time() - 3600))


def test_contents_are_hashed_once_while_the_file_stays(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pages.warc"
    path.write_text("one")
    settle(path)
    monkeypatch.setattr(store_module, "SETTLED_NS", -(10**12))
    calls: list[Path] = []
    real = store_module.sha256_file
    monkeypatch.setattr(store_module, "sha256_file", lambda one: (calls.append(one), real(one))[1])
    first = store.content(path)
    assert store.content(path) == first
    assert len(calls) == 1
    store.save_hashes()
    assert Store(store.root).content(path) == first
    assert len(calls) == 1
    path.write_text("two")  # the same size
    assert store.content(path) != first
    assert len(calls) == 2


def test_a_file_changed_just_now_is_not_remembered(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "pages.warc"
    path.write_text("one")
    store.content(path)
    store.save_hashes()
    assert not (store.root / "hashes.json").exists()


def test_damaged_hashes_are_forgotten(store: Store, tmp_path: Path) -> None:
    (store.root / "hashes.json").write_text("[1]")
    path = tmp_path / "x"
    path.write_text("x")
    assert len(store.content(path)) == 64


def test_a_missing_outside_file_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        store.content(tmp_path / "gone.warc.gz")
    assert "gone.warc.gz" in caught.value.where


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(MachineError, match="a file, not a folder"):
        Store(tmp_path / "store").create()
