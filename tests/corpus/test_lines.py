"""Which lines of a page are its text."""

from __future__ import annotations

import pytest

from shikomi.corpus.lines import BOILERPLATE, LINK, OTHER, RUNNING, cut_footer, kind_of, trim

ANCHORS = {"ホームの頁", "会社の歩み", "製品の一覧", "en", "ja", "去年の決算 まとめ"}
TEXT = [
    "株式会社の新しい工場は来年の春に動き始める予定です。",
    "見出しの例",
    "地元の人を百人ほど雇うと社長は話しています。",
]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("新しい工場は来年の春に動き始める。", RUNNING),
        ("句点はなくてもとても長くて平仮名のある行は文章の一部であると見なされることになっているのである", RUNNING),
        ("会社の歩み", LINK),
        ("ホームの頁 | 会社の歩み | 製品の一覧", LINK),
        ("ホーム > 会社 > 歩み > 今", LINK),
        ("Languages: en | ja | en | ja", LINK),
        ("去年の決算 まとめ | 会社の歩み", LINK),
        ("Copyright (C) 2026 Example Inc. All Rights Reserved.", BOILERPLATE),
        ("当サイトではクッキーを使用しています。", BOILERPLATE),
        ("【 ページトップへ戻る 】", BOILERPLATE),
        ("SHARE", BOILERPLATE),
        ("沿革", OTHER),
        ("x = 1;", OTHER),
    ],
)
def test_kinds_of_lines(line, kind):
    assert kind_of(line, ANCHORS) == kind


def test_running_text_and_headings_between_stay():
    assert trim(TEXT, ANCHORS) == TEXT


def test_what_surrounds_the_text_goes():
    before = ["会社名", "会社の歩み", "ホームの頁", "2026年4月1日", "当サイトではCookieを使用しています。"]
    after = ["この記事をシェア", "関連記事", "会社の歩み", "運営者", "© 2026"]
    assert trim([*before, *TEXT, *after], ANCHORS) == TEXT


def test_the_title_and_the_heading_above_the_text_stay():
    lines = ["新工場の知らせ", "会社の歩み", "はじめに", *TEXT]
    assert trim(lines, ANCHORS, "新工場の知らせ - 会社") == ["新工場の知らせ", "はじめに", *TEXT]


def test_a_list_or_table_right_after_the_text_stays():
    assert trim([*TEXT, "・第一の点", "設立\t1998年", "運営者", "・離れた点"], ANCHORS)[3:] == [
        "・第一の点",
        "設立\t1998年",
    ]


def test_three_links_in_a_row_inside_the_text_go_and_one_stays():
    row = ["会社の歩み", "製品の一覧", "ホームの頁"]
    assert trim([TEXT[0], *row, TEXT[2]], ANCHORS) == [TEXT[0], TEXT[2]]
    assert trim([TEXT[0], row[0], TEXT[2]], ANCHORS) == [TEXT[0], row[0], TEXT[2]]


def test_a_sentence_about_cookies_inside_an_article_is_text():
    about = "この章ではクッキーの使用と、その歴史について説明します。"
    lines = [*TEXT, TEXT[0], about, TEXT[2], *TEXT]
    assert about in trim(lines, ANCHORS)
    assert about not in trim([about, *TEXT], ANCHORS)


def test_a_page_without_running_text_has_none():
    assert trim(["会社の歩み", "沿革", "© 2026"], ANCHORS) == []
    assert trim([], ANCHORS) == []


def test_the_footer_is_cut_from_its_first_line_on():
    text = [f"{number}番目の段落はそれなりに長い文章でできています。" for number in range(12)]
    assert cut_footer([*text, "お問い合わせ | サイトマップ | 利用規約", "東京都千代田区"]) == text
    assert cut_footer(text) == text
    assert cut_footer([]) == []


def test_a_footer_word_in_a_heading_does_not_cut_the_text_below_it():
    lines = ["会社案内の見どころ", *TEXT]
    assert cut_footer(lines) == lines


def test_a_footer_line_far_from_the_end_stays():
    lines = ["お問い合わせ", *[f"{number}番目の段落はそれなりに長い文章でできています。" for number in range(12)]]
    assert cut_footer(lines) == lines
