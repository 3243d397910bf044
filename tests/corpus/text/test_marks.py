"""Links, headings and code of a page, line by line."""

from __future__ import annotations

import pytest

from shikomi.corpus.text.extract import extract_lines
from shikomi.corpus.text.lines import Line
from shikomi.corpus.text.marks import mark, read
from tests.corpus.pages import html_page, japanese_text

TEXT = japanese_text(6)


def inside(markup: str) -> list[Line]:
    """The lines that a piece of markup makes in the midst of a page."""
    page = html_page(TEXT).replace("</p>", f"</p>{markup}<p>この先も文章が続いていくのである。</p>", 1)
    found = [line for line in extract_lines(page) if line.text not in TEXT.split("\n")]
    return [line for line in found if not line.text.startswith(("題名", "この先"))]


@pytest.mark.parametrize(
    ("markup", "lines"),
    [
        ("<p><a href=/a>会社の<b>歩み</b></a></p>", [Line("会社の歩み", linked=True)]),
        ("<p><A CLASS=x HREF='/a'>会社の歩み</A></p>", [Line("会社の歩み", linked=True)]),
        ("<p><a name=here>会社の歩み</a></p>", [Line("会社の歩み")]),
        ("<p><a href=/a>頁一</a> | <a href=/b>頁二</a> | 頁三</p>", [Line("頁一 | 頁二 | 頁三", linked=True)]),
        ("<p>2026/04/01 <a href=/a>新しい知らせ</a> (3)</p>", [Line("2026/04/01 新しい知らせ (3)", linked=True)]),
        ("<p>ことば: <a href=/a>en</a> | <a href=/b>ja</a></p>", [Line("ことば: en | ja", linked=True)]),
        ("<p><a href=/a>GCC</a>: 4.7.0 まで</p>", [Line("GCC: 4.7.0 まで")]),
        ("<p>詳しくは<a href=/a>会社の歩み</a>を見ること。</p>", [Line("詳しくは会社の歩みを見ること。")]),
        ("<h2><a href=#x>第一章の題</a></h2>", [Line("第一章の題", linked=True, heading=True)]),
        ("<h2><a href=#x>#</a> 第一章の題</h2>", [Line("第一章の題", heading=True)]),
        ("<h2>第一章の題<a href=#x>¶</a></h2>", [Line("第一章の題", heading=True)]),
        ("<h3>第一章の題</h3>", [Line("第一章の題", heading=True)]),
        (
            "<pre><b>int</b> main()\n<a href=/f>f()</a>\n</pre><p>項目</p>",
            [Line("int main()", code=True), Line("f()", code=True), Line("項目")],
        ),
        (
            "<a href=/a><div>一枚の札の題名</div><div>二行目の文句</div></a><div>札の外</div>",
            [Line("一枚の札の題名", linked=True), Line("二行目の文句", linked=True), Line("札の外")],
        ),
        (
            "<ul><li>初めに<a href=/a>長い名前の頁を</a>読む。</li><li>次へ進む。</li></ul>",
            [Line("・初めに長い名前の頁を読む。"), Line("・次へ進む。")],
        ),
        ("<ul class=global-nav><li><a href=/a>頁一</a></li><li>頁二</li></ul>", []),
    ],
)
def test_lines_say_where_links_headings_and_code_are(markup, lines):
    assert inside(markup) == lines


def test_a_link_that_is_never_closed_is_none():
    page = html_page("<br>".join(["<a href=/a>始まり", *[f"第{number}の行" for number in range(9)]]))
    found = [line.linked for line in extract_lines(page) if line.text.startswith("第")]
    assert len(found) == 9
    assert not any(found)


def test_marks_leave_no_trace():
    page = html_page(TEXT, before="<h1><a href=/>題</a></h1><ul><li>項</li></ul><pre>x</pre>")
    texts = [line.text for line in extract_lines(page)]
    assert not set("".join(texts)) & set("\u2060\u2062\u2063\u2064\u206a\u206b")


def test_odd_marks_do_no_harm():
    assert mark("") == ""
    assert mark("<a <a href=x <ul <pre <h1") == "<a <a href=x <ul <pre <h1"
    assert read(["\u2063\u2063", "", "\u206b一\u2062"]) == [Line("一")]
