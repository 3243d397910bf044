"""Boilerplate: what many pages of one host share goes, what two hosts share or few pages have stays."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.corpus.copies import boilerplate
from shikomi.corpus.copies.boilerplate import Boilerplate, CountTask, count_lines, find_boilerplate
from shikomi.recipe.copies import CopiesPage

PAGE = CopiesPage(boilerplate_documents=4, boilerplate_share=0.2)

Row = tuple[str, str, str]


def shard(folder: Path, name: str, rows: list[Row], copies: list[int] | None = None) -> CountTask:
    """A shard of pages ``(host, text, verdict)`` with its decisions and, maybe, rows that are copies."""
    pages, decided, found = folder / f"{name}.parquet", folder / f"{name}.decided", folder / f"{name}.npz"
    columns = {key: pa.array([row[n] for row in rows], pa.string()) for n, key in enumerate(("host", "text"))}
    parquet.write_table(pa.table(columns), pages)
    parquet.write_table(pa.table({"verdict": pa.array([row[2] for row in rows], pa.string())}), decided)
    if copies is not None:
        passed = np.array([n for n, row in enumerate(rows) if row[2] == "kept"], dtype=np.int32)
        kind = np.isin(passed, copies).astype(np.uint8)
        np.savez(found, rows=passed, kind=kind, original=passed.astype(np.uint64), similarity=np.ones(len(passed)))
    return CountTask(pages, decided, found if copies is not None else None, folder / "counted")


def crowd(host: str, count: int, *lines: str) -> list[Row]:
    return [(host, "\n".join([f"{host}の{n}番目の文です。", *lines]), "kept") for n in range(count)]


def learn(folder: Path, tasks: list[CountTask], page: CopiesPage = PAGE, **how) -> tuple[Boilerplate, dict]:
    for task in tasks:
        count_lines(task)
    facts = find_boilerplate(folder / "counted", page, folder / "table.npy", **how)
    return Boilerplate(folder / "table.npy"), facts


def test_lines_that_many_pages_of_a_host_share_go(tmp_path):
    one = crowd("a.test", 6, " 本文に続く案内です。", "読者登録はこちら。") + crowd("b.test", 3, "ご案内です。")
    two = crowd("c.test", 30) + [("c.test", "少しの頁にある行です。\n本文です。", "kept")] * 4
    learned, facts = learn(tmp_path, [shard(tmp_path, "one", one), shard(tmp_path, "two", two)])
    assert facts == {"hosts": 3, "hosts_with_boilerplate": 1, "lines": 2}
    text = "本文です。\n\n終わりです。"
    stripped = learned.strip("a.test", f"読者登録はこちら。 \n{text}\n本文に続く案内です。\n\n読者登録はこちら。")
    assert stripped.text == text
    assert (stripped.lines, stripped.characters) == (4, 33)
    assert learned.strip("a.test", "読者登録はこちら。").text == ""
    for host in ("b.test", "d.test", ""):
        text = "本文に続く案内です。\nご案内です。"
        assert learned.strip(host, text) == boilerplate.Stripped(text, 0, 0)
    assert learned.strip("c.test", "少しの頁にある行です。").lines == 0


def test_what_recurs_in_the_middle_or_is_short_stays(tmp_path):
    rows = crowd("a.test", 6, "この省令は、公布の日から施行する。", "}", "附則")
    learned, facts = learn(tmp_path, [shard(tmp_path, "one", rows)])
    assert facts["lines"] == 1
    text = "第一条\nこの省令は、公布の日から施行する。\n第二条\n}\n附則"
    assert learned.strip("a.test", text) == boilerplate.Stripped(text, 0, 0)


def test_a_line_repeated_in_one_page_counts_once(tmp_path):
    rows = crowd("a.test", 3, *["くり返す行。"] * 9)
    learned, _ = learn(tmp_path, [shard(tmp_path, "one", rows)])
    assert learned.strip("a.test", "くり返す行。").lines == 0


def test_dropped_pages_and_copies_are_not_counted(tmp_path):
    rows = crowd("a.test", 4, "ご案内です。") + [("a.test", "別の頁。\nご案内です。", "dropped")] * 5
    learned, _ = learn(tmp_path, [shard(tmp_path, "one", rows, copies=[2])])
    assert learned.strip("a.test", "ご案内です。").lines == 0
    learned, _ = learn(tmp_path, [shard(tmp_path, "one", rows, copies=[])])
    assert learned.strip("a.test", "ご案内です。").lines == 1


def test_shards_and_memory_change_nothing(tmp_path, monkeypatch):
    rows = [row for n in range(12) for row in crowd(f"{n}.test", 3 + n, "ご案内です。", f"{n % 3}のご案内です。")]
    tables = []
    for number, (parts, memory_bytes) in enumerate(((1, 1 << 20), (3, 1 << 20), (5, 3000))):
        monkeypatch.setattr(boilerplate, "_WAITING", 1 << 20 if number < 2 else 10)
        folder = tmp_path / str(number)
        folder.mkdir()
        tasks = [shard(folder, str(part), rows[part::parts]) for part in range(parts)]
        learned, facts = learn(folder, tasks, memory_bytes=memory_bytes)
        tables.append(learned.table.read_bytes())
        assert facts["hosts_with_boilerplate"] == 11
        assert facts["lines"] == 22
    assert len(set(tables)) == 1


def test_it_travels_and_an_empty_corpus_has_none(tmp_path):
    learned, facts = learn(tmp_path, [shard(tmp_path, "one", [])])
    assert facts["lines"] == 0
    assert learned.strip("a.test", "文。").text == "文。"
    learned, _ = learn(tmp_path, [shard(tmp_path, "one", crowd("a.test", 5, "ご案内です。"))])
    learned.strip("a.test", "ご案内です。")
    copied = pickle.loads(pickle.dumps(learned))
    assert copied.strip("a.test", "ご案内です。\n文。").text == "文。"
