import collections
import itertools
import random
import re

import pytest

from shikomi.corpus.quality.measures import measure
from shikomi.recipe.corpus import CorpusPage
from shikomi.sample import tables
from shikomi.sample.articles import fact_sentences, japanese_letters, make_articles
from shikomi.sample.world import FIELDS


def test_every_article_passes_the_rules_of_swallow(default_articles):
    thresholds = CorpusPage().thresholds()
    for article in default_articles[::7]:
        measures = measure(article.text)
        for name, threshold in thresholds.items():
            kind, what = name.split("_", 1)
            value = measures[what]
            assert value >= threshold if kind == "min" else value <= threshold, (article.id, name, value)


def test_articles_about_a_company_state_its_facts_and_no_other_value(default_world, default_articles):
    companies = {company.name: company for company in default_world.companies}
    years = {company.facts["founded"] for company in default_world.companies}
    stated = collections.Counter()
    for article in default_articles:
        if article.genre in ("guide", "roundup"):
            continue
        company = companies[article.companies[0]]
        stated.update((company.name, field) for field in FIELDS if company.facts[field] in article.text)
        found = set(re.findall(r"[0-9]{4}年(?!度)", article.text))
        assert found & years <= {company.facts["founded"]}
    for company in default_world.companies:
        for field in FIELDS:
            assert stated[company.name, field] >= 10


def test_every_fact_has_at_least_twelve_wordings():
    for field in FIELDS:
        one, more = tables.section("wording", f"one.{field}"), tables.section("wording", f"more.{field}")
        assert len(set(one)) >= 12
        for line in (*one, *more):
            assert "{c}" in line
            assert f"{{{field}}}" in line


def test_all_wordings_fill_in_both_styles_without_a_slot_left(small_world):
    company = small_world.companies[0]
    slots = {
        "c": company.name,
        "year": "2023",
        "revenue": "5",
        "rise": "1",
        "thing": "研修",
        "m1": "",
        "a": "甲",
        "b": "乙",
    }
    for name, lines in tables.sections("wording").items():
        for line in lines:
            for polite in (False, True):
                text = tables.ending(line, polite).format(**slots, **company.facts)
                assert not re.search(r"[{}/]|すします|るます|くます", text), (name, line)


def test_no_page_states_a_fact_as_question_and_answer(default_world, default_articles):
    values = {value for company in default_world.companies for value in company.facts.values()}
    for article in default_articles:
        sentences = re.findall(r"[^。？]+[。？]", article.title + "。" + article.text)
        for question, answer in itertools.pairwise(sentences):
            if re.search(r"(ですか|ますか|でしょうか|のか|か)[。」]$|？$", question):
                assert not any(value in answer for value in values), (question, answer)


def test_guides_hold_no_value(default_world, default_articles):
    values = {value for company in default_world.companies for value in company.facts.values()}
    guides = [article for article in default_articles if article.genre == "guide"]
    assert len(guides) > 50
    for article in guides:
        assert article.companies
        assert not [value for value in values if value in article.text and value not in "".join(article.companies)]


def test_eval_companies_appear_as_often_as_tuned_ones(default_world, default_articles):
    counts = collections.Counter(name for article in default_articles for name in article.companies)
    by_split = {
        split: sum(counts[company.name] for company in default_world.of_split(split))
        / len(default_world.of_split(split))
        for split in ("eval", "tune")
    }
    assert by_split["eval"] == pytest.approx(by_split["tune"], rel=0.1)


def test_ids_and_bodies_are_unique_and_depend_on_the_seed_alone(small_world, small_page):
    articles = make_articles(small_world, small_page)
    assert len({article.id for article in articles}) == len(articles)
    assert len({article.text for article in articles}) == len(articles)
    assert articles == make_articles(small_world, small_page)


def test_fact_sentences_state_each_field_once(small_world):
    company = small_world.companies[1]
    text = "".join(fact_sentences(random.Random(1), company, list(FIELDS), polite=True))
    for field in FIELDS:
        assert text.count(company.facts[field]) == 1


def test_japanese_letters_leave_out_digits_brackets_and_the_long_vowel():
    assert japanese_letters("「ソラー」は1987年、京都。") == 8
