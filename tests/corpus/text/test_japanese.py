"""The quick test on bytes, the exact one on text, and punctuation."""

from __future__ import annotations

import pytest

from shikomi.corpus.text.japanese import is_japanese, may_be_japanese, normalise_punctuation
from tests.corpus.pages import html_page, japanese_text

ENGLISH = html_page("The quick brown fox jumps over the lazy dog. " * 40, title="Fox")
CHINESE = html_page("本公司成立于一九九八年，总部位于上海，主要从事工业产品的研发与销售。" * 20, title="公司")
KOREAN = html_page("우리 회사는 서울에 본사를 두고 있으며 여러 제품을 생산합니다. " * 20, title="회사")


@pytest.mark.parametrize("codec", ["utf-8", "cp932", "euc_jp", "iso2022_jp", "utf-16"])
def test_japanese_bytes_pass_the_quick_test_without_any_declaration(codec):
    assert may_be_japanese(html_page(japanese_text(1)).encode(codec))


@pytest.mark.parametrize(
    "page",
    [
        b'<html lang="ja"><p>hi',
        b"<html lang=ja-JP>",
        b'<meta charset="Shift_JIS">',
        b'<meta http-equiv="Content-Type" content="text/html; charset=EUC-JP">',
        b"&#12371;&#12398;" * 30,
    ],
)
def test_a_declaration_passes_the_quick_test(page):
    assert may_be_japanese(page)


def test_the_header_passes_the_quick_test():
    assert may_be_japanese(b"<p>hi", "text/html; charset=shift_jis")
    assert not may_be_japanese(b"<p>hi", "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("page", "codec"),
    [(ENGLISH, "utf-8"), (CHINESE, "utf-8"), (CHINESE, "gb18030"), (KOREAN, "utf-8"), (KOREAN, "cp949")],
)
def test_other_languages_fail_the_quick_test(page, codec):
    assert not may_be_japanese(page.encode(codec))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (japanese_text(2), True),
        ("コンピューターとネットワークのメンテナンスをしています。" * 6, True),
        (ENGLISH, False),
        (CHINESE, False),
        (KOREAN, False),
        ("", False),
        ("これは" + "code " * 500 + "あいうえお" * 6, False),
    ],
)
def test_text_is_japanese_by_its_kana(text, expected):
    decision, detail = is_japanese(text)
    assert decision is expected
    assert detail


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("今日は，晴れです．明日は，雨です．", "今日は、晴れです。明日は、雨です。"),
        ("今日は、晴れです。明日は，雨です．", "今日は、晴れです。明日は，雨です．"),
        ("値は，１，０００円で３．５倍です．", "値は、１，０００円で３．５倍です。"),
        ("今日は，晴れです。明日は，雨です。", "今日は、晴れです。明日は、雨です。"),
        ("Western, only.", "Western, only."),
    ],
)
def test_western_marks_change_only_where_they_are_the_majority(before, after):
    assert normalise_punctuation(before) == after
