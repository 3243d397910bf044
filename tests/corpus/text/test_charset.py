"""Decoding: right with a right declaration, a wrong one, and none."""

from __future__ import annotations

import pytest

from shikomi.corpus.text.charset import declared, decode
from tests.corpus.pages import html_page, japanese_text

TEXT = html_page(japanese_text(5))
SCRIPTS = {"utf-8": "utf-8", "cp932": "Shift_JIS", "euc_jp": "EUC-JP", "iso2022_jp": "ISO-2022-JP"}


@pytest.mark.parametrize("codec", SCRIPTS)
@pytest.mark.parametrize("said", ["", *SCRIPTS.values(), "iso-8859-1", "nonsense", "zlib"])
def test_japanese_is_read_whatever_the_header_says(codec, said):
    header = f"text/html; charset={said}".lower() if said else "text/html"
    assert decode(TEXT.encode(codec), header) == (TEXT, codec)


@pytest.mark.parametrize("codec", ["cp932", "euc_jp"])
def test_the_page_itself_may_declare_its_charset(codec):
    page = html_page(japanese_text(6), head=f'<meta charset="{SCRIPTS[codec]}">')
    assert declared(page.encode(codec), "text/html") == [codec]
    assert decode(page.encode(codec)) == (page, codec)


def test_korean_that_is_declared_stays_korean():
    page = "<html><head><meta charset=euc-kr></head><body>대한민국의 수도는 서울입니다.</body></html>"
    assert decode(page.encode("cp949"), "") == (page, "cp949")


def test_windows_characters_in_shift_jis_are_read():
    page = html_page("①②㈱の資料です。" + japanese_text(7))
    assert decode(page.encode("cp932"), "text/html; charset=shift_jis") == (page, "cp932")


@pytest.mark.parametrize("codec", ["utf-8", "cp932", "euc_jp"])
def test_a_page_cut_in_the_middle_of_a_character_is_read_up_to_it(codec):
    data = japanese_text(8).removesuffix("。").encode(codec)
    text, found = decode(data[:-1]) or ("", "")
    assert found == codec
    assert text == japanese_text(8).removesuffix("。")[:-1]


def test_a_few_bad_bytes_lose_a_few_characters():
    data = bytearray(TEXT.encode())
    data[600] = 0xFF
    text, codec = decode(bytes(data), "text/html; charset=utf-8") or ("", "")
    assert codec == "utf-8"
    assert 0 < text.count("\ufffd") <= 3


def test_bytes_that_are_no_text_are_refused():
    assert decode(bytes(range(128, 256)) * 40) is None


def test_byte_order_marks_are_taken_off():
    assert decode(b"\xef\xbb\xbf" + "あ".encode()) == ("あ", "utf-8")
    assert decode("\ufeffあい".encode("utf-16-le")) == ("あい", "utf-16")
    assert decode(b"\xff\xfe\x00\xd8" + "あい".encode("utf-16-le") * 3) is None
