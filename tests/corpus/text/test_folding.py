"""The quick folding is the library's, for every character, pair of characters that may join, and text."""

from __future__ import annotations

import random
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.corpus.text.folding import _table, nfkc


def test_every_character_of_the_table_alone_and_next_to_any_other():
    codes = [code for code, folded in enumerate(_table().tolist()) if folded]
    assert len(codes) > 50_000
    letters = [*map(chr, codes)]
    random.Random(1).shuffle(letters)
    for text in ("".join(letters), "か".join(letters), "゛".join(letters[::9]), "A\u3000".join(letters)):
        assert nfkc(text) == unicodedata.normalize("NFKC", text)


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.one_of(st.characters(), st.sampled_from("かｶﾞ゛゙パ…ＡＢ１２（）！？㈱①가각é\u0301 　\u0000")), max_size=30)
)
def test_any_text(text):
    assert nfkc(text) == unicodedata.normalize("NFKC", text)


def test_japanese_text_takes_the_quick_way(monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(unicodedata, "normalize", None)
        folded = nfkc("「ＡＩ」は（２０２６年）、…だ！\u3000")
    assert folded == "「AI」は(2026年)、...だ! "
