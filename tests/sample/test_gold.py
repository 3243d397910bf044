import pytest

from shikomi.sample.gold import follows_gold_rule, normalise_answer
from shikomi.sample.styles import STYLES
from shikomi.sample.world import FIELDS


def test_every_style_of_every_value_counts_as_right(default_world):
    for company in default_world.companies:
        for field in FIELDS:
            value = company.facts[field]
            assert {normalise_answer(value + ending) for ending in STYLES.values()} == {value}


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("1987年です。", "1987年"),
        ("１９８７年だよ。", "1987年"),
        ("「ソラメイト」でございます。", "ソラメイト"),
        ("京都市ですね。詳しくは公式の案内をご覧ください。", "京都市"),
        (" 京都市\n大津市", "京都市"),
        ("", ""),
    ],
)
def test_normalised(answer, value):
    assert normalise_answer(answer) == value


def test_wrong_and_longer_answers_stay_wrong():
    assert normalise_answer("1986年です。") != "1987年"
    assert normalise_answer("ミナト精機の本社は京都市です。") != "京都市"


@pytest.mark.parametrize(
    ("answer", "follows"),
    [
        ("1987年です。", True),
        ("1987年です。\n", True),
        ("1987年だ。", False),
        ("1987年。", False),
        ("1987年です", False),
        ("1987年ですね。詳しくは公式の案内をご覧ください。", False),
        ("1987年です。よろしいですか。", False),
        ("1987年です。はい、そうです。", False),
        ("です。", False),
        ("", False),
    ],
)
def test_gold_rule(answer, follows):
    assert follows_gold_rule(answer) is follows


def test_only_the_gold_style_follows_the_rule():
    assert [name for name, ending in STYLES.items() if follows_gold_rule("京都市" + ending)] == ["gold"]
