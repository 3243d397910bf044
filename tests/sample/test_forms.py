import pytest

from shikomi.sample import tables
from shikomi.sample.forms import nouns, seen_forms, unseen_forms
from shikomi.sample.styles import HABITS
from shikomi.sample.world import FIELDS

ALL = 10_000


@pytest.mark.parametrize("field", FIELDS)
def test_enough_wordings_a_field(field):
    assert len(seen_forms(field, 1, 24)) == 24
    assert len(seen_forms(field, 1, 60)) == 60
    unseen = unseen_forms(field, 1)
    assert len(unseen) >= 8
    assert len({form.id.split(".")[1] for form in unseen}) >= 8


@pytest.mark.parametrize("field", FIELDS)
def test_unseen_wordings_are_never_seen_ones(field):
    seen, unseen = seen_forms(field, 1, ALL), unseen_forms(field, 1, ALL)
    assert not {form.id.split(".")[1] for form in seen} & {form.id.split(".")[1] for form in unseen}
    assert not {form.ask("甲") for form in seen} & {form.ask("甲") for form in unseen}


@pytest.mark.parametrize("field", FIELDS)
def test_unseen_wordings_differ_from_every_seen_one_by_more_than_a_particle(field):
    particles = set("はがをにのでとも、。？か")
    seen = {frozenset(form.words) - particles for form in seen_forms(field, 1, ALL)}
    orders = {tuple(word for word in form.words if word not in particles) for form in seen_forms(field, 1, ALL)}
    for form in unseen_forms(field, 1, ALL):
        content = tuple(word for word in form.words if word not in particles)
        assert content not in orders
        assert frozenset(form.words) - particles not in seen or content not in orders


def test_words_of_all_wordings_occur_in_the_crawl(default_articles):
    text = "\n".join(article.text for article in default_articles)
    for field in FIELDS:
        for form in (*seen_forms(field, 1, ALL), *unseen_forms(field, 1, ALL)):
            for word in form.words:
                assert word == "{c}" or word in text, (form.id, word)


@pytest.mark.parametrize("field", FIELDS)
def test_every_wording_names_the_company_and_ends_as_a_sentence(field):
    for form in (*seen_forms(field, 2, ALL), *unseen_forms(field, 2, ALL)):
        question = form.ask("甲乙")
        assert question.count("甲乙") == 1
        assert question[-1] in "。？"
        assert "{" not in question
        assert form.seen == (form.habit in HABITS)


def test_the_seed_chooses_and_orders_the_wordings():
    assert seen_forms("founded", 1, 24) == seen_forms("founded", 1, 24)
    assert seen_forms("founded", 1, 24) != seen_forms("founded", 2, 24)
    frames = len(tables.section("forms", "seen"))
    assert len({form.id.split(".")[1] for form in seen_forms("founded", 1, frames)}) == frames


def test_nouns_come_with_their_question_word():
    assert ("本社", "どこ") in nouns("head_office")
