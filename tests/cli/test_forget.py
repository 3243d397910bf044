"""Forgetting: what is kept out from now on, which models have seen it, and what is said where nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from shikomi.corpus.care.forget import meant, nearest, read_rows
from shikomi.corpus.care.optout import make_opt_out, read_list
from shikomi.data.document import schema
from shikomi.errors import DataError
from shikomi.flow.lineage import FORGOTTEN, read_lineage
from shikomi.flow.lock import hold
from shikomi.flow.store import Store
from shikomi.io import read_json, write_json
from tests.cli.shell import Shell

A, B, C, D, E = (letter * 16 for letter in "abcde")


def write_corpus(folder: Path, rows: list[tuple[str, str, str, str]]) -> None:
    """A shard of (id, url, reason, duplicate_of)."""
    columns = {name: [None] * len(rows) for name in schema().names}
    columns["id"] = [row[0] for row in rows]
    columns["url"] = [row[1] for row in rows]
    columns["host"] = [row[1].split("/")[2] for row in rows]
    columns["verdict"] = ["dropped" if row[2] else "kept" for row in rows]
    columns["reason"] = [row[2] for row in rows]
    columns["duplicate_of"] = [row[3] for row in rows]
    (folder / "shards").mkdir(parents=True)
    parquet.write_table(pa.table(columns, schema=schema()), folder / "shards" / "part-00000.parquet")


def finish(store: Path, step: str, identity: str, **inputs: tuple[str, str]) -> None:
    told = {name: {"step": given[0], "id": given[1]} for name, given in inputs.items()}
    write_json(
        store / step / identity / "manifest.json",
        {"step": step, "id": identity, "inputs": {**told, "outside": {"source": "files", "id": "0" * 16}}},
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two corpora: ``old`` with a model of every kind, ``new`` without document A and with a base; one model whose
    corpus is gone, and one whose manifest is damaged."""
    store = tmp_path / "store"
    old = [
        (A, "https://site.example/a", "", ""),
        (B, "https://mirror.example/a", "exact_copy", A),
        (C, "https://www.other.example/c", "", ""),
        (D, "https://other.example/d", "letters", ""),
    ]
    write_corpus(store / "corpus" / "old", old)
    write_corpus(store / "corpus" / "new", old[2:])
    write_corpus(store / "pages" / "p", [*old, (E, "https://fresh.example/e", "", "")])
    finish(store, "pages", "p")
    for name in ("old", "new"):
        finish(store, "corpus", name, pages=("pages", "p"))
        finish(store, "tokens", name, corpus=("corpus", name))
        finish(store, "pretrain", name, tokens=("tokens", name))
    finish(store, "anneal", "old", before=("pretrain", "old"))
    finish(store, "sft", "old", before=("anneal", "old"))
    finish(store, "dpo", "old", before=("sft", "old"))
    finish(store, "release", "old", model=("dpo", "old"), corpus=("corpus", "old"))
    finish(store, "release_base", "old", model=("pretrain", "old"))
    return store


def told_by(shikomi: Shell, store: Path, *words: object) -> dict:
    return json.loads(shikomi.done("forget", *words, "--store", store, "--json").out)


def models(told: dict) -> list[tuple[str, str]]:
    return [(one["step"], one["id"]) for one in told["models"]]


OLD = [(step, "old") for step in ("pretrain", "anneal", "sft", "dpo", "release_base", "release")]


def test_a_document_is_kept_out_and_its_models_are_listed(shikomi: Shell, store: Path):
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    told = told_by(shikomi, store, A.upper())
    assert told["added"] == [f"id {A}"]
    assert told["already"] == []
    assert models(told) == OLD
    assert {one["documents"] for one in told["models"]} == {1}
    assert Path(told["models"][0]["folder"]) == store / "pretrain" / "old"
    place = {"id": "old", "verdict": "kept", "reason": "", "seen": True}
    assert told["documents"] == [{"id": A, "url": "https://site.example/a", "corpora": [place]}]
    assert told["copies"] == [{"id": B, "url": "https://mirror.example/a"}]
    assert Path(told["list"]) == store / FORGOTTEN
    assert (store / FORGOTTEN).read_text(encoding="utf-8") == f"id {A}\n"
    assert all(path.read_bytes() == content for path, content in before.items()), "nothing is deleted or changed"
    again = told_by(shikomi, store, A)
    assert (again["added"], again["already"], models(again)) == ([], [f"id {A}"], OLD)


def test_the_list_does_not_depend_on_the_order(shikomi: Shell, store: Path, tmp_path: Path):
    told_by(shikomi, store, C, A)
    first = (store / FORGOTTEN).read_bytes()
    (store / FORGOTTEN).unlink()
    told_by(shikomi, store, A)
    told_by(shikomi, store, C)
    assert (store / FORGOTTEN).read_bytes() == first


def test_a_copy_was_seen_through_what_it_is_a_copy_of(shikomi: Shell, store: Path):
    told = told_by(shikomi, store, B)
    assert models(told) == OLD
    assert [row["id"] for row in told["copies"]] == [A]
    assert read_list(store / FORGOTTEN) == {("id", B)}
    told = told_by(shikomi, store, B, "--copies")
    assert told["copies"] == []
    assert read_list(store / FORGOTTEN) == {("id", A), ("id", B)}


def test_by_address_host_and_list(shikomi: Shell, store: Path, tmp_path: Path):
    told = told_by(shikomi, store, "--host", "other.example")
    assert [one["id"] for one in told["documents"]] == [C, D]
    assert models(told) == [("pretrain", "new"), ("pretrain", "old"), *OLD[1:]]
    assert {one["documents"] for one in told["models"]} == {1}, "D was dropped: no model has seen it"
    assert models(told_by(shikomi, store, "--url", "http://site.example/a")) == OLD
    assert models(told_by(shikomi, store, "--url", "https://site.example/*")) == OLD
    path = tmp_path / "list.txt"
    path.write_text(f"id {D}\nhost never.example\nid {'0' * 16}\n", encoding="utf-8")
    told = told_by(shikomi, store, "--list", path)
    assert [one["id"] for one in told["documents"]] == [D]
    assert told["models"] == []
    assert told["added"] == ["host never.example", f"id {'0' * 16}", f"id {D}"]
    shown = told_by(shikomi, store)
    assert len(shown["already"]) == 6
    assert [one["id"] for one in shown["documents"]] == [A, C, D]


def test_as_text(shikomi: Shell, store: Path):
    assert shikomi.done("forget", "--store", store).out == "nothing is kept out of this store's corpora yet\n"
    assert not (store / FORGOTTEN).exists()
    out = shikomi.done("forget", A, "--store", store).out
    assert f"kept out from now on: id {A}" in out
    assert "in 1 of 1 corpora" in out
    assert "copies at other addresses: 1" in out
    assert "release_base" in out
    assert "no model of this store has seen it" in shikomi.done("forget", D, "--store", store).out
    out = shikomi.done("forget", "--host", "never.example", "--store", store).out
    assert "no corpus of this store has read it" in out
    assert f"kept out already: id {A}" in shikomi.done("forget", "--store", store).out


def test_a_document_of_the_pages_that_is_in_no_corpus_yet_is_known(shikomi: Shell, store: Path):
    assert told_by(shikomi, store, E)["added"] == [f"id {E}"]


def test_models_whose_corpus_is_gone_are_told(shikomi: Shell, store: Path):
    (store / "corpus" / "old" / "manifest.json").unlink()
    (store / "pretrain" / "new" / "manifest.json").write_text("{", encoding="utf-8")
    told = told_by(shikomi, store, C)
    assert told["models"] == []
    assert {(one["step"], one["id"]) for one in told["unknown"]} == {*OLD, ("pretrain", "new")}
    assert "not known of 7 models" in shikomi.done("forget", C, "--store", store).out


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (["a" * 15 + "b"], f'no document "{"a" * 15}b"', f'did you mean "{A}"?'),
        (["0123456789abcdef"], "no document", "`shikomi look corpus --json` shows ids; or use --url, --host"),
        (["aaaa"], "is no id", "16 hexadecimal digits"),
        (["https://site.example/a"], "is no id", "did you mean `--url https://site.example/a`?"),
        (["site.example"], "is no id", "did you mean `--host site.example`?"),
        (["--url", "nowhere"], "is no address", "see the guide on privacy"),
        (["--host", "a b"], "is no host", "see the guide on privacy"),
    ],
)
def test_mistakes_are_told_in_three_lines_and_change_nothing(shikomi: Shell, store: Path, words, what, hint):
    ended = shikomi("forget", *words, "--store", store)
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert len(lines) == 3
    assert what in lines[0]
    assert lines[1].startswith("  at: ")
    assert lines[2] == f"hint: {hint}"
    assert not (store / FORGOTTEN).exists()


def test_no_store_and_no_list(shikomi: Shell, store: Path, tmp_path: Path):
    ended = shikomi("forget", A, "--store", tmp_path / "nowhere")
    assert (ended.code, len(ended.err.splitlines())) == (2, 3)
    ended = shikomi("forget", "--list", tmp_path / "missing.txt", "--store", store)
    assert (ended.code, len(ended.err.splitlines())) == (1, 3)


def test_it_waits_for_a_build(shikomi: Shell, store: Path, monkeypatch: pytest.MonkeyPatch):
    """A list that changed under a running build would not be the one its corpus is known by."""
    held = []

    def told_hold(path, recipe, **more):
        held.append((path, recipe))
        return hold(path, recipe, **more)

    monkeypatch.setattr("shikomi.flow.lock.hold", told_hold)
    told_by(shikomi, store, A)
    assert held == [(Store(store).lock_path, "forget")]


def test_lineage_goes_through_what_is_missing(store: Path):
    lineage = read_lineage(Store(store))
    assert ("pages", "p") in lineage.origins(("release", "old"))
    assert lineage.origins(("nothing", "x")) == set()
    assert lineage.of(("sft", "corpus")) == [("sft", "old"), ("corpus", "new"), ("corpus", "old")]
    journal = read_json(store / "corpus" / "old" / "manifest.json")
    assert journal["inputs"]["pages"]["id"] == "p"


def test_rows_and_nearest(store: Path, tmp_path: Path):
    assert [row.id for row in read_rows(store / "corpus" / "old")] == [A, B, C, D]
    assert meant(store / "corpus" / "old", make_opt_out([])).rows == ()
    assert nearest("bbbb", {A, B}) == B
    assert nearest("z" * 16, {A, B}) == ""
    (tmp_path / "bad" / "shards").mkdir(parents=True)
    (tmp_path / "bad" / "shards" / "part-00000.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot read corpus shard"):
        list(read_rows(tmp_path / "bad"))
