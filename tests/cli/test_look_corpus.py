"""``shikomi look corpus|drops|duplicates|hosts`` on a corpus that was really built."""

from __future__ import annotations

import pytest

from shikomi.cli.look_verb import look_into
from shikomi.corpus.pipeline import build_corpus
from shikomi.errors import DataError
from shikomi.recipe.corpus import CorpusPage
from tests.corpus.pages import Response, html_page, japanese_text, write_warc


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("見る")
    first = japanese_text(1, sentences=40)
    near = first[:200] + "さらに" + first[200:]
    mail = japanese_text(5) + "\n宛先は taro@example.jp です。"
    pages = [
        Response("https://first.test/", html_page(first).encode()),
        Response("https://near.test/", html_page(near).encode()),
        Response("https://same.test/", html_page(first).encode()),
        Response("https://mail.test/", html_page(mail).encode()),
        Response("https://short.test/", html_page(japanese_text(2, sentences=5)).encode()),
    ]
    build_corpus(CorpusPage(), [write_warc(folder / "a.warc.gz", pages)], folder / "corpus")
    return folder / "corpus"


def test_the_funnel_tells_what_was_masked(corpus):
    found, text = look_into(corpus, "corpus", 1)
    assert (found["read"], found["kept"]) == (5, 2)
    assert "personal data masked in kept pages: mail 1" in text


def test_drops_show_each_reason_with_the_measure_that_decided(corpus):
    found, text = look_into(corpus, "drops", 3)
    assert {row["reason"]: row["documents"] for row in found["reasons"]} == {
        "exact_copy": 1, "near_copy": 1, "letters": 1
    }  # fmt: skip
    assert sum(row["share"] for row in found["reasons"]) == pytest.approx(3 / 5)
    assert "< 400" in text
    assert "https://short.test/" in text


def test_duplicates_stand_side_by_side_at_their_first_difference(corpus):
    found, text = look_into(corpus, "duplicates", 5)
    assert (found["clusters"], found["copies"]) == (1, 2)
    (cluster,) = found["shown"]
    assert cluster["size"] == 3
    kinds = {one["url"]: one["kind"] for one in cluster["documents"]}
    assert kinds == {"https://first.test/": "original", "https://near.test/": "near", "https://same.test/": "exact"}
    (near,) = [one for one in cluster["documents"] if one["kind"] == "near"]
    assert "さらに" in near["differs"]["here"]
    assert "さらに" not in near["differs"]["there"]
    assert "here  …" in text
    assert look_into(corpus, "duplicates", 0)[0]["shown"] == []


def test_hosts_show_what_was_kept_of_each(corpus):
    found, text = look_into(corpus, "hosts", 3)
    assert {row["host"]: row["kept"] for row in found["hosts"]} == {
        "first.test": 1, "mail.test": 1, "near.test": 0, "same.test": 0, "short.test": 0
    }  # fmt: skip
    assert "5 of 5 hosts" in text
    assert "2026" in text


def test_a_corpus_without_a_search_says_so(corpus, tmp_path):
    page = CorpusPage.model_validate({"copies": {"exact": False, "near": False}})
    warc = write_warc(tmp_path / "b.warc.gz", [Response("https://a.test/", html_page(japanese_text(7)).encode())])
    build_corpus(page, [warc], tmp_path / "out")
    with pytest.raises(DataError, match="without a search for copies") as caught:
        look_into(tmp_path / "out", "duplicates", 3)
    assert "corpus.copies.near" in caught.value.hint
    with pytest.raises(DataError, match="no finished corpus"):
        look_into(tmp_path, "drops", 3)
