"""The journal keeps every whole line, whoever wrote it and however a run ended."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from shikomi.log import Journal, Progress, silent


def write_many(told: tuple[Path, str, int]) -> None:
    path, writer, count = told
    for number in range(count):
        Journal(path).write("line", writer=writer, number=number, text="仕込み" * 200)


def test_a_journal_that_was_never_written_is_empty(tmp_path):
    assert Journal(tmp_path / "none.jsonl").read() == []
    assert list(tmp_path.iterdir()) == []


def test_events_come_back_in_order_with_their_time(tmp_path):
    journal = Journal(tmp_path / "日誌" / "journal.jsonl")
    before = time.time()
    journal.write("started", stage="corpus")
    journal.write("finished", stage="corpus", pages=12)
    first, second = journal.read()
    assert (first["event"], second["event"], second["pages"]) == ("started", "finished", 12)
    assert before - 1 <= first["time"] <= second["time"] <= time.time() + 1


def test_a_last_line_cut_by_a_crash_is_left_out(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("started")
    with open(journal.path, "a", encoding="utf-8") as handle:
        handle.write('{"time": 1, "event": "fini')
    assert [row["event"] for row in journal.read()] == ["started"]


def test_a_cut_inside_a_character_costs_that_line_alone(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("started")
    with open(journal.path, "ab") as handle:
        handle.write('{"time": 1, "event": "学習'.encode()[:-1])
    assert [row["event"] for row in journal.read()] == ["started"]


def test_separators_of_unicode_do_not_split_a_line(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("page", title="前\u2028後\u0085末")
    assert [row["title"] for row in journal.read()] == ["前\u2028後\u0085末"]


def test_lines_of_several_processes_never_mix(tmp_path):
    path = tmp_path / "journal.jsonl"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(write_many, [(path, "a", 40), (path, "b", 40)]))
    rows = Journal(path).read()
    for writer in "ab":
        assert [row["number"] for row in rows if row["writer"] == writer] == list(range(40))


def test_a_silent_progress_takes_what_a_stage_tells(capsys):
    progress: Progress = silent
    progress(3, 10, "pages", "a note")
    progress(10, 10, "pages")
    assert capsys.readouterr() == ("", "")
