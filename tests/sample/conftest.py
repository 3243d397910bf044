import pytest

from shikomi.recipe.sample import SamplePage
from shikomi.recipe.tune import DialoguesPage
from shikomi.sample.articles import make_articles
from shikomi.sample.world import make_world

SMALL = SamplePage(seed=3, companies=20, eval_companies=8, articles_per_company=7)
FEW = DialoguesPage(dialogues_per_fact=4)


@pytest.fixture(scope="session")
def small_page():
    return SMALL


@pytest.fixture(scope="session")
def few():
    return FEW


@pytest.fixture(scope="session")
def small_world():
    return make_world(SMALL)


@pytest.fixture(scope="session")
def default_world():
    return make_world(SamplePage())


@pytest.fixture(scope="session")
def default_articles(default_world):
    return make_articles(default_world, SamplePage())
