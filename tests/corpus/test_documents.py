"""Files of one's own become the same rows as crawled pages: text, measures, provenance, and a reason for every drop."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from shikomi.compute.local import LocalPool
from shikomi.corpus.documents import (
    DocumentsTask,
    check_documents,
    make_documents_shard,
    plan_tasks,
    read_document,
)
from shikomi.corpus.quality.measures import measure
from shikomi.corpus.text.extract import running_text
from shikomi.data.document import MEASURES, schema
from shikomi.documents.folder import find
from shikomi.documents.passage import Passage
from shikomi.errors import DataError, MachineError
from shikomi.recipe.corpus import CorpusPage
from shikomi.recipe.documents import DocumentsPage
from tests.documents.files import LOCKED, OLE, PARAGRAPH, SENTENCES, docx, jp_patent, paragraph, pdf

TEXT = PARAGRAPH * 3


def source(**values) -> DocumentsPage:
    return DocumentsPage(**{"name": "社内", "path": ["."], "licence": "unknown", **values})


def tasks_of(
    folder: Path, page: CorpusPage | None = None, part_bytes: int = 64_000_000, **values
) -> list[DocumentsTask]:
    described = source(**values)
    files = find(described.path, folder)
    return plan_tasks(described, files, page or CorpusPage(), folder.parent / "shards", part_bytes=part_bytes)


def rows_of(tasks: list[DocumentsTask]) -> list[dict]:
    for task in tasks:
        make_documents_shard(task)
    tables = [parquet.read_table(task.shard) for task in tasks]
    assert all(table.schema.equals(schema()) for table in tables)
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a firm: good documents of every kind, and what lies between them."""
    folder = tmp_path / "文書 倉庫"
    (folder / "年次 報告").mkdir(parents=True)
    (folder / "年次 報告" / "二〇二四 年.pdf").write_bytes(
        pdf([[sentence] for sentence in SENTENCES * 2], title="報告")
    )
    (folder / "鍵.pdf").write_bytes(pdf([[PARAGRAPH]], extra=LOCKED))
    docx(folder / "議事録.docx", paragraph("議事", "1") + paragraph(TEXT) + paragraph("次", "1") + paragraph(TEXT))
    (folder / "古い.docx").write_bytes(OLE)
    (folder / "覚え.txt").write_bytes(TEXT.replace("、", "，").encode("cp932"))
    (folder / "english.txt").write_text("Only English words stand here. " * 20, encoding="utf-8")
    (folder / "空.txt").write_bytes(b"")
    (folder / "絵.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "公開.xml").write_text(jp_patent(1) + jp_patent(2), encoding="utf-8")
    (folder / "行.jsonl").write_text(json.dumps({"text": TEXT}) + "\n{bad\n", encoding="utf-8")
    return folder


def test_every_document_is_a_row_with_its_provenance(folder):
    rows = {row["url"].removeprefix("document://社内/"): row for row in rows_of(tasks_of(folder, date="2024"))}
    assert {url: row["reason"] for url, row in rows.items()} == {
        "english.txt": "not_japanese",
        "公開.xml": "",
        "公開.xml#document=2": "",
        "古い.docx": "old_word",
        "年次%20報告/二〇二四%20年.pdf": "",
        "空.txt": "empty_file",
        "絵.png": "unknown_kind",
        "行.jsonl#line=1": "",
        "行.jsonl#line=2": "bad_line",
        "覚え.txt": "",
        "議事録.docx": "",
        "鍵.pdf": "password",
    }
    for row in rows.values():
        assert (row["source"], row["host"], row["licence"]) == ("社内", "社内", "unknown")
        assert (row["verdict"], bool(row["detail"])) == (("dropped", True) if row["reason"] else ("kept", False))
        if not row["reason"]:
            assert {name: row[name] for name in MEASURES} == measure(row["text"])
            assert row["characters"] == len(row["text"])
    report = rows["年次%20報告/二〇二四%20年.pdf"]
    assert report["date"] == "2024-05-01T09:30:00"
    assert report["text"] == "\n".join(SENTENCES * 2)
    assert report["bytes"] == (folder / "年次 報告" / "二〇二四 年.pdf").stat().st_size
    assert rows["覚え.txt"]["text"] == TEXT
    assert (rows["覚え.txt"]["charset"], rows["覚え.txt"]["date"]) == ("cp932", "2024")
    assert rows["公開.xml#document=2"]["date"] == "2024-01-31"
    assert rows["公開.xml#document=2"]["text"].startswith("日本語の文書を読み取る装置2\n【課題】")
    assert len({row["id"] for row in rows.values()}) == len(rows)


def test_summary_counts_what_was_read_and_why_not(folder):
    (task,) = tasks_of(folder)
    summary = make_documents_shard(task)
    assert summary["records"] == 12
    assert summary["problems"] == {"bad_line": 1, "empty_file": 1, "old_word": 1, "password": 1, "unknown_kind": 1}
    assert summary["damaged"] == 1
    assert summary["kinds"] == {
        "docx": 1, "jsonl": 2, "patent": 2, "pdf": 2, "text": 2, "unknown": 3,
    }  # fmt: skip
    assert (summary["input"], summary["source"], summary["files"]) == ("documents", "社内", 10)
    assert str(folder) not in json.dumps(summary, ensure_ascii=False)


def test_a_finished_shard_is_used_again_and_another_page_makes_another(folder):
    path = ["覚え.txt", "行.jsonl", "年次 報告"]
    (task,) = tasks_of(folder, path=path)
    first = make_documents_shard(task)
    made = task.shard.stat().st_mtime_ns
    assert make_documents_shard(task) == first
    assert task.shard.stat().st_mtime_ns == made
    before = task.shard.read_bytes()
    task.shard.unlink()
    make_documents_shard(task)
    assert task.shard.read_bytes() == before
    (other,) = tasks_of(folder, path=path, licence="CC-BY-4.0")
    make_documents_shard(other)
    assert task.shard.read_bytes() != before
    (folder / "覚え.txt").write_text(TEXT + "変わった。", encoding="utf-8")
    assert any("変わった" in row["text"] for row in rows_of([other]))


def test_passages_as_documents(folder):
    rows = rows_of(tasks_of(folder, path=["*.docx", "年次 報告"], join="passage"))
    assert [row["url"].rpartition("/")[2] for row in rows] == [
        *(f"二〇二四%20年.pdf#page={number}" for number in range(1, 7)),
        *("古い.docx", "議事録.docx#section=1", "議事録.docx#section=2"),
    ]
    assert rows[-1]["text"] == f"次\n{TEXT}"


def test_a_sentence_over_two_pages_is_one(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    text = SENTENCES[1].replace("。", "、") * 4 + SENTENCES[0]
    lines = [text[start : start + 20] for start in range(0, len(text), 20)]
    (folder / "a.pdf").write_bytes(pdf([lines[:3], lines[3:]]))
    assert rows_of(tasks_of(folder))[0]["text"] == text


def test_rows_keep_their_own_id_url_and_date(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    rows = [
        {"body": TEXT, "no": "A 1", "when": "2020-02-03", "head": "題"},
        {"body": TEXT, "no": 2, "link": "https://例.test/記事", "head": "株式会社"},
    ]
    path = folder / "記事.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    fields = {"text": "body", "id": "no", "date_field": "when", "url": "link", "title": "head", "date": "2019"}
    table = tmp_path / "licences.tsv"
    table.write_text("url\tlicence\nhttps://例.test/記事\tCC0-1.0\n", encoding="utf-8")
    (task,) = plan_tasks(source(**fields), find(["."], folder), CorpusPage(), tmp_path, licences=table)
    first, second = rows_of([task])
    assert (first["url"], first["host"], first["date"]) == ("document://社内/A%201", "社内", "2020-02-03")
    assert (second["url"], second["host"], second["date"]) == ("https://例.test/記事", "例.test", "2019")
    assert (first["licence"], second["licence"]) == ("unknown", "CC0-1.0")
    assert (first["text"], second["text"]) == (f"題\n{TEXT}", TEXT)  # which begins with its title already


def test_an_html_file_reads_as_a_crawled_page(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    html = f"<html><title>題</title><nav>メニュー</nav><p>{TEXT}</p><p>Copyright 2024 青空商事</p></html>"
    (folder / "a.html").write_text(html, encoding="utf-8")
    assert rows_of(tasks_of(folder))[0]["text"] == running_text(html)
    page = CorpusPage(trim_lines=False, cut_footer=False)
    assert rows_of(tasks_of(folder, page))[0]["text"] == running_text(html, trim_lines=False, footer=False)


def test_a_large_file_in_stretches_gives_the_same_documents(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    lines = [json.dumps({"text": f"{number}番。{TEXT * 10}"}, ensure_ascii=False) for number in range(300)]
    lines[7] = "{bad"
    (folder / "大.jsonl").write_text("\n".join(lines), encoding="utf-8")
    whole = rows_of(tasks_of(folder))
    tasks = tasks_of(folder, part_bytes=300_000)
    assert len(tasks) > 1
    apart = rows_of(tasks)
    for row in whole + apart:
        row.pop("record")
    assert apart == whole
    assert [row["url"] for row in whole if row["reason"]] == ["document://社内/大.jsonl#line=8"]


def test_small_files_share_a_shard_and_large_ones_do_not(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    for number, size in enumerate((10, 20, 900, 10, 1500, 10)):
        (folder / f"{number}.txt").write_bytes(b"x" * size)
    groups = [[name for _, name in task.parts] for task in tasks_of(folder, part_bytes=1000)]
    assert groups == [["0.txt", "1.txt", "2.txt", "3.txt"], ["4.txt"], ["5.txt"]]
    shards = [task.shard.name for task in tasks_of(folder, part_bytes=1000)]
    assert shards == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert str(tasks_of(folder)[0]) == f"{folder / '0.txt'} and 5 more"


def test_two_workers_give_the_same_bytes(folder):
    tasks = tasks_of(folder, path=["*.txt", "*.xml"], part_bytes=3000)
    assert len(tasks) == 3
    here = [make_documents_shard(task)["sha256"] for task in tasks]
    for task in tasks:
        task.shard.unlink()
    assert [summary["sha256"] for summary in LocalPool(2).map(make_documents_shard, tasks)] == here


def test_a_problem_anywhere_in_a_document_is_the_documents(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.xml").write_text(jp_patent(1) + jp_patent(2)[:-300], encoding="utf-8")
    assert [(row["reason"], bool(row["text"])) for row in rows_of(tasks_of(folder))] == [("", True), ("damaged", False)]


def test_mistakes_are_told_before_the_work(folder, monkeypatch):
    files = find(["行.jsonl"], folder)
    check_documents(source(), find(["."], folder))
    with pytest.raises(DataError) as told:
        check_documents(source(text="body"), files)
    assert told.value.what == 'no field "body" with text (there are: text)'
    assert told.value.where.endswith("行.jsonl line=1")
    assert "corpus.documents.text" in told.value.hint
    monkeypatch.setattr("shikomi.documents.reader.LIBRARIES", {"pdf": "no_such_library"})
    check_documents(source(), files)
    with pytest.raises(MachineError, match="no_such_library"):
        check_documents(source(), find(["."], folder))


def test_punctuation_is_left_where_the_recipe_says_so():
    passage = Passage(TEXT.replace("、", "，"), kind="text")
    assert "，" in read_document(passage, "a.txt", source(), CorpusPage(normalise_punctuation=False))["text"]
    assert "，" not in read_document(passage, "a.txt", source(), CorpusPage())["text"]


@pytest.mark.real
def test_real_dialogues(real_data, tmp_path):
    described = source(path=["business/asdc"], text="utterances.text", id="meta.id.id")
    files = find(described.path, real_data)
    check_documents(described, files)
    rows = rows_of(plan_tasks(described, files, CorpusPage(), tmp_path))
    assert len(rows) == 210
    assert not any(row["reason"] for row in rows)
    assert all(row["url"].startswith("document://社内/asdc.v4.") for row in rows)
    assert min(row["japanese_letters"] for row in rows) > 400


@pytest.mark.real
def test_real_works_and_sentences(real_data, tmp_path):
    described = source(path=["corpus/*.jsonl"], id="path", title="title")
    rows = rows_of(plan_tasks(described, find(described.path, real_data), CorpusPage(), tmp_path / "a"))
    assert len(rows) == 300
    assert sum(not row["reason"] for row in rows) >= 295
    described = source(path=["corpus/ner-wikipedia"])
    rows = rows_of(plan_tasks(described, find(described.path, real_data), CorpusPage(), tmp_path / "b"))
    assert len(rows) == 5343
    assert {row["reason"] for row in rows} <= {"", "not_japanese"}
