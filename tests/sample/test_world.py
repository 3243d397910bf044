import itertools

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe.sample import SamplePage
from shikomi.sample.world import FIELDS, FIRST_RESULT_YEAR, make_world


def test_default_world_has_the_promised_size_and_complete_facts(default_world):
    assert len(default_world.companies) >= 120
    assert len(default_world.of_split("eval")) >= 60
    for company in default_world.companies:
        assert tuple(company.facts) == FIELDS
        assert all(company.facts.values())
        year, employees = int(company.facts["founded"][:-1]), int(company.facts["employees"][:-1])
        assert 1948 <= year < FIRST_RESULT_YEAR
        assert 40 <= employees <= 980
        assert employees % 10 == 0


def test_values_that_must_be_unique_are(default_world):
    for values in (
        [company.name for company in default_world.companies],
        [company.latin for company in default_world.companies],
        [company.facts["product"] for company in default_world.companies],
        [company.facts["president"] for company in default_world.companies],
    ):
        assert len(set(values)) == len(values)


def test_two_thousand_companies_still_have_unique_names_and_products():
    world = make_world(SamplePage(seed=9, companies=2000, eval_companies=60))
    assert len({company.name for company in world.companies}) == 2000
    assert len({company.latin for company in world.companies}) == 2000
    assert len({company.facts["product"] for company in world.companies}) == 2000


def test_a_company_name_is_never_part_of_another(default_world):
    names = [company.name for company in default_world.companies]
    assert not [(a, b) for a in names for b in names if a != b and a in b]


def test_revenue_rises_by_what_is_told(default_world):
    for company in default_world.companies:
        years = sorted(company.revenue)
        for before, after in itertools.pairwise(years):
            assert company.revenue[after] - company.revenue[before] == company.rise[after]


def test_seed_decides_the_world():
    page = SamplePage(companies=12, eval_companies=4)
    other = SamplePage(seed=8, companies=12, eval_companies=4)
    assert make_world(page) == make_world(page)
    assert make_world(page) != make_world(other)


def test_no_company_left_to_tune_on_is_refused():
    with pytest.raises(RecipeError, match="leave none of 12") as caught:
        make_world(SamplePage(companies=12, eval_companies=12))
    assert "sample.eval_companies" in str(caught.value)
