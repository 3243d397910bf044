"""Lines of a page, outputs laid along them, labels and scores."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCH))
    try:
        yield {name: importlib.import_module(name) for name in ("alignment", "extraction", "page_lines")}
    finally:
        sys.path.remove(str(BENCH))


def test_visible_lines_end_at_blocks_cells_and_breaks_and_hide_what_is_hidden(bench):
    page = """<title>題</title><p>一<b>行</b>目<br>二行目<table><tr><td>左<td>右</table><script>x</script>
    <ruby>字<rt>じ</rt></ruby><select><option>選ぶ</select><pre>a
    b</pre>&lt;終"""
    assert bench["page_lines"].visible_lines(page) == ["一行目", "二行目", "左", "右", "字", "a", "b", "<終"]


def test_an_output_is_laid_along_the_lines_in_order(bench):
    lines = ["題名", "会社", "題名", "会社は新しい工場を建てる。", "・項目", "終わり"]
    found, strange = bench["alignment"].covered(lines, "題名\n会社は新しい工場を建てる。\n- 項目")
    assert found == [0, 0, 2, 12, 2, 0]
    assert strange == 0


def test_parts_of_a_line_and_strange_text_are_counted(bench):
    found, strange = bench["alignment"].covered(
        ["会社は新しい工場を建てるという。", "次の行"], "会社は新しい工場\nＸＹＺ\n次の 行"
    )
    assert found == [8, 3]
    assert strange == 3


def test_scores_add_up(bench):
    extraction = bench["extraction"]
    lines = ["本文の行です。", "広告の行", "著者"]
    labels = ["text", "boilerplate", "either"]
    assert extraction.score(lines, labels, "本文の行です。\n広告の行\n著者") == extraction.Score(6, 6, 4, 0, 1)
    assert extraction.f1_of([extraction.score(lines, labels, "本文の行です。\n著者")]) == 1.0
    assert extraction.f1_of([extraction.score(lines, labels, "")]) == 0.0
    assert extraction.f1_of([extraction.Score(0, 0, 0, 0, 0)]) == 1.0


def test_labels_are_complete_address_number_and_label_and_halves_share_no_host(bench):
    extraction = bench["extraction"]
    labels = extraction.read_labels(BENCH / "labels" / "extraction.tsv")
    fresh = extraction.read_labels(BENCH / "labels" / "extraction-fresh.tsv")
    assert len(labels) == 100
    assert not set(labels) & set(fresh)
    assert {label for page in (*labels.values(), *fresh.values()) for label in page} == {
        "text",
        "boilerplate",
        "either",
    }
    halves = [extraction.part_of(url, fresh) for url in labels]
    assert halves.count("development") == halves.count("held-out") == 50
    assert {extraction.part_of(url, fresh) for url in fresh} == {"fresh"}


def test_labels_out_of_order_are_refused(bench, tmp_path):
    (tmp_path / "labels.tsv").write_text("url\tlines\tlabel\nhttp://a/\t1-3\ttext\nhttp://a/\t5\ttext\n")
    with pytest.raises(bench["extraction"].driver.BenchError, match="not in order at 5"):
        bench["extraction"].read_labels(tmp_path / "labels.tsv")
