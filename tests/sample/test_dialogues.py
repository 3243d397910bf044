import collections
import json

import pytest

from shikomi.data.dialogue import read_dialogues, read_preferences, read_questions
from shikomi.errors import DataError
from shikomi.io import write_jsonl
from shikomi.recipe.sample import SamplePage
from shikomi.recipe.tune import DialoguesPage
from shikomi.sample.crawl import facts
from shikomi.sample.dialogues import make_dialogues, make_preferences, make_questions, read_world, write_dialogues
from shikomi.sample.gold import follows_gold_rule, normalise_answer
from shikomi.sample.world import FIELDS


@pytest.fixture(scope="module")
def dialogues(default_world):
    return make_dialogues(default_world, DialoguesPage())


@pytest.fixture(scope="module")
def preferences(default_world):
    return make_preferences(default_world, DialoguesPage())


@pytest.fixture(scope="module")
def questions(default_world):
    return make_questions(default_world, DialoguesPage())


def test_no_eval_company_in_any_dialogue_or_pair(default_world, dialogues, preferences):
    texts = [message.content for dialogue in dialogues for message in dialogue.messages]
    texts += [text for pair in preferences for text in (*(m.content for m in pair.prompt), pair.chosen, pair.rejected)]
    whole = "\n".join(texts)
    for company in default_world.of_split("eval"):
        assert company.name not in whole
        assert company.latin not in whole
        assert company.facts["product"] not in whole


def test_question_answering_dominates_and_every_task_is_there(dialogues):
    counts = collections.Counter(dialogue.task for dialogue in dialogues)
    assert counts["qa"] >= 0.75 * len(dialogues)
    assert set(counts) == {"qa", "extract", "summarise", "translate", "multi_turn", "chat"}
    assert len({dialogue.id for dialogue in dialogues}) == len(dialogues)


def test_answers_start_with_the_value_in_about_half_the_cases_in_gold_style(default_world, dialogues):
    known = {company.name: company for company in default_world.companies}
    gold = total = 0
    for dialogue in dialogues:
        if dialogue.task == "qa":
            answer = dialogue.messages[-1].content
            assert any(answer.startswith(value) for value in known[dialogue.subject].facts.values())
            gold += follows_gold_rule(answer)
            total += 1
    assert 0.35 <= gold / total <= 0.65


def test_a_later_turn_needs_an_earlier_one(dialogues):
    turns = [dialogue for dialogue in dialogues if dialogue.task == "multi_turn"]
    for dialogue in turns:
        assert len(dialogue.messages) == 4
        assert dialogue.subject in dialogue.messages[0].content
        assert dialogue.subject not in dialogue.messages[2].content


def test_extraction_answers_are_json_of_what_the_passage_says(dialogues):
    for dialogue in dialogues:
        if dialogue.task == "extract":
            prompt, answer = dialogue.messages[0].content, json.loads(dialogue.messages[1].content)
            assert 3 <= len(answer) <= 4
            for key, value in answer.items():
                assert key in prompt
                assert value in prompt


def test_pairs_agree_in_value_and_differ_in_style(preferences):
    for pair in preferences:
        assert follows_gold_rule(pair.chosen)
        assert not follows_gold_rule(pair.rejected)
        assert normalise_answer(pair.chosen) == normalise_answer(pair.rejected)


def test_questions_are_enough_and_split_by_company_and_wording(default_world, questions):
    splits = {company.name: company.split for company in default_world.companies}
    counts = collections.Counter((question.task, question.split, question.seen_form) for question in questions)
    assert counts["fact", "eval", True] == counts["fact", "eval", False] == 64 * 6 * 2
    assert counts["fact", "tune", True] + counts["fact", "tune", False] >= 150
    assert counts["extract", "eval", True] >= 100
    assert counts["style", "eval", True] >= 300
    assert all(splits[question.subject] == question.split for question in questions)


def test_seen_questions_use_wordings_of_the_dialogues_and_unseen_ones_do_not(default_world):
    page = DialoguesPage(dialogues_per_fact=24)
    asked = set()
    for dialogue in make_dialogues(default_world, page):
        if dialogue.task == "qa":
            asked.add(dialogue.messages[0].content.replace(dialogue.subject, "甲"))
    for question in make_questions(default_world, page):
        if question.task != "extract":
            assert (question.question.replace(question.subject, "甲") in asked) == question.seen_form, question


def test_fact_answers_are_the_facts(default_world, questions):
    known = {company.name: company.facts for company in default_world.companies}
    for question in questions:
        if question.task == "extract":
            assert set(json.loads(question.answer).values()) <= {question.subject, *known[question.subject].values()}
        else:
            assert question.answer == known[question.subject][question.field]


def test_more_wordings_are_used_when_asked_for(default_world):
    page = DialoguesPage(forms_per_field=60)
    forms = {question.form for question in make_questions(default_world, page) if question.seen_form}
    assert len(forms) > 6 * 40


def test_written_files_read_back_and_are_the_same_twice(tmp_path, small_page, small_world, few):
    write_jsonl(tmp_path / "facts.jsonl", facts(small_world))
    summary = write_dialogues(small_page, few, tmp_path, tmp_path / "one")
    write_dialogues(small_page, few, tmp_path, tmp_path / "two")
    names = ("dialogues.jsonl", "preferences.jsonl", "questions.jsonl", "README.txt")
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(list(read_dialogues(tmp_path / "one" / "dialogues.jsonl"))) == summary["dialogues"]
    assert len(list(read_preferences(tmp_path / "one" / "preferences.jsonl"))) == summary["preferences"]
    assert len(list(read_questions(tmp_path / "one" / "questions.jsonl"))) == summary["questions"]
    assert "synthetic" in (tmp_path / "one" / "README.txt").read_text(encoding="utf-8")
    assert summary["synthetic"] is True


def test_values_and_splits_come_from_the_facts_file(tmp_path, small_page, small_world):
    rows = facts(small_world)
    rows[0]["value"] = "1951年"
    for row in rows[: len(FIELDS)]:
        row["split"] = "tune"
    write_jsonl(tmp_path / "facts.jsonl", rows)
    company = read_world(small_page, tmp_path / "facts.jsonl").companies[0]
    assert company.facts["founded"] == "1951年"
    assert company.split == "tune"


def test_facts_of_another_seed_are_refused(tmp_path, small_world):
    write_jsonl(tmp_path / "facts.jsonl", facts(small_world))
    with pytest.raises(DataError, match="no complete facts"):
        read_world(SamplePage(seed=99, companies=20, eval_companies=8), tmp_path / "facts.jsonl")


def test_a_line_that_is_no_fact_is_named(tmp_path, small_page, small_world):
    write_jsonl(tmp_path / "facts.jsonl", [*facts(small_world), {"company": "甲"}])
    with pytest.raises(DataError, match="not a fact") as caught:
        read_world(small_page, tmp_path / "facts.jsonl")
    assert f"facts.jsonl:{20 * 6 + 1}" in str(caught.value)
