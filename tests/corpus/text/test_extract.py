"""From HTML to running text."""

from __future__ import annotations

import time

import pytest

from shikomi.corpus.text.extract import comparable, running_text, title_of
from tests.corpus.pages import html_page, japanese_text

TEXT = japanese_text(9)
NAVIGATION = '<ul><li><a href="/a">会社の歩み</a></li><li><a href="/b">製品の一覧</a></li></ul>'
FOOTER = "<footer><p>お問い合わせ | サイトマップ</p><p>Copyright &copy; 2026 Example</p></footer>"


def test_the_article_is_kept_and_the_page_around_it_is_not():
    page = html_page(
        TEXT, title="新工場の知らせ", before=NAVIGATION + "<p>当サイトではCookieを使用します。</p>", after=FOOTER
    )
    assert running_text(page) == "新工場の知らせ\n" + TEXT


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("<code>begin</code> と <code>end</code> は対になる。", "begin と end は対になる。"),
        ("<b>あ</b>が<b>い</b>に当たる文章です。", "あがいに当たる文章です。"),
        ('<a href="/x">工場</a>、<a href="/y">店</a>で働く人です。', "工場、店で働く人です。"),
        ("<ruby>仕込<rp>(</rp><rt>しこ</rt><rp>)</rp></ruby>みの時期になりました。", "仕込みの時期になりました。"),
        ("全角　空白と&nbsp;改行しない空白 があります。", "全角 空白と 改行しない空白 があります。"),
    ],
)
def test_single_characters_between_tags_survive(inside, text):
    page = html_page(TEXT.replace("\n", "</p><p>", 1) + f"\n{inside}\n" + japanese_text(10))
    assert text in running_text(page).split("\n")


def test_a_page_cut_in_the_middle_of_a_tag_keeps_its_text_and_nothing_of_the_tag():
    page = html_page(TEXT)
    cut = page[: page.rfind("</p>") + 2]
    assert running_text(cut) == "題名のある頁\n" + TEXT


def test_a_page_about_replies_is_not_taken_for_comments():
    page = f'<html><body><div id="message-reply-handler"><p>{TEXT}</p></div></body></html>'
    assert TEXT.split("\n")[0][:20] in running_text(page)


def test_steps_can_be_switched_off():
    page = html_page(TEXT.replace("、", "，").replace("。", "．"), before=NAVIGATION, after=FOOTER)
    plain = running_text(page, trim_lines=False, punctuation=False, footer=False)
    assert "．" in plain
    assert "。" not in plain
    assert "．" not in running_text(page)


@pytest.mark.parametrize("page", ["", "<", "<html>", "no markup", "<p>" * 2000, "\x00\x01", "<a href=x>" * 500])
def test_odd_pages_have_no_running_text_and_do_no_harm(page):
    assert running_text(page) == ""


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 30_000 + TEXT,
        ("<div>" * 20_000 + TEXT + "</div>" * 20_000),
        "<a href=x>" * 30_000 + TEXT,
        "<a " * 30_000,
    ],
)
def test_pages_of_many_nested_tags_end_in_seconds(page):
    before = time.process_time()
    assert (TEXT.split("\n")[1] in running_text(page)) == (TEXT in page)
    assert time.process_time() - before < 20


def test_title():
    assert title_of("<TITLE>\n 会社 &amp; 店 </TITLE>") == "会社 & 店"
    assert title_of("<p>") == ""


def test_comparable_texts_differ_in_forms_spaces_and_case_only():
    assert comparable("ＡＢＣ　ｶﾞｽ\n1") == comparable("abc ガス 1")
    assert comparable("工場") != comparable("工房")
