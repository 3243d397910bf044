"""Signatures: the same however they are made, without bias for texts of every length, and spread over all slots."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from shikomi.corpus.copies import minhash
from shikomi.corpus.copies.clusters import agreement
from shikomi.corpus.copies.minhash import band_keys, comparable_points, exact_key, shingles, signature
from shikomi.corpus.text.extract import comparable
from tests.corpus.copies.test_search import changed, jaccard
from tests.corpus.pages import japanese_text


@pytest.mark.parametrize("sentences", [2, 8, 30, 250])
def test_how_many_rounds_are_made_at_once_changes_nothing(monkeypatch, sentences):
    text = japanese_text(1, sentences=sentences)
    expected = signature(text, 800)
    for factor in (1e-9, 0.3, 3):
        monkeypatch.setattr(minhash.math, "log", lambda value, factor=factor: factor * math.log2(value))
        assert np.array_equal(signature(text, 800), expected)


@pytest.mark.parametrize(("sentences", "pairs"), [(5, 200), (40, 80), (150, 25)])
def test_estimates_have_no_bias_whatever_the_length(sentences, pairs):
    rnd = random.Random(sentences)
    errors, variances = [], []
    for seed in range(pairs):
        text = japanese_text(seed, sentences=sentences)
        other = changed(text, rnd.choice([0.005, 0.01, 0.03, 0.1]), rnd)
        exact = jaccard(text, other)
        low = [signature(each, 800).astype(np.uint8)[None] for each in (text, other)]
        errors.append(agreement(*low)[0] - exact)
        variances.append((exact * (1 - exact) + 1 / 256) / 800)
    spread = math.sqrt(sum(variances) / pairs)
    assert abs(np.mean(errors)) < 3.5 * spread / math.sqrt(pairs)
    assert np.std(errors) < 1.3 * spread


def test_bands_meet_as_often_as_their_formula_says():
    rnd = random.Random(2)
    met, expected = 0, 0.0
    for seed in range(200):
        text = japanese_text(seed, sentences=8)
        other = changed(text, rnd.choice([0.01, 0.02, 0.03]), rnd)
        met += (band_keys(signature(text, 800), 40) == band_keys(signature(other, 800), 40)).any()
        expected += 1 - (1 - jaccard(text, other) ** 20) ** 40
    # The standard deviation of the sum is at most sqrt(200)/2, under 7.1.
    assert abs(met - expected) < 22


def test_order_and_repetition_of_shingles_do_not_count():
    text = japanese_text(3, sentences=20)
    # Every 5-gram of the text, and 5-grams of the seam alone, stand in the text written twice.
    twice = signature(text + text, 800)
    assert (twice == signature(text, 800)).mean() > 1 - 2 * 4 / len(set(shingles(text).tolist())) - 0.02
    assert set(shingles(text).tolist()) < set(shingles(text + text).tolist())


def test_unlike_texts_share_slots_by_chance_only():
    one, other = (signature("".join(map(chr, range(start, start + 3000))), 800) for start in (0x3400, 0x5000))
    assert (one == other).mean() == 0
    assert abs(agreement(one.astype(np.uint8)[None], other.astype(np.uint8)[None])[0]) < 0.01


def test_values_are_spread_evenly():
    counts = np.zeros(256)
    rnd = random.Random(6)
    for _ in range(40):
        text = "".join(map(chr, rnd.choices(range(0x3041, 0x9FFF), k=2000)))
        counts += np.bincount(signature(text, 800) & 255, minlength=256)
    # Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6.
    assert ((counts - 125) ** 2 / 125).sum() < 255 + 5 * 22.6


def test_texts_are_compared_without_case_width_and_white_space():
    same = [
        ("Ａｂｃ　日本\n語", "abc日本語"),
        ("ﾃﾚﾋﾞ", "テレビ"),
        ("か\u3099ある", "がある"),
        ("①（株）Ünï", "1(株)ünï"),
        (" \u3000\t\n", ""),
        ("𠮷 野家", "𠮷野家"),
        ("待って…10㎡", "待って…10㎡"),
        ("Straße", "straße"),
        ("x\ud800y", "x\ud800y"),
    ]
    for text, plain in same:
        assert "".join(map(chr, comparable_points(text))) == plain
        assert exact_key(comparable_points(text)) == exact_key(comparable_points(plain))
    assert len({exact_key(comparable_points(text)) for text, _ in same}) == len(same)
    text = japanese_text(1)
    points = comparable_points(text)
    assert "".join(map(chr, points)) == comparable(text)
    assert np.array_equal(signature(points, 100), signature(comparable(text), 100))


def test_short_texts_are_told_apart():
    texts = ["", "あ", "い", "あい", "いあ", "ああ", "あああ", "ああああ", "あああああ"]
    assert len({signature(text, 100).tobytes() for text in texts}) == len(texts)
