"""FineWeb2's measures: words as split, counts as the filters define them, checked against slow definitions."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.corpus.quality.fineweb import MEASURES, STOP_WORDS, measure, needed, words
from shikomi.corpus.quality.rules import first_failure
from shikomi.data.document import MEASURES as OTHER_MEASURES
from shikomi.recipe.presets import PRESETS, RulesPage
from tests.corpus.pages import japanese_text


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("私は東京で半導体を売ります。", "私|は|東京|で|半導|体|を|売り|ます|。"),
        ("新しい製品について説明した", "新しい|製品|に|つい|て|説明|し|た"),
        ("サーバーを2台、Linuxで動かす", "サーバー|を|2|台|、|Linux|で|動|か|す"),
        ("昭和二十四年一月", "昭和|二十四|年|一|月"),
        (" \n\u3000", ""),
    ],
)
def test_words(text, split):
    assert words(text) == [word for word in split.split("|") if word]


def slow(text: str) -> dict[str, float]:
    """The filters' definitions, one list at a time."""
    found = words(text)
    values: dict[str, float] = {}
    for n in (2, 3, 4):
        grams = [" ".join(found[i : i + n]) for i in range(len(found) - n + 1)]
        top = Counter(grams).most_common(1)
        values[f"top_{n}word_fraction"] = len(top[0][0]) * top[0][1] / len(text) if top else 0.0
    for n in range(5, 11):
        seen, repeated, at = set(), 0, 0
        while at <= len(found) - n:
            gram = tuple(found[at : at + n])
            if gram in seen:
                repeated += sum(map(len, gram))
                at += n
            else:
                seen.add(gram)
                at += 1
        values[f"duplicate_{n}word_fraction"] = repeated / len(text) if text else 0.0
    return values


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["売上", "が", "増え", "。", "\n", "A", "x"]), max_size=60).map("".join))
def test_repetition_is_the_slow_definitions(text):
    measures = measure(text)
    for name, value in slow(text).items():
        assert measures[name] == pytest.approx(value), name


def test_repetition_of_running_text_with_a_passage_twice():
    text = japanese_text(1)
    text = text + "\n" + text[:200]
    measures, definition = measure(text), slow(text)
    assert {name: measures[name] for name in definition} == pytest.approx(definition)
    assert measures["duplicate_5word_fraction"] > 0.1


def test_lines():
    measures = measure("会社の製品です。\n会社の製品です。\n\n• 項目\n- 項目…\nお問い合わせ")
    assert measures["duplicate_line_fraction"] == pytest.approx(1 / 5)
    assert measures["closed_line_fraction"] == pytest.approx(3 / 5)
    assert measures["duplicate_line_characters_fraction"] == pytest.approx(8 / 31)
    assert measures["bullet_line_fraction"] == pytest.approx(2 / 6)
    assert measures["ellipsis_line_fraction"] == pytest.approx(1 / 6)


def test_vocabulary():
    text = "製品は#1です…。"
    assert words(text) == ["製品", "は", "#", "1", "です", "…", "。"]
    measures = measure(text)
    assert measures["words"] == 4, "marks alone are no words"
    assert measures["mean_word_length"] == pytest.approx(6 / 4)
    assert measures["alphabetic_word_fraction"] == pytest.approx(3 / 7)
    assert measures["hashes_per_word"] == measures["ellipses_per_word"] == pytest.approx(1 / 7)
    assert measures["stop_words"] == 1
    assert len(STOP_WORDS) == 15


def test_nothing_measures_nothing():
    assert set(measure("").values()) == {0}


def test_the_preset_keeps_running_text_and_says_what_fails():
    preset = PRESETS["fineweb2-jpn"]
    good = japanese_text(5)
    assert first_failure(measure(good), preset) is None
    menu = "\n".join(["ホーム", "会社案内", "製品", "採用", "お問い合わせ"] * 20)
    assert first_failure(measure(menu), preset) == (
        "duplicate_line_fraction", "duplicate_line_fraction 0.950 > 0.328",
    )  # fmt: skip
    table = first_failure(measure(good + "\n" + " ".join(f"{n}/{n + 1}" for n in range(4000))), preset)
    assert table is not None
    assert table[0] == "alphabetic_word_fraction"


def test_every_threshold_has_its_measure_and_its_field():
    for name, preset in PRESETS.items():
        assert set(preset) <= set(RulesPage.model_fields), name
    for rule in RulesPage.model_fields:
        assert rule.partition("_")[2] in (*MEASURES, *OTHER_MEASURES), rule
    assert needed(PRESETS["fineweb2-jpn"])
    assert not needed(PRESETS["swallow-v1"])
    assert not needed(PRESETS["lenient"])


def test_the_published_presets_are_checked_in_their_order():
    order = [name for name in RulesPage.model_fields if name in PRESETS["fineweb2-jpn"]]
    assert order == list(PRESETS["fineweb2-jpn"])
