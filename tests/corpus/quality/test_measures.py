"""Measures against a slow reference written from their definitions, one character at a time."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.corpus.quality.measures import class_counts, code_points, measure
from shikomi.data.document import MEASURES
from tests.corpus.pages import japanese_text

STOPS = "。．！？!?"


def slow_sentences(line: str) -> list[str]:
    sentences, current = [], ""
    for character in line:
        if character in STOPS:
            if current:
                sentences.append(current + character)
            current = ""
        else:
            current += character
    return [*sentences, current] if current else sentences


def slow_measure(text: str) -> dict[str, float]:
    """The measures, straight from their definitions."""

    def share(part: float, whole: float) -> float:
        return part / whole if whole else 0.0

    def repeated(parts: list[str]) -> tuple[int, int]:
        seen: set[str] = set()
        again = [part for part in parts if part in seen or seen.add(part)]
        return len(again), sum(map(len, again))

    hiragana = sum("\u3041" <= c <= "\u3096" for c in text)
    katakana = sum("\u30a1" <= c <= "\u30fa" for c in text)
    kanji = sum(c in "々〇〻" or "\u3400" <= c <= "\u9fff" or "\uf900" <= c <= "\ufaff" for c in text)
    kuten, toten = sum(c in "。．！？" for c in text), sum(c in "、，" for c in text)
    japanese = hiragana + katakana + kanji + kuten + toten
    lines = [slow_sentences(line) for line in text.split("\n")]
    sentences = [sentence for line in lines for sentence in line]
    paragraphs = ["".join(line) for line in lines]
    characters = sum(map(len, sentences))
    same_lines, same_sentences = repeated(paragraphs), repeated(sentences)
    values = {
        "letters": len(text),
        "hiragana_letters": hiragana,
        "katakana_letters": katakana,
        "kanji_letters": kanji,
        "kuten": kuten,
        "toten": toten,
        "japanese_letters": japanese,
        "hiragana_fraction": share(hiragana, japanese),
        "katakana_fraction": share(katakana, japanese),
        "japanese_fraction": share(japanese, len(text)),
        "sentences": len(sentences),
        "max_sentence_length": max(map(len, sentences), default=0),
        "mean_sentence_length": share(characters, len(sentences)),
        "ellipsis_fraction": share(sum(s.strip().endswith(("・", "…")) for s in sentences), len(sentences)),
        "duplicate_paragraph_fraction": share(same_lines[0], len(paragraphs)),
        "duplicate_paragraph_characters_fraction": share(same_lines[1], characters),
        "duplicate_sentence_fraction": share(same_sentences[0], len(sentences)),
        "duplicate_sentence_characters_fraction": share(same_sentences[1], characters),
    }
    for n in range(2, 11):
        counts = Counter(text[i : i + n] for i in range(len(text) - n + 1))
        if n <= 4:
            values[f"top_{n}gram_fraction"] = share(max(counts.values(), default=0), sum(counts.values()))
        else:
            values[f"duplicate_{n}gram_fraction"] = share(sum(f > 1 for f in counts.values()), len(counts))
    return values


def assert_same(text: str) -> None:
    found, expected = measure(text), slow_measure(text)
    assert found.keys() == set(MEASURES)
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("あいのアー日本語々。．！？!?、，・…\n\n a1　\x1c\u2028\uf900𠮷"), max_size=120))
def test_measures_agree_with_the_slow_reference_on_marks_and_repeats(text):
    assert_same(text)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_measures_agree_with_the_slow_reference_on_any_text(text):
    assert_same(text)


@pytest.mark.parametrize("text", ["", "\n", "。", "。。。\n。", "あ", "…", "あ" * 30, "\ud800" * 12])
def test_measures_agree_with_the_slow_reference_at_the_edges(text):
    assert_same(text)


def test_measures_agree_with_the_slow_reference_on_longer_text():
    text = japanese_text(1, sentences=60)
    assert_same(text)
    assert_same(text + "\n" + text[:700] + text[:200] * 3)


@pytest.mark.parametrize("alphabet", [2, 12, 200, 3_000, 70_000])
def test_measures_agree_with_the_slow_reference_whatever_the_alphabet(alphabet):
    rnd = random.Random(alphabet)
    text = "".join(chr(0x3000 + rnd.randrange(alphabet)) for _ in range(3_000))
    assert_same(text + text[100:700] + text[:9] + text[2_000:2_400])


def test_kanji_beyond_the_basic_plane_are_no_japanese_letters():
    assert measure("𠮷野家")["kanji_letters"] == 2


def test_long_vowel_mark_is_counted_apart_from_katakana():
    counts = class_counts(code_points("サーバー"))
    assert counts.tolist() == [0, 0, 2, 0, 0, 0, 2, 0]
