"""Copies: signatures estimate similarity, planted copies are found, others stay, the first stays."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from shikomi.corpus.copies.found import load_found
from shikomi.corpus.copies.minhash import shingles, signature
from shikomi.corpus.copies.search import search_copies
from shikomi.corpus.copies.signatures import SignTask, sign_shard
from shikomi.recipe.copies import CopiesPage
from tests.corpus.pages import japanese_text

PAGE = CopiesPage()


def jaccard(one: str, other: str) -> float:
    a, b = ({text[i : i + 5] for i in range(len(text) - 4)} for text in (one, other))
    return len(a & b) / len(a | b)


def changed(text: str, rate: float, rnd: random.Random) -> str:
    return "".join(rnd.choice(text) if rnd.random() < rate else character for character in text)


@dataclass
class Copies:
    """What was found among some texts: the index of the text each repeats or its own, how similar, whether equal."""

    original: np.ndarray
    similarity: np.ndarray
    exact: np.ndarray

    @property
    def is_copy(self) -> np.ndarray:
        return self.original != np.arange(len(self.original))


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Copies]:
    """Searches texts of no date, whose ids are their numbers: the first of equals stays."""

    def run(texts: list[str], page: CopiesPage = PAGE) -> Copies:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        columns = {name: [""] * len(texts) for name in ("url", "host", "date")}
        pages = pa.table({"id": [f"{number:016x}" for number in range(len(texts))], "text": texts, **columns})
        parquet.write_table(pages, folder / "pages.parquet")
        parquet.write_table(pa.table({"verdict": ["kept"] * len(texts)}), folder / "decided.parquet")
        task = SignTask(folder / "pages.parquet", folder / "decided.parquet", folder / "signed.parquet", page)
        assert sign_shard(task) == len(texts)
        found = load_found(search_copies([task.signed], page, folder / "out")[0])
        return Copies(found.original.astype(np.int64), found.similarity, found.exact)

    return run


def test_signatures_estimate_the_jaccard_similarity_without_bias():
    rnd = random.Random(1)
    errors = []
    for seed in range(80):
        text = japanese_text(seed, sentences=rnd.randint(8, 60))
        other = changed(text, rnd.choice([0.005, 0.01, 0.03, 0.08]), rnd)
        estimate = (signature(text, 800) == signature(other, 800)).mean()
        errors.append(estimate - jaccard(text, other))
    # One estimate from 800 slots is at most 0.0177 off by its standard deviation; their mean by a ninth of that.
    assert abs(np.mean(errors)) < 0.006
    assert np.std(errors) < 0.0177


@pytest.mark.parametrize("text", ["", "あ", "短い", "五字の文章", "あ" * 3000])
def test_texts_of_few_shingles_have_full_signatures(text):
    values = signature(text, 800)
    assert values.shape == (800,)
    assert np.array_equal(values, signature(text, 800))
    assert len(np.unique(values)) > 700  # each slot has a value of its own, not a default


def test_shingles_are_five_characters_long():
    assert len(shingles("あいうえおか")) == 2
    assert shingles("あいうえおか")[1] == shingles("いうえおか")[0]


def test_planted_copies_go_and_less_similar_pairs_stay(search):
    rnd = random.Random(2)
    texts, near, far = [], [], []
    for seed in range(150):
        text = japanese_text(1000 + seed, sentences=20)
        other = changed(text, rnd.choice([0.002, 0.006, 0.03, 0.05, 0.08]), rnd)
        similarity = jaccard(text, other)
        (near if similarity >= 0.9 else far if similarity <= 0.8 else []).append(len(texts) + 1)
        texts += [text, other]
    copies = search(texts)
    assert len(near) > 40
    assert len(far) > 40
    assert sum(copies.is_copy[near]) >= 0.98 * len(near)
    assert not copies.is_copy[far].any()
    assert not copies.is_copy[::2].any()
    for number in near:
        if copies.is_copy[number]:
            assert copies.original[number] == number - 1
            assert copies.exact[number] == (texts[number - 1] == texts[number])
            assert copies.similarity[number] == pytest.approx(jaccard(texts[number - 1], texts[number]), abs=0.06)


def test_every_exact_copy_goes_and_the_first_stays(search):
    texts = [japanese_text(seed % 7) for seed in range(30)]
    copies = search(texts)
    assert copies.original.tolist() == [seed % 7 for seed in range(30)]
    assert copies.exact.tolist() == [seed >= 7 for seed in range(30)]


def test_a_document_that_is_only_like_a_dropped_one_stays(search):
    rnd = random.Random(5)
    text = japanese_text(5, sentences=40)
    chain = [text]
    while jaccard(text, chain[-1]) > 0.75:
        chain.append(changed(chain[-1], 0.008, rnd))
    copies = search(chain)
    staying = np.flatnonzero(~copies.is_copy)
    assert staying[0] == 0
    assert len(staying) >= 2
    for number in np.flatnonzero(copies.is_copy):
        assert jaccard(chain[copies.original[number]], chain[number]) > 0.8


def test_an_exact_copy_of_a_near_copy_points_to_what_stays(search):
    text = japanese_text(6, sentences=40)
    other = changed(text, 0.003, random.Random(6))
    copies = search([text, other, other])
    assert copies.original.tolist() == [0, 0, 0]
    assert copies.exact.tolist() == [False, False, True]
    assert copies.similarity[2] == copies.similarity[1] < 1


def test_either_search_can_be_left_out(search):
    near = changed(japanese_text(3, sentences=40), 0.002, random.Random(3))
    texts = [japanese_text(1), japanese_text(1), japanese_text(3, sentences=40), near]
    assert search(texts).is_copy.tolist() == [False, True, False, True]
    assert search(texts, CopiesPage(near=False)).is_copy.tolist() == [False, True, False, False]
    without = search(texts, CopiesPage(exact=False))
    assert without.is_copy.tolist() == [False, True, False, True]
    assert not without.exact.any()
