"""The pages of a mixture: what they accept, what they refuse in three lines, and what leaves identities alone."""

from __future__ import annotations

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe.load import load
from shikomi.recipe.mixture import MixtureSource, phases, skipped
from shikomi.recipe.train import AnnealPage, OptimPage, TrainPage


def test_what_came_later_is_no_part_of_an_identity_at_its_default():
    for page in (TrainPage(), AnnealPage()):
        assert not {"mixture", "skip"} & page.identity().keys()
    assert not {"schedule", "decay"} & OptimPage().identity().keys()
    given = TrainPage(mixture=[MixtureSource(name="a", tokens="x/tokens", weight=2.0)], skip=["3-4"])
    assert given.identity()["mixture"][0]["weight"] == 2.0
    assert "tokens" not in given.identity()["mixture"][0]
    assert given.identity()["skip"] == ["3-4"]


def test_phases_are_the_stretches_in_which_all_weights_stay():
    sources = [
        MixtureSource(name="a", weight=1.0, schedule=[{"after": "60%", "weight": 0.5}]),
        MixtureSource(name="b", weight=0.0, schedule=[{"after": 0.3, "weight": 1.0}, {"after": "60%", "weight": 2.0}]),
    ]
    assert phases(sources, 1000) == [(0, [1.0, 0.0]), (300, [1.0, 1.0]), (600, [0.5, 2.0])]
    assert phases(sources[:1], 1) == [(0, [1.0]), (1, [0.5])]


def test_ranges_name_steps_or_rows_from_one_both_ends_included():
    assert skipped(["3-4", "7", "rows 1-10"], 8) == [(16, 32), (48, 56), (0, 10)]
    for wrong in ("4-3", "0-3", "a-b", "rows", "1-2-3"):
        with pytest.raises(ValueError, match="expected steps such as"):
            skipped([wrong], 8)


SOURCE = '[[pretrain.mixture]]\nname = "{}"\n'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (SOURCE.format("a") + SOURCE.format("a"), 'two sources have the name "a"'),
        (SOURCE.format("a") + "weight = 0.0\n", "after 0% of the run no source has a weight"),
        (SOURCE.format("a") + 'tokens = "else/tokens"\n', 'source "a" has no licence'),
        (SOURCE.format("a") + 'tokens = "else"\nlicence = "nonesuch"\n', "is not a licence in the table"),
        (
            SOURCE.format("a") + 'schedule = [{ after = "60%", weight = 1.0 }, { after = "40%", weight = 2.0 }]\n',
            'weights of "a" change after 60%, 40%',
        ),
        (SOURCE.format("a") + 'schedule = [{ after = "sixty", weight = 1.0 }]\n', "expected a share"),
        ('[pretrain]\nskip = ["9-3"]\n', "expected steps such as"),
        ('[pretrain.optim]\nschedule = "cosin"\n', '"cosin" is not allowed'),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said_in_three_lines(text, what, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('name = "x"\n' + text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert what in str(caught.value)
    assert caught.value.where
    assert caught.value.hint
