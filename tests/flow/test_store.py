"""The store: where things live, what is damaged, and outside files known by their contents."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shikomi.errors import DataError, MachineError
from shikomi.flow import store as module
from shikomi.flow.store import Store
from shikomi.io import sha256_file
from tests.flow.toy import toy_build


def test_a_store_with_an_impossible_name_is_told(tmp_path: Path):
    with pytest.raises(MachineError, match="File name too long"):
        Store(tmp_path / ("x" * 300)).create()


def test_making_a_store_touches_nothing(tmp_path: Path):
    store = Store(tmp_path / "a" / "倉 庫")
    assert store.manifest("x", "1") is None
    assert store.manifests("x") == []
    assert store.journal.read() == []
    store.save_hashes()
    assert list(tmp_path.iterdir()) == []
    store.create()
    store.create()
    assert (tmp_path / "a" / "倉 庫" / "work").is_dir()


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_store_that_is_a_file_is_told(tmp_path: Path, below: str):
    path = tmp_path / "倉 庫"
    path.write_text("x")
    with pytest.raises(MachineError) as caught:
        toy_build(path / below).run()
    assert caught.value.what == "the store is a file, not a folder"
    assert caught.value.where == str(path / below)
    assert "--store" in caught.value.hint


def test_a_store_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*given: Any, **named: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(MachineError) as caught:
        Store(tmp_path / "x").create()
    assert caught.value.what == "the store cannot be made or written: Permission denied"


def test_manifests_are_told_newest_first(tmp_path: Path):
    store = Store(tmp_path)
    store.create()
    for identity, finished in (("b", 2), ("a", 3), ("c", 3)):
        store.begin("one", identity)
        store.publish("one", identity, {"id": identity})
        path = store.final("one", identity) / "manifest.json"
        path.write_text(json.dumps({"id": identity, "finished": finished}), encoding="utf-8")
    store.final("one", "no manifest").mkdir()
    assert [manifest["id"] for manifest in store.manifests("one")] == ["c", "a", "b"]


def test_damage(tmp_path: Path):
    store = Store(tmp_path)
    (store.begin("one", "1") / "a.txt").write_text("12345")
    store.publish("one", "1", {"id": "1"})
    assert store.damage("one", "1") == ""
    (store.final("one", "1") / "a.txt").write_text("123")
    assert store.damage("one", "1") == "a.txt has 3 bytes, 5 were written"
    (store.final("one", "1") / "a.txt").unlink()
    assert store.damage("one", "1") == "a.txt is missing"
    store.discard("one", "1")
    assert not store.final("one", "1").exists()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read; a change of any age counts as settled."""
    read: list[str] = []

    def watched(path: Path) -> str:
        read.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(module, "sha256_file", watched)
    monkeypatch.setattr(module, "SETTLED_NS", -(10**12))
    return read


def test_contents_are_hashed_once(tmp_path: Path, hashed: list[str]):
    path, root = tmp_path / "頁.warc", tmp_path / "store"
    path.write_text("a")
    store = Store(root)
    store.create()
    assert store.content(path) == store.content(path) == sha256_file(path)
    assert hashed == ["頁.warc"]
    store.save_hashes()
    saved = (root / "hashes.json").stat().st_mtime_ns
    again = Store(root)
    assert again.content(path) == sha256_file(path)
    again.save_hashes()
    assert hashed == ["頁.warc"]
    assert (root / "hashes.json").stat().st_mtime_ns == saved


def test_changed_contents_are_hashed_again(tmp_path: Path, hashed: list[str]):
    path = tmp_path / "a"
    path.write_text("a")
    store = Store(tmp_path / "store")
    first = store.content(path)
    before = path.stat()
    path.write_text("b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time: the time of change tells
    assert store.content(path) != first
    assert hashed == ["a", "a"]


def test_a_file_changed_just_now_is_not_remembered(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("a")
    store = Store(tmp_path / "store")
    store.create()
    store.content(path)
    store.save_hashes()
    assert not (tmp_path / "store" / "hashes.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"PATH": 5}', '{"PATH": []}', '{"PATH": [1, 2, 3, 4, "wrong"]}'])
def test_hashes_that_make_no_sense_are_left_out(tmp_path: Path, hashed: list[str], text: str):
    path = tmp_path / "a"
    path.write_text("a")
    store = Store(tmp_path / "store")
    store.create()
    (store.root / "hashes.json").write_text(text.replace("PATH", str(path)), encoding="utf-8")
    assert store.content(path) == sha256_file(path)
    assert hashed == ["a"]


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        Store(tmp_path).content(tmp_path / "ない")
    assert caught.value.where == str(tmp_path / "ない")
    assert "No such file" in caught.value.what
