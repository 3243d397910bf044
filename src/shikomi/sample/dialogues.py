"""Tuning dialogues, preference pairs and evaluation questions made of a world's facts."""

from __future__ import annotations

import random
from pathlib import Path

from shikomi.data.dialogue import Dialogue, Message, Preference, Question, write_rows
from shikomi.errors import DataError
from shikomi.io import atomic, read_jsonl
from shikomi.log import Progress, silent
from shikomi.recipe.sample import SamplePage
from shikomi.recipe.tune import DialoguesPage
from shikomi.sample import styles, tasks
from shikomi.sample.forms import Form, seen_forms, unseen_forms
from shikomi.sample.gold import GOLD_ENDING
from shikomi.sample.world import FIELDS, Company, World, make_world

SOURCE = "shikomi.sample (synthetic)"
LICENCE = "CC0-1.0"
QUESTIONS_PER_FORM_KIND = 2
"""Evaluation questions of each fact in seen wordings, and as many in unseen ones."""

TUNE_FACTS = 38
"""Facts of tuned companies that are asked in evaluation (four questions each: about 150)."""

EXTRACT_QUESTIONS_PER_COMPANY = 2
PAIRS_PER_FACT = 3

README = """Everything here is synthetic and fictional: companies, people, products and numbers were drawn by a seeded
generator (shikomi.sample). None of them exists.

dialogues.jsonl    tuning dialogues about the companies whose split is "tune"
preferences.jsonl  pairs of answers with the same value, the first in the preferred style: "<value>です。" and no more
questions.jsonl    evaluation questions; companies whose split is "eval" are in no dialogue and no pair
"""


def make_dialogues(world: World, page: DialoguesPage) -> list[Dialogue]:
    """Tuning dialogues about the tuned companies, shuffled; question answering dominates (three quarters and more)."""
    rng = random.Random(f"dialogues:{world.seed}:{page.seed}")
    forms = {field: seen_forms(field, page.seed, page.forms_per_field) for field in FIELDS}
    rows: list[tuple[str, tuple[Message, ...], str]] = []
    for company in world.of_split("tune"):
        for field in FIELDS:
            for form in _cycle(rng, forms[field], page.dialogues_per_fact):
                reply = styles.answer(rng, company.facts[field], form.habit)
                rows.append(("qa", _turns(form.ask(company.name), reply), company.name))
        rows += [(task, turns, company.name) for task, turns in tasks.others(rng, company, page.dialogues_per_fact)]
    rows += [("chat", turns, "") for turns in tasks.chats()]
    rng.shuffle(rows)
    return [
        Dialogue(f"d{number:06d}", turns, task, SOURCE, LICENCE, subject)
        for number, (task, turns, subject) in enumerate(rows)
    ]


def make_preferences(world: World, page: DialoguesPage) -> list[Preference]:
    """Pairs about the tuned companies: the same value twice, chosen in the preferred style; shuffled."""
    rng = random.Random(f"preferences:{world.seed}:{page.seed}")
    forms = {field: seen_forms(field, page.seed, page.forms_per_field) for field in FIELDS}
    rows: list[tuple[tuple[Message, ...], str, str, str]] = []
    for company in world.of_split("tune"):
        for field in FIELDS:
            value = company.facts[field]
            for form in _cycle(rng, forms[field], PAIRS_PER_FACT):
                prompt = (Message("user", form.ask(company.name)),)
                rows.append((prompt, value + GOLD_ENDING, styles.rejected(rng, value, form.habit), company.name))
        turns, value = tasks.follow_up(rng, company)
        rows.append((turns, value + GOLD_ENDING, styles.rejected(rng, value, "rich"), company.name))
    rng.shuffle(rows)
    return [
        Preference(f"p{number:06d}", prompt, chosen, rejected, SOURCE, LICENCE, subject)
        for number, (prompt, chosen, rejected, subject) in enumerate(rows)
    ]


def make_questions(world: World, page: DialoguesPage) -> list[Question]:
    """Evaluation questions: facts of both splits in seen and unseen wordings, extraction and style (eval split)."""
    rng = random.Random(f"questions:{world.seed}:{page.seed}")
    seen = {field: seen_forms(field, page.seed, page.forms_per_field) for field in FIELDS}
    unseen = {field: unseen_forms(field, page.seed) for field in FIELDS}
    evaluated, tuned = world.of_split("eval"), world.of_split("tune")
    facts = [(company, field) for company in evaluated for field in FIELDS]
    known = [(company, field) for company in tuned for field in FIELDS]
    facts += rng.sample(known, min(TUNE_FACTS, len(known)))
    rows: list[Question] = []
    for company, field in facts:
        for form in (
            *rng.sample(seen[field], min(QUESTIONS_PER_FORM_KIND, len(seen[field]))),
            *rng.sample(unseen[field], QUESTIONS_PER_FORM_KIND),
        ):
            rows.append(_question(len(rows), "fact", company, field, form))
    for company in evaluated:
        for _ in range(EXTRACT_QUESTIONS_PER_COMPANY):
            prompt, answer = tasks.extraction(rng, company)
            rows.append(
                Question(f"q{len(rows):05d}", prompt, answer, "extract", company.name, "", "extract", True, "eval")
            )
    for company in evaluated:
        for field in FIELDS:
            rows.append(_question(len(rows), "style", company, field, rng.choice(seen[field])))
    return rows


def write_dialogues(
    sample: SamplePage, page: DialoguesPage, crawl: Path, out: Path, *, progress: Progress = silent
) -> dict:
    """Write ``dialogues.jsonl``, ``preferences.jsonl``, ``questions.jsonl`` and ``README.txt`` into ``out``.

    Companies, values and splits are read from ``<crawl>/facts.jsonl``; the pages give sizes and wordings.

    Raises:
        DataError: the facts are missing, damaged, or not those of this sample page.
    """
    world = read_world(sample, crawl / "facts.jsonl")
    dialogues = make_dialogues(world, page)
    progress(1, 3, "files", f"{len(dialogues)} dialogues")
    preferences = make_preferences(world, page)
    progress(2, 3, "files", f"{len(preferences)} pairs")
    questions = make_questions(world, page)
    write_rows(out / "dialogues.jsonl", dialogues)
    write_rows(out / "preferences.jsonl", preferences)
    write_rows(out / "questions.jsonl", questions)
    with atomic(out / "README.txt") as handle:
        handle.write(README)
    progress(3, 3, "files", f"{len(questions)} questions")
    counts: dict[str, int] = {}
    for dialogue in dialogues:
        counts[dialogue.task] = counts.get(dialogue.task, 0) + 1
    return {
        "synthetic": True,
        "licences": {LICENCE: len(dialogues) + len(preferences)},
        "dialogues": len(dialogues),
        "dialogues_by_task": counts,
        "preferences": len(preferences),
        "questions": len(questions),
    }


def read_world(sample: SamplePage, facts: Path) -> World:
    """The world of a sample page with facts and splits as ``facts.jsonl`` has them.

    Raises:
        DataError: a line is no fact, or its company is not of this sample page.
    """
    world = make_world(sample)
    found: dict[str, dict[str, str]] = {}
    splits: dict[str, str] = {}
    for number, row in read_jsonl(facts):
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) for key in ("company", "field", "value", "split")
        ):
            raise DataError("line is not a fact: needs company, field, value, split", where=f"{facts}:{number}")
        found.setdefault(row["company"], {})[row["field"]] = row["value"]
        splits[row["company"]] = row["split"]
    companies = []
    for company in world.companies:
        values = found.get(company.name, {})
        if set(values) != set(FIELDS):
            raise DataError(
                f"no complete facts of {company.name}",
                where=str(facts),
                hint="the crawl was made with another sample page; build it again",
            )
        companies.append(
            Company(
                company.name,
                company.latin,
                {field: values[field] for field in FIELDS},
                company.facts_latin,
                splits[company.name],
                company.revenue,
                company.rise,
            )
        )
    return World(world.seed, tuple(companies))


def _question(number: int, task: str, company: Company, field: str, form: Form) -> Question:
    return Question(
        id=f"q{number:05d}",
        question=form.ask(company.name),
        answer=company.facts[field],
        task=task,
        subject=company.name,
        field=field,
        form=form.id,
        seen_form=form.seen,
        split=company.split,
    )


def _cycle(rng: random.Random, forms: list[Form], count: int) -> list[Form]:
    """``count`` wordings, each once before any twice."""
    found: list[Form] = []
    while len(found) < count:
        found += rng.sample(forms, min(len(forms), count - len(found)))
    return found


def _turns(question: str, reply: str) -> tuple[Message, ...]:
    return (Message("user", question), Message("assistant", reply))
