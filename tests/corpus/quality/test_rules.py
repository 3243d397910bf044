"""Decisions: the first failing rule is the reason and keeps measure and threshold."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from shikomi.corpus.quality import fineweb
from shikomi.corpus.quality.measures import measure
from shikomi.corpus.quality.rules import explain, first_failure, first_failures
from shikomi.data.document import MEASURES
from shikomi.recipe.corpus import PRESETS, CorpusPage, RulesPage
from tests.corpus.pages import japanese_text

SWALLOW = CorpusPage().thresholds()


def test_a_document_that_passes_has_no_reason():
    assert first_failure(measure(japanese_text(3)), SWALLOW) is None


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        (japanese_text(3)[:399], "letters", "letters 399 < 400"),
        (japanese_text(3) + "。" + "長" * 201, "max_sentence_length", "max_sentence_length 201 > 200"),
        (japanese_text(3) + "\n" + "word " * 500, "japanese_fraction", None),
        ("\n".join(japanese_text(n, 3) for n in range(6)).replace("。", "。\n短い。"), "mean_sentence_length", None),
    ],
)
def test_the_reason_is_the_first_rule_that_fails(text, reason, detail):
    found = first_failure(measure(text), SWALLOW)
    assert found is not None
    assert found[0] == reason
    assert detail is None or found[1] == detail


def test_a_value_on_the_threshold_passes():
    assert first_failure({"letters": 400}, {"min_letters": 400}) is None
    assert first_failure({"letters": 400}, {"max_letters": 400}) is None
    assert first_failure({"ellipsis_fraction": 0.2001}, {"max_ellipsis_fraction": 0.2}) == (
        "ellipsis_fraction",
        "ellipsis_fraction 0.200 > 0.200",
    )


def test_every_threshold_names_a_measure():
    for rule in RulesPage.model_fields:
        bound, _, name = rule.partition("_")
        assert bound in ("min", "max")
        assert name in (*MEASURES, *fineweb.MEASURES)
    assert {rule for preset in PRESETS.values() for rule in preset} <= set(RulesPage.model_fields)
    of_words = {rule for rule in RulesPage.model_fields if fineweb.needed([rule])}
    assert set(PRESETS["swallow-v1"]) == set(RulesPage.model_fields) - of_words
    assert set(PRESETS["fineweb2-jpn"]) == of_words


def test_single_thresholds_replace_the_presets_and_minus_one_takes_a_rule_away():
    page = CorpusPage.model_validate({"rules": {"min_letters": 300, "max_katakana_fraction": -1}})
    assert page.thresholds()["min_letters"] == 300
    assert "max_katakana_fraction" not in page.thresholds()
    assert len(page.thresholds()) == len(SWALLOW) - 1


def test_unknown_thresholds_and_presets_are_refused():
    with pytest.raises(ValidationError, match="min_letterz"):
        CorpusPage.model_validate({"rules": {"min_letterz": 1}})
    with pytest.raises(ValidationError, match="lenient"):
        CorpusPage.model_validate({"preset": "swallow"})


def test_columns_of_measures_are_judged_as_documents_are():
    rnd = np.random.default_rng(3)
    thresholds = CorpusPage().thresholds()
    names = sorted({rule.partition("_")[2] for rule in thresholds})
    passing = measure(japanese_text(3))
    columns = {name: np.full(500, float(passing[name])) for name in names}
    for row in range(500):  # two measures of each document are anything
        for name in rnd.choice(names, 2):
            columns[name][row] = rnd.choice([0.0, 0.15, 0.2, 1.0, 100.0, 400.0])
    places = first_failures(columns, thresholds)
    rules = list(thresholds)
    for row, place in enumerate(places.tolist()):
        measures = {name: float(column[row]) for name, column in columns.items()}
        told = first_failure(measures, thresholds)
        assert told == (
            None
            if place < 0
            else explain(rules[place], measures[rules[place].partition("_")[2]], thresholds[rules[place]])
        )
    assert len(set(places.tolist())) > 5
