"""Which lines of a page are its text."""

from __future__ import annotations

import time

import pytest

from shikomi.corpus.text.lines import BOILERPLATE, LINK, OTHER, RUNNING, Line, cut_footer, kind_of, trim

TEXT = [
    "株式会社の新しい工場は来年の春に動き始める予定です。",
    "見出しの例",
    "地元の人を百人ほど雇うと社長は話しています。",
]


def lines(*texts: str) -> list[Line]:
    """Lines; ``[text]`` is a link, ``# text`` a heading, ``> text`` preformatted."""
    found = []
    for text in texts:
        plain = text.removeprefix("# ").removeprefix("> ")
        linked = plain.startswith("[") and plain.endswith("]")
        found.append(Line(plain[1:-1] if linked else plain, linked, text.startswith("# "), text.startswith("> ")))
    return found


ROW = ["[会社の歩み]", "[製品の一覧]", "[ホームの頁]"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (Line("新しい工場は来年の春に動き始める。"), RUNNING),
        (
            Line("句点はなくてもとても長くて平仮名のある行は文章の一部であると見なされることになっているのである"),
            RUNNING,
        ),
        (
            Line("第一条 農林水産大臣ハ農林水産省令ノ定ムル所ニ依リ臘虎又ハ膃肭獣ノ猟獲ヲ禁止又ハ制限スルコトヲ得"),
            RUNNING,
        ),
        (Line("会社の歩み", linked=True), LINK),
        (Line("ホーム > 会社 > 歩み > 今"), LINK),
        (Line("Copyright (C) 2026 Example Inc. All Rights Reserved."), BOILERPLATE),
        (Line("# Copyright (C) 2026 Example Inc.", code=True), OTHER),
        (Line("当サイトではクッキーを使用しています。"), BOILERPLATE),
        (Line("このサイトでは、広告配信などのために、Cookieなどを使用します。"), BOILERPLATE),
        (Line("【 ページトップへ戻る 】"), BOILERPLATE),
        (Line("SHARE"), BOILERPLATE),
        (Line("沿革"), OTHER),
        (Line("x = 1;"), OTHER),
    ],
)
def test_kinds_of_lines(line, kind):
    assert kind_of(line) == kind


def test_running_text_and_headings_between_stay():
    assert trim(lines(*TEXT)) == TEXT


def test_what_surrounds_the_text_goes():
    before = ["会社名", "[会社の歩み]", "[ホームの頁]", "2026年4月1日", "当サイトではCookieを使用しています。"]
    after = ["この記事をシェア", "関連記事", "[会社の歩み]", "運営者", "© 2026"]
    assert trim(lines(*before, *TEXT, *after)) == TEXT


def test_the_title_and_the_heading_above_the_text_stay():
    page = lines("新工場の知らせ", "[会社の歩み]", "はじめに", *TEXT)
    assert trim(page, "新工場の知らせ - 会社") == ["新工場の知らせ", "はじめに", *TEXT]


def test_the_name_of_the_site_goes_where_the_page_has_its_own_title():
    page = lines("# 会社の読みもの", "[会社の歩み]", "# 新工場の知らせ", *TEXT)
    assert trim(page, "新工場の知らせ - 会社の読みもの") == ["新工場の知らせ", *TEXT]
    assert trim(page, "会社の読みもの") == ["会社の読みもの", "新工場の知らせ", *TEXT]


def test_headings_and_code_that_lead_up_to_the_text_stay_and_what_is_about_the_page_goes():
    page = lines("[戻る]", "# 関数の名", "> bool f(", "> int x)", "更新日時: 2026年1月1日", "# 概要", *TEXT)
    assert trim(page) == ["関数の名", "bool f(", "int x)", "概要", *TEXT]


def test_a_list_table_or_code_after_the_text_stays():
    after = ["出力", "> 42", "設立\t1998年", "運営者", "・第一の点"]
    contact = ["TEL: 03-1234-5678", "店", "名", "所", "時", "・離れた点"]
    assert trim(lines(*TEXT, *after, *contact))[3:] == ["出力", "42", "設立\t1998年", "運営者", "・第一の点"]


def test_three_links_in_a_row_inside_the_text_go_with_their_heading_and_one_stays():
    assert trim(lines(TEXT[0], "# 関連する頁", *ROW, TEXT[2])) == [TEXT[0], TEXT[2]]
    assert trim(lines(TEXT[0], ROW[0], "製品", ROW[1], ROW[2], TEXT[2])) == [TEXT[0], TEXT[2]]
    assert trim(lines(TEXT[0], ROW[0], TEXT[2])) == [TEXT[0], "会社の歩み", TEXT[2]]


def test_headings_that_are_links_stay_unless_they_are_a_row_of_their_own():
    page = [TEXT[0], "# [経緯]", "[原文]", "# [結果]", TEXT[2]]
    assert trim(lines(*page)) == [TEXT[0], "経緯", "原文", "結果", TEXT[2]]
    assert trim(lines(TEXT[0], "# [経緯]", "# [原因]", "# [結果]", TEXT[2])) == [TEXT[0], TEXT[2]]


def test_a_sentence_alone_after_a_long_row_of_links_at_the_end_goes():
    text = [f"{number}番目の段落はそれなりに長い文章でできています。" for number in range(40)]
    menu = [f"[{number}番目の頁]" for number in range(6)]
    assert trim(lines(*text, *menu, "会員になると記事が読めます。")) == text
    assert trim(lines(*text[:20], *menu, *text[20:])) == text


def test_a_sentence_about_cookies_inside_an_article_is_text():
    about = "この章ではクッキーの使用と、その歴史について説明します。"
    page = [*TEXT, TEXT[0], about, TEXT[2], *TEXT]
    assert about in trim(lines(*page))
    assert about not in trim(lines(about, *TEXT))


def test_a_page_without_running_text_has_none_or_what_is_no_link():
    assert trim(lines("[会社の歩み]", "沿革", "© 2026")) == []
    assert trim([]) == []
    facts = ["設立\t1998年4月1日", "資本金\t3,000万円", "従業員数\t120名"]
    assert trim(lines("[会社の歩み]", *facts, "© 2026")) == facts
    assert trim(lines(*ROW, *facts[:1], *ROW)) == []
    assert trim(lines(*ROW, "# 製品", "一覧\t二つ", *ROW)) == ["製品", "一覧\t二つ"]


def test_latin_sentences_are_text_on_a_page_mostly_of_such():
    sentence = "A long line that ends with a full stop is a sentence in any script, whatever the page around it."
    assert trim(lines("Home", "[News]", sentence, "Contact")) == [sentence]
    assert trim(lines(*TEXT, *TEXT, *TEXT, sentence)) == [*TEXT, *TEXT, *TEXT]


def test_numbers_that_count_up_go():
    assert trim(lines(TEXT[0], "> x = 1", "1", "2", "3", TEXT[2])) == [TEXT[0], "x = 1", TEXT[2]]
    assert trim(lines(TEXT[0], "1", "2", "7", TEXT[2])) == [TEXT[0], "1", "2", "7", TEXT[2]]


def test_very_many_rows_and_very_long_lines_take_no_time():
    menu = [Line(f"第{number}の頁", linked=number % 7 > 0) for number in range(70_000)]
    before = time.process_time()
    assert trim([*lines(*TEXT), *menu, Line("f(" * 50_000)])[:3] == TEXT
    assert time.process_time() - before < 10


def test_the_footer_is_cut_from_its_first_line_on():
    text = [f"{number}番目の段落はそれなりに長い文章でできています。" for number in range(12)]
    assert cut_footer([*text, "お問い合わせ | サイトマップ | 利用規約", "東京都千代田区"]) == text
    assert cut_footer(text) == text
    assert cut_footer([]) == []


def test_a_footer_word_in_a_heading_does_not_cut_the_text_below_it():
    page = ["会社案内の見どころ", *TEXT]
    assert cut_footer(page) == page


def test_a_footer_line_far_from_the_end_stays():
    page = ["お問い合わせ", *[f"{number}番目の段落はそれなりに長い文章でできています。" for number in range(12)]]
    assert cut_footer(page) == page
