"""Tasks besides question answering: extraction, summaries, translation, dialogues of several turns, greetings."""

from __future__ import annotations

import random
from collections.abc import Iterator

from shikomi.data.dialogue import Message
from shikomi.io import dumps
from shikomi.sample import styles, tables
from shikomi.sample.articles import fact_sentences
from shikomi.sample.forms import nouns
from shikomi.sample.world import FIELDS, Company

NAME_KEY = "会社名"

# Dialogues a company and task when a fact has 12 question-answer dialogues; the number follows that of the facts.
_EXTRACT, _SUMMARISE, _TRANSLATE, _FOLLOW, _STATE = 4, 2, 3, 4, 2
_FULL = 12


def others(rng: random.Random, company: Company, dialogues_per_fact: int) -> Iterator[tuple[str, tuple[Message, ...]]]:
    """(task, turns) of one company's dialogues that are not plain question answering."""

    def many(count: int) -> range:
        return range(max(1, round(count * dialogues_per_fact / _FULL)))

    for _ in many(_EXTRACT):
        yield "extract", _turns(*extraction(rng, company))
    for _ in many(_SUMMARISE):
        yield "summarise", _turns(*summary(rng, company))
    for _ in many(_TRANSLATE):
        yield "translate", _turns(*translation(rng, company))
    for _ in many(_FOLLOW):
        prompt, value = follow_up(rng, company)
        yield "multi_turn", (*prompt, Message("assistant", styles.answer(rng, value, "polite")))
    for _ in many(_STATE):
        yield "multi_turn", stated(rng, company)


def extraction(rng: random.Random, company: Company) -> tuple[str, str]:
    """A short passage in the articles' wording, and its name and two or three facts as JSON."""
    fields = rng.sample(FIELDS, rng.choice((2, 2, 3)))
    text = "".join(fact_sentences(rng, company, fields, rng.random() < 0.5))
    if company.name not in text[: text.index("。")]:
        text = f"{company.name}について。{text}"
    asked = rng.sample(fields, len(fields)) if rng.random() < 0.3 else fields
    keys = {field: tables.section("tasks", f"key.{field}")[0] for field in asked}
    answer = {NAME_KEY: company.name, **{keys[field]: company.facts[field] for field in asked}}
    wording = rng.choice(tables.section("tasks", "extract")).replace("\\n", "\n")
    return wording.format(keys="、".join(answer), text=text), dumps(answer)


def summary(rng: random.Random, company: Company) -> tuple[str, str]:
    """A passage of three facts, and one sentence with the first two of them."""
    fields = rng.sample(FIELDS, 3)
    text = "".join(fact_sentences(rng, company, fields, True))
    modifier = tables.section("wording", f"mod.{fields[0]}")[0]
    final = tables.ending(tables.section("wording", f"fin.{fields[1]}")[0], True)
    answer = f"{modifier}{{c}}は、{final}。".format(c=company.name, **company.facts)
    wording = rng.choice(tables.section("tasks", "summarise")).replace("\\n", "\n")
    return wording.format(text=text), answer


def translation(rng: random.Random, company: Company) -> tuple[str, str]:
    """A sentence about the company (or, one time in three, of office life) to translate, in either direction."""
    name = "phrase" if rng.random() < 1 / 3 else "translate"
    japanese, english = rng.choice(tables.section("tasks", name)).split("\t")
    slots = {"c": company.name, "lc": company.latin, **company.facts}
    slots |= {f"l_{field}": value for field, value in company.facts_latin.items()}
    japanese, english = japanese.format(**slots), english.format(**slots)
    if rng.random() < 0.5:
        return _wrap(rng, "to_english", japanese), english
    return _wrap(rng, "to_japanese", english), japanese


def follow_up(rng: random.Random, company: Company) -> tuple[tuple[Message, ...], str]:
    """Turns whose last question names no company (an earlier one did), and the value it asks for."""
    first, second = rng.sample(FIELDS, 2)
    noun, word = rng.choice(nouns(first))
    start = Message("user", f"{company.name}の{noun}は{word}ですか。")
    reply = Message("assistant", styles.answer(rng, company.facts[first], "polite"))
    noun, word = rng.choice(nouns(second))
    question = rng.choice(tables.section("tasks", "follow")).format(n=noun, q=word)
    return (start, reply, Message("user", question)), company.facts[second]


def stated(rng: random.Random, company: Company) -> tuple[Message, ...]:
    """The user names a company in passing, then asks about it without its name."""
    field = rng.choice(FIELDS)
    noun, word = rng.choice(nouns(field))
    statement, question = rng.choice(tables.section("tasks", "state")).split("\t")
    return (
        Message("user", statement.format(c=company.name)),
        Message("assistant", rng.choice(tables.section("tasks", "state_reply"))),
        Message("user", question.format(n=noun, q=word)),
        Message("assistant", styles.answer(rng, company.facts[field], "polite")),
    )


def chats() -> list[tuple[Message, ...]]:
    """Greetings and the like, each a few times."""
    pairs = [line.split("\t") for line in tables.section("tasks", "chat")]
    return [_turns(question, reply) for question, reply in pairs for _ in range(4)]


def _wrap(rng: random.Random, name: str, text: str) -> str:
    return rng.choice(tables.section("tasks", name)).replace("\\n", "\n").format(text=text)


def _turns(question: str, reply: str) -> tuple[Message, ...]:
    return (Message("user", question), Message("assistant", reply))
