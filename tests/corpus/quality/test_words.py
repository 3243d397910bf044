"""NG words: found as the definition says, whatever the words; counted, read, refused."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shikomi.corpus.quality.measures import measure
from shikomi.corpus.quality.words import NgWords, own_words, read_words, why_dropped
from shikomi.errors import DataError
from shikomi.recipe.words import WordsPage

_FEW = st.text("あいうx\n𠮷\ud800", min_size=1, max_size=5)


def longest_from_left(words: set[str], text: str) -> list[tuple[int, int]]:
    """The definition, slowly: at each character the longest word that starts there, then on after it."""
    found, at = [], 0
    while at < len(text):
        length = max((len(word) for word in words if text.startswith(word, at)), default=0)
        if length:
            found.append((at, length))
        at += length or 1
    return found


@settings(max_examples=200, deadline=None)
@given(st.sets(_FEW, min_size=1, max_size=8), st.text("あいうx\n𠮷\ud800", max_size=30))
def test_matches_are_those_of_the_definition(words, text):
    assert list(NgWords(words).matches(text)) == longest_from_left(words, text)


@pytest.mark.parametrize(
    ("words", "text"),
    [(["bab", "aab", "a", "aba"], "ba"), (["b", "ccc", "bbcb", "cbb", "cbcba"], "axxbacb")],
)
def test_words_that_a_plain_longest_search_passes_over_are_found(words, text):
    assert list(NgWords(words).matches(text)) == longest_from_left(set(words), text)


def test_the_fraction_is_of_japanese_letters():
    words = NgWords(["スパム", "スパムメール", "spam"])
    text = "スパムメールとspamは別。ABC"
    measures = words.measure(text, measure(text)["japanese_letters"])
    # スパムメール covers six characters and spam four; ス パ ム メ ル と は 別 。 are Japanese letters, ー is none.
    assert measures["ng_letters"] == 10
    assert measures["ng_fraction"] == pytest.approx(10 / 9)
    assert words.measure("ABC", 0) == {"ng_letters": 0, "ng_fraction": 0.0}


def test_a_document_on_the_threshold_is_dropped():
    page = WordsPage(max_fraction=0.05)
    assert why_dropped(0.0499, page) is None
    assert why_dropped(0.05, page) == ("ng_fraction", "ng_fraction 0.050 >= 0.050")


def test_work_grows_with_the_text_and_not_with_the_list():
    """Counted in steps, not seconds: every character is seen once, whatever the number of words."""

    class Counted(str):
        steps = 0

        def __getitem__(self, index):
            Counted.steps += 1
            return super().__getitem__(index)

    words = NgWords(f"語{number}" for number in range(5000))
    text = Counted("まったく普通の文章です。語4999" * 300)
    assert len(list(words.matches(text))) == 300
    assert Counted.steps == 0, "no slicing of the rest of the text, which made the original quadratic"


def test_lists_are_read_with_comments_blank_lines_and_marks(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeff# 注釈\r\n悪語\r\n\r\n 罵声 \n悪語".encode())
    assert read_words(WordsPage(own_list=False), [path]).words == ("悪語", "罵声")
    assert read_words(WordsPage(), []).words == tuple(sorted(set(own_words())))
    assert read_words(WordsPage(own_list=False), []).measure("何でもよい", 5)["ng_letters"] == 0


@pytest.mark.parametrize(
    ("content", "line"), [(b"\xe6\x82\xaa\n\x88\xab\n", ":2"), (b"# \xe6\x82\xaa\n\n", ""), (None, "")]
)
def test_a_list_that_is_none_is_told_in_three_lines(tmp_path, content, line):
    path = tmp_path / "words.txt"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_words(WordsPage(), [path])
    assert caught.value.where == f"{path}{line}"
    assert caught.value.hint


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot read word list"):
        read_words(WordsPage(), [tmp_path / "none.txt"])


def test_words_travel_to_workers():
    words = NgWords(["悪語"])
    list(words.matches("悪語"))
    assert list(pickle.loads(pickle.dumps(words)).matches("この悪語")) == [(2, 2)]


def test_the_own_list_leaves_ordinary_business_alone():
    words = NgWords(own_words())
    ordinary = (
        "当社は金融機関向けのシステムを開発しています。融資の審査、出会いの場としての展示会、薬の販売も扱います。"
    )
    assert not list(words.matches(ordinary))
    spam = "無料エロ動画を配信中。出会い系サイトの一覧とオンラインカジノの入金不要ボーナス。"
    assert words.measure(spam, len(spam))["ng_fraction"] > 0.5


@pytest.mark.parametrize("value", [0.0, 1.1])
def test_a_threshold_outside_its_range_is_refused(value):
    with pytest.raises(ValidationError):
        WordsPage(max_fraction=value)
