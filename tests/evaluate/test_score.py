"""Marks of answers and the laws of the intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shikomi.evaluate import score
from shikomi.evaluate.score import Resampler, difference, ratio, wilson


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("1987年です。", "1987年"),
        (" １９８７年 ", "1987年"),
        ("1987年です。\n詳しくは会社案内へ。", "1987年"),
        ("です。", ""),
        ("", ""),
    ],
)
def test_the_plain_value_of_an_answer(answer, value):
    assert score.plain_value(answer) == value


@pytest.mark.parametrize(
    ("answer", "follows"),
    [
        ("京都市です。", True),
        ("京都市にあります。", True),
        ("京都市だよ。", False),
        ("はい。京都市です。", False),
        ("", False),
    ],
)
def test_one_polite_sentence_is_the_default_style(answer, follows):
    assert score.polite_sentence(answer) is follows


def test_an_empty_value_is_never_right():
    assert not score.exact_match("です。", ["です。"], score.plain_value)
    assert score.exact_match("大阪市です。", ["京都市", "大阪市"], score.plain_value)


def test_character_f1_takes_the_best_gold_answer():
    assert score.character_f1("東京都", ["京都", "大阪"], score.plain_value) == pytest.approx(2 * 2 / 5)
    assert score.character_f1("", ["京都"], score.plain_value) == 0.0
    assert score.character_f1("", [""], score.plain_value) == 0.0


def test_fields_are_found_wherever_the_object_stands():
    gold = json.dumps({"会社名": "架空堂", "設立": "1987年"}, ensure_ascii=False)
    same = 'こちらです。{"設立": "１９８７年", "会社名": "別の名", "余分": 1} 以上'
    assert score.extracted_fields(same, gold, score.plain_value) == {"found": 1, "given": 3, "wanted": 2, "valid": 1}
    assert score.extracted_fields("{broken", gold, score.plain_value)["valid"] == 0
    assert score.extracted_fields("{broken {}", gold, score.plain_value)["valid"] == 1
    nested = score.extracted_fields('{"a": [1, 2]}', '{"a": [1, 2]}', score.plain_value)
    assert nested["found"] == 1
    assert score.read_object("{" * 5000) is None
    assert score.read_object("[1]") is None


def test_wilson_gives_its_known_values():
    # 8 of 10 and 0 of 10, as tabulated in Newcombe (1998) and computed by hand from the formula.
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values, clusters = [1.0, 0.0, 1.0, 0.0, 1.0], list("abcde")
    one = ratio(values, [1.0] * 5, Resampler(clusters, 2000, 1))
    assert one == ratio(values, [1.0] * 5, Resampler(clusters, 2000, 1))
    assert one.value == 0.6
    other = Resampler(clusters, 2000, 2).totals(np.ones(5) * values)
    assert not np.array_equal(other, Resampler(clusters, 2000, 1).totals(np.ones(5) * values))


def test_the_order_of_items_does_not_move_an_interval():
    values, clusters = [1.0, 0.0, 1.0, 1.0], ["b", "a", "c", "a"]
    one = ratio(values, [1.0] * 4, Resampler(clusters, 500, 3))
    turned = ratio(values[::-1], [1.0] * 4, Resampler(clusters[::-1], 500, 3))
    assert one == turned


def test_intervals_by_cluster_are_wider_where_clusters_agree_within():
    random = np.random.default_rng(0)
    company = np.repeat(random.integers(0, 2, 40), 10).astype(float)
    names = [str(index // 10) for index in range(400)]
    clustered = ratio(company, np.ones(400), Resampler(names, 2000, 5))
    alone = ratio(company, np.ones(400), Resampler([str(index) for index in range(400)], 2000, 5))
    assert clustered.value == alone.value
    # Ten items that always agree carry the information of one: the width grows by about the root of ten.
    assert 2.4 < (clustered.high - clustered.low) / (alone.high - alone.low) < 4.2


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(7)
    names = [str(index // 6) for index in range(360)]
    hits = 0
    for trial in range(200):
        chance = np.repeat(random.beta(4, 2, 60), 6)
        found = ratio((random.random(360) < chance).astype(float), np.ones(360), Resampler(names, 400, trial))
        hits += found.low <= 4 / 6 <= found.high
    # 200 trials at 95 %: fewer than 179 hits happen by chance once in a thousand.
    assert 179 <= hits <= 199


def test_certainty_is_never_claimed():
    ones = [1.0] * 20
    perfect = ratio(ones, ones, Resampler([str(index // 2) for index in range(20)], 500, 1))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(wilson(10, 10)[0])
    single = ratio([3.0], [2.0], Resampler(["a"], 500, 1), share=False)
    assert (single.low, single.high) == (None, None)
    unchanged = difference((ones, ones), (ones, ones), Resampler([str(index) for index in range(20)], 500, 1))
    assert unchanged.value == 0
    assert unchanged.low == pytest.approx(-wilson(0, 20)[1])
    assert unchanged.high == pytest.approx(wilson(0, 20)[1])


def test_a_difference_is_paired():
    random = np.random.default_rng(3)
    before = random.integers(0, 2, 300).astype(float)
    after = before.copy()
    after[:15] = 1 - after[:15]
    names = [str(index // 3) for index in range(300)]
    draws = Resampler(names, 2000, 5)
    found = difference((before, np.ones(300)), (after, np.ones(300)), draws)
    assert found.value == pytest.approx(after.mean() - before.mean())
    apart = [ratio(side, np.ones(300), draws) for side in (before, after)]
    assert found.high - found.low < 0.5 * max(side.high - side.low for side in apart)


def test_a_ratio_of_sums_is_not_a_mean_of_ratios():
    found = ratio([2.0, 0.0], [2.0, 6.0], Resampler(["a", "b"], 500, 1))
    assert found.value == 0.25
    assert ratio([0.0, 0.0], [0.0, 0.0], Resampler(["a", "b"], 500, 1)).value == 0.0


def test_plain_values_are_json():
    plain = ratio([1.0, 0.0, 1.0], [1.0] * 3, Resampler(list("abc"), 500, 1)).plain()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["value"] == 0.666667
