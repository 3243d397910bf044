"""The process that reads: limits of time and memory, crashes, silence; one process for many files, none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from shikomi.documents import reader as module
from shikomi.documents.passage import Limits, Passage
from shikomi.documents.reader import Reader, read, require
from shikomi.errors import MachineError
from tests.documents import files
from tests.documents.files import LAUGHS, PARAGRAPH, SENTENCES, docx, paragraph, pdf


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "頁 一.html"
    path.write_text(f"<html>{PARAGRAPH}", encoding="utf-8")
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "良い 文書.txt"
    path.write_text(PARAGRAPH, encoding="utf-8")
    return path


def pid(reader: Reader) -> int:
    assert reader._process is not None
    return reader._process.pid


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_read_one_file(good):
    assert list(read(good)) == [Passage(PARAGRAPH, kind="text", charset="utf-8")]


def test_one_process_serves_many_files_and_ends_with_its_reader(tmp_path, good):
    (tmp_path / "a.pdf").write_bytes(pdf([[SENTENCES[0]], [SENTENCES[1]]]))
    (tmp_path / "b.xml").write_text(LAUGHS, encoding="utf-8")
    with Reader() as reader:
        first = [*reader.read(good)]
        number = pid(reader)
        assert [p.text for p in reader.read(tmp_path / "a.pdf")] == list(SENTENCES[:2])
        assert [p.problem for p in reader.read(tmp_path / "b.xml")] == ["entities"]
        assert [p.problem for p in reader.read(tmp_path / "nothing")] == ["not_found"]
        assert [*reader.read(good)] == first
        assert pid(reader) == number
    assert not alive(number)


def test_a_library_that_takes_memory_is_loaded_once(tmp_path):
    parquet.write_table(pa.table({"text": [PARAGRAPH]}), tmp_path / "a.parquet")
    with Reader(Limits(memory_bytes=100 << 20)) as reader:
        assert [p.text for p in reader.read(tmp_path / "a.parquet")] == [PARAGRAPH]
        number = pid(reader)
        assert [p.text for p in reader.read(tmp_path / "a.parquet")] == [PARAGRAPH]
        assert pid(reader) == number


@pytest.mark.parametrize(
    ("function", "reason", "told"),
    [(files.endless, "too_slow", "processor time"), (files.greedy, "too_much_memory", "bytes"),
     (files.crash, "crashed", "signal 11")],
)  # fmt: skip
def test_a_file_that_ends_the_process_is_a_problem_and_the_next_is_read(page, good, function, reason, told):
    with Reader(
        Limits(cpu_seconds=0.3 if reason == "too_slow" else 30, memory_bytes=200 << 20), html=function
    ) as reader:
        (found,) = reader.read(page)
        assert (found.problem, found.text) == (reason, "")
        assert told in found.detail
        assert [p.text for p in reader.read(good)] == [PARAGRAPH]


def test_silence_is_ended(page, good):
    with Reader(html=files.asleep) as reader:
        reader.patience = 1.0
        (found,) = reader.read(page)
        assert found.problem == "too_slow"
        assert [p.text for p in reader.read(good)] == [PARAGRAPH]


def test_what_a_library_prints_does_not_mix_with_passages(page):
    with Reader(html=partial(files.loud, word="前")) as reader:
        (found,) = reader.read(page)
    assert found == Passage(f"前<html>{PARAGRAPH}", "題", kind="html", charset="utf-8")


def test_rows_read_before_a_crash_stay(tmp_path, good):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "{PARAGRAPH}"}}\n' * 5000, encoding="utf-8")
    with Reader() as reader:
        passages = reader.read(path)
        before = [next(passages) for _ in range(10)]
        os.kill(pid(reader), signal.SIGKILL)
        rest = [*passages]
        assert all(p.text == PARAGRAPH for p in before + rest[:-1])
        assert rest[-1].problem == "crashed"
        assert rest[-1].document == rest[-2].document + 1
        assert f"nothing after {rest[-2].where} was read" in rest[-1].detail
        assert [p.text for p in reader.read(good)] == [PARAGRAPH]


def test_a_file_left_in_the_middle_leaves_nothing_behind(tmp_path, good):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "{PARAGRAPH}"}}\n' * 5000, encoding="utf-8")
    with Reader() as reader:
        passages = reader.read(path)
        next(passages)
        number = pid(reader)
        passages.close()
        assert not alive(number)
        assert [p.text for p in reader.read(good)] == [PARAGRAPH]


def test_bombs_in_sequence(tmp_path, good):
    """What unfolds without end comes to nothing in any kind, and the process lives on."""
    (tmp_path / "a.pdf").write_bytes(pdf([["x"]], count=1_000_000))
    docx(tmp_path / "b.docx", paragraph("あ") + " " * 30_000_000)
    (tmp_path / "c.html").write_text("<html>" + "<div>" * 100_000 + PARAGRAPH, encoding="utf-8")
    (tmp_path / "d.md").write_text("> " * 100_000 + "[" * 100_000, encoding="utf-8")
    (tmp_path / "e.xml").write_text("<?xml version='1.0'?><patent>" + "<p>" * 100_000, encoding="utf-8")
    (tmp_path / "f.json").write_text("[" * 100_000, encoding="utf-8")
    with Reader(Limits(cpu_seconds=20, file_bytes=20_000_000)) as reader:
        found = {path.name: [p.problem for p in reader.read(path)] for path in sorted(tmp_path.glob("?.*"))}
        assert [p.text for p in reader.read(good)] == [PARAGRAPH]
    del found["c.html"], found["d.md"]  # read or refused: both are good
    assert found == {"a.pdf": ["too_many_pages"], "b.docx": ["too_large"], "e.xml": ["too_deep"], "f.json": ["damaged"]}


def test_the_process_ends_with_a_parent_that_is_killed(tmp_path):
    path = tmp_path / "a.html"
    path.write_text("<html>", encoding="utf-8")
    code = (
        "import sys; from shikomi.documents.reader import Reader; from tests.documents.files import asleep\n"
        "reader = Reader(html=asleep); reader._started(); print(reader._process.pid, flush=True)\n"
        f"list(reader.read({str(path)!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=files.ROOT)
    assert parent.stdout is not None
    number = int(parent.stdout.readline())
    assert alive(number)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 30
    while alive(number) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(number)


def test_without_the_extra_one_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIBRARIES", {"pdf": "no_such_library"})
    require(["text", "docx"])
    with pytest.raises(MachineError) as told:
        require(["text", "pdf"])
    assert "no_such_library" in str(told.value)
    assert "shikomi[documents]" in told.value.hint
    assert len(str(told.value).splitlines()) == 3


def test_a_library_missed_in_the_middle_of_a_run_is_no_problem_of_the_file(tmp_path):
    (tmp_path / "pypdfium2.py").write_text("raise ImportError('gone', name='pypdfium2')", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes(pdf([[PARAGRAPH]]))
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(MachineError, match="pypdfium2"):
            list(read(tmp_path / "a.txt"))
    finally:
        sys.path.remove(str(tmp_path))


def test_a_process_that_cannot_start_is_told(good, monkeypatch):
    monkeypatch.setattr(module, "_START", "raise SystemExit(5)")
    with pytest.raises(MachineError, match="exit code 5"):
        list(read(good))
