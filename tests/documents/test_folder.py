"""Which files a source has, their addresses, and stretches of large ones."""

from __future__ import annotations

import json
import os

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from shikomi.documents.folder import address, find
from shikomi.documents.parts import parts_of
from shikomi.documents.passage import Part
from shikomi.documents.reading import passages
from shikomi.errors import RecipeError


@pytest.fixture
def folder(tmp_path):
    for name in (
        "報告 書/二〇二四/年次 #1.pdf",
        "報告 書/a.txt",
        "報告 書/.DS_Store",
        "報告 書/~$a.docx",
        "報告 書/.git/x",
        "b.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return tmp_path


def names(*arguments) -> list[str]:
    return [file.name for file in find(*arguments)]


def test_folders_globs_and_files(folder):
    assert names(["報告 書"], folder) == ["a.txt", "二〇二四/年次%20%231.pdf"]
    assert names([str(folder / "報告 書" / "**" / "*.pdf")], folder) == ["二〇二四/年次%20%231.pdf"]
    assert names(["報告 書/*"], folder) == ["a.txt", "二〇二四/年次%20%231.pdf"]
    assert names(["*/a.txt", "b.txt", "b.txt"], folder) == ["b.txt", "報告%20書/a.txt"]
    assert find(["b.txt"], folder)[0].path == folder / "b.txt"


def test_names_do_not_depend_on_the_machine(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "報告 書"
    (folder / "報告 書").rename(other)
    assert names([str(other)], folder) == ["a.txt", "二〇二四/年次%20%231.pdf"]


def test_odd_names():
    assert address("カ\u3099 ラ\tス%.txt") == "ガ%20ラ%09ス%25.txt"
    assert address(os.fsdecode("報告.txt".encode("cp932"))) == "%95%F1%8D%90.txt"


def test_mistakes_are_told(folder):
    with pytest.raises(RecipeError, match=r'no file matches "x/\*.pdf"') as told:
        find(["x/*.pdf"], folder, "corpus.documents.0.path")
    assert told.value.where == "corpus.documents.0.path"
    with pytest.raises(RecipeError, match="no file matches"):
        find(["c.txt"], folder)
    (folder / "c").mkdir()
    (folder / "c" / "b.txt").write_text("x", encoding="utf-8")
    with pytest.raises(RecipeError, match="two files have the name"):
        find(["b.txt", "c"], folder)


def test_a_large_jsonl_in_stretches_reads_the_same(tmp_path):
    path = tmp_path / "大.jsonl"
    lines = [json.dumps({"text": f"{number} " + "あ" * (number % 200)}) for number in range(4_000)]
    lines[1_000] = ""
    path.write_text("\n".join(lines), encoding="utf-8")
    parts = parts_of(path, part_bytes=1 << 18)
    assert len(parts) > 2
    assert parts_of(path) == [Part(str(path))]
    whole = [(passage.text, passage.where) for passage in passages(Part(str(path)))]
    assert whole == [(passage.text, passage.where) for part in parts for passage in passages(part)]
    assert whole[-1][1] == "line=4000"


def test_parquet_in_stretches_of_row_groups(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": [os.urandom(200).hex() for _ in range(1000)]}), path, row_group_size=100)
    parts = parts_of(path, part_bytes=path.stat().st_size // 4)
    assert [part.first for part in parts] == [1, 301, 601, 901]
    read = [passage for part in parts for passage in passages(part)]
    assert [passage.where for passage in read] == [f"row={number}" for number in range(1, 1001)]
    path.write_bytes(path.read_bytes()[:-30])
    assert parts_of(path, part_bytes=1000) == [Part(str(path))]


def test_what_cannot_be_cut_is_one_part(tmp_path):
    assert parts_of(tmp_path / "nothing.jsonl") == [Part(str(tmp_path / "nothing.jsonl"))]
    (tmp_path / "a.txt").write_bytes(b"x" * 1000)
    assert parts_of(tmp_path / "a.txt", part_bytes=10) == [Part(str(tmp_path / "a.txt"))]
