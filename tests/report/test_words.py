"""Numbers and names as people read them."""

from __future__ import annotations

import pytest

from shikomi.recipe.corpus import RulesPage
from shikomi.report import words


@pytest.mark.parametrize(
    ("value", "ja", "en"),
    [(765, "765", "765"), (4096, "4,096", "4.1k"), (2_412_096, "241万", "2.41M"), (38_400, "3.84万", "38.4k"),
     (1.3e10, "130億", "13B"), (2.2e12, "2.2兆", "2.2T"), (99_999_999, "1億", "100M")],
)  # fmt: skip
def test_large_counts(value, ja, en):
    assert words.large(value) == ja
    assert words.short(value) == en


def test_shares_differences_and_nothing():
    assert words.percent(0.9123) == "91.2%"
    assert words.points(-0.012) == "−1.2"
    assert words.points(0.012) == "+1.2"
    assert words.points(0.0001) == "0.0"
    assert words.signed(0.011, 3) == "+0.011"
    assert (words.percent(None), words.points(None), words.number(None)) == ("–", "–", "–")
    assert words.number(1234.5) == "1,234.50"


@pytest.mark.parametrize(
    ("seconds", "ja", "en"),
    [(1.94, "1.9秒", "1.9 s"), (41.6, "42秒", "42 s"), (552, "9分12秒", "9:12"), (119.7, "2分0秒", "2:00"),
     (7384, "2時間3分", "2:03:04")],
)  # fmt: skip
def test_durations(seconds, ja, en):
    assert words.duration(seconds) == (ja, en)


def test_memory():
    assert words.megabytes(412.3) == "412 MB"
    assert words.megabytes(1120) == "1.12 GB"


def test_every_rule_of_the_corpus_has_a_name_in_both_languages():
    for rule in RulesPage.model_fields:
        for name in (rule, rule.removeprefix("min_").removeprefix("max_")):
            ja, en = words.reason(name)
            assert ja != name, name
            assert "_" not in en


def test_an_unknown_reason_keeps_its_own_name():
    assert words.reason("privacy") == ("privacy", "privacy")
    assert words.named(words.FIELDS, "capital") == ("capital", "capital")
