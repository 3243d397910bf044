"""Articles about the companies: each states most facts once or twice, in wordings drawn from a grammar of parts."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from shikomi.recipe.sample import SamplePage
from shikomi.sample import tables
from shikomi.sample.likeness import repeated_share
from shikomi.sample.tables import ending
from shikomi.sample.world import FIELDS, FIRST_RESULT_YEAR, NUM_RESULT_YEARS, Company, World

GENRES = ("profile", "news", "interview", "product", "recruit", "results", "history")
"""Kinds of articles about one company; besides there are ``roundup`` (several) and ``guide`` (no fact at all)."""

POLITE_SHARE = {"profile": 0.6, "news": 0.1, "interview": 0.4, "product": 0.7, "recruit": 1.0, "results": 0.2}
"""Share of articles in です・ます style, by genre; the others are plain."""

MIN_JAPANESE_LETTERS = 450
"""Articles go on until they have this many; Swallow's rule asks for 400, the rest is room for trimmed lines."""

MAX_REPEATED_SHARE = 0.115
"""Share of 5-grams that occur twice in an article; Swallow's rule drops a page above 0.15."""

ROUNDUP_COMPANIES = 4
GUIDE_SHARE = 0.04
"""General articles, as a share of those about companies: they bring the vocabulary of questions into the crawl."""

_OTHER_LETTERS = re.compile("[^ぁ-ゖァ-ヺ々、。一-鿿]")

NEWS_HOSTS = ("keizai-techo", "sangyo-dayori", "chiiki-biz", "kaisha-meguri", "hataraku-note", "monozukuri-shimbun")
"""Sites that write about many companies; the top-level domain ``.example`` never resolves (RFC 2606)."""


@dataclass(frozen=True)
class Article:
    """One article.

    Attributes:
        id: unique in the world.
        title: its heading.
        paragraphs: the running text; every paragraph is one or more whole sentences.
        companies: names of the companies mentioned, the main one first.
        genre: one of ``GENRES``, ``roundup`` or ``guide``.
        date: day of publication, ISO 8601.
        host: the site it stands on.
    """

    id: str
    title: str
    paragraphs: tuple[str, ...]
    companies: tuple[str, ...]
    genre: str
    date: str
    host: str

    @property
    def text(self) -> str:
        """The paragraphs, one a line."""
        return "\n".join(self.paragraphs)


def make_articles(world: World, page: SamplePage) -> list[Article]:
    """All articles of a world, in a fixed order: those about one company, round-ups, guides.

    ``page.articles_per_company`` counts the articles in which a company is a subject, round-ups included.
    """
    companies = world.companies
    roundups = min(2, page.articles_per_company - 1)
    articles = []
    for company in companies:
        for index in range(page.articles_per_company - roundups):
            rng = random.Random(f"article:{world.seed}:{company.name}:{index}")
            genre = GENRES[index % len(GENRES)] if index < len(GENRES) else rng.choice(GENRES)
            articles.append(_about(rng, company, genre, f"{company.latin.lower().replace(' ', '-')}-{index:02d}"))
    for turn in range(roundups):
        rng = random.Random(f"roundup:{world.seed}:{turn}")
        order = rng.sample(companies, len(companies))
        for start in range(0, len(order), ROUNDUP_COMPANIES):
            group = (order + order)[start : start + ROUNDUP_COMPANIES]
            articles.append(_roundup(rng, group, f"roundup-{turn}-{start:04d}"))
    for index in range(max(4, round(GUIDE_SHARE * len(articles)))):
        rng = random.Random(f"guide:{world.seed}:{index}")
        articles.append(_guide(rng, rng.sample(companies, 4), f"guide-{index:04d}"))
    return articles


def fact_sentences(rng: random.Random, company: Company, fields: list[str], polite: bool) -> list[str]:
    """Sentences of the articles' grammar that state each of ``fields`` once, one to three facts a sentence."""
    writer = _Writer(rng, company, polite)
    return [writer.compound(group) for group in _groups(rng, fields)]


def again(rng: random.Random, company: Company, count: int, polite: bool) -> list[str]:
    """``count`` more sentences about a company, each with one fact and something told about it."""
    writer = _Writer(rng, company, polite)
    return [writer.say(f"more.{rng.choice(FIELDS)}") for _ in range(count)]


def japanese_letters(text: str) -> int:
    """Kana, kanji, 。 and 、 in a text (the letters that Swallow's rules count; ー is none of them)."""
    return len(text) - len(_OTHER_LETTERS.findall(text))


class _Writer:
    """Sentences about one company; a pattern is used once until its list is used up."""

    def __init__(self, rng: random.Random, company: Company, polite: bool) -> None:
        self.rng = rng
        self.polite = polite
        self.year = rng.randrange(FIRST_RESULT_YEAR, FIRST_RESULT_YEAR + NUM_RESULT_YEARS)
        self.slots = {
            "c": company.name,
            **company.facts,
            "year": str(self.year),
            "revenue": str(company.revenue[self.year]),
            "rise": str(company.rise[self.year]),
            "thing": rng.choice(tables.section("wording", "thing")),
        }
        self.decks: dict[str, list[str]] = {}

    def pick(self, name: str) -> str:
        deck = self.decks.get(name)
        if not deck:
            deck = list(tables.section("wording", name))
            self.rng.shuffle(deck)
            self.decks[name] = deck
        return deck.pop()

    def fill(self, pattern: str, **more: str) -> str:
        return ending(pattern, self.polite).format(**self.slots, **more)

    def say(self, name: str, **more: str) -> str:
        """A whole sentence of one pattern list."""
        return self.fill(self.pick(name), **more) + "。"

    def opening(self, genre: str, fields: list[str]) -> str:
        """The first sentence; takes the fields it states off ``fields``."""
        pattern = self.pick(f"opening.{genre}")
        modifier = ""
        if "{m1}" in pattern:
            field = next(name for name in fields if not (name == "product" and "{product}" in pattern))
            fields.remove(field)
            modifier = self.fill(self.pick(f"mod.{field}"))
        return self.fill(pattern, m1=modifier) + "。"

    def compound(self, fields: list[str]) -> str:
        """One sentence that states one to three facts."""
        if len(fields) == 1:
            return self.say(f"one.{fields[0]}")
        name = self.slots["c"]
        if len(fields) == 2 and self.rng.random() < 0.5:
            start = self.fill(self.pick(f"te.{fields[0]}"))
            return f"{name}は{start}、{self.fill(self.pick(f'fin.{fields[1]}'))}。"
        modifier = self.fill(self.pick(f"mod.{fields[0]}"))
        middle = "、".join(self.fill(self.pick(f"te.{field}")) for field in fields[1:-1])
        last = self.fill(self.pick(f"fin.{fields[-1]}"))
        return f"{modifier}{name}は、{middle + '、' if middle else ''}{last}。"


def _groups(rng: random.Random, fields: list[str]) -> list[list[str]]:
    """Cut a list of fields into groups of one to three."""
    groups, rest = [], list(fields)
    while rest:
        size = min(len(rest), rng.choice((1, 1, 2, 2, 2, 3)))
        groups.append(rest[:size])
        rest = rest[size:]
    return groups


def _about(rng: random.Random, company: Company, genre: str, name: str) -> Article:
    """An article about one company; drawn again (at most eight times) while it repeats itself too much."""
    for _ in range(8):
        writer = _Writer(rng, company, rng.random() < POLITE_SHARE.get(genre, 0.0))
        sentences = _vary_name(rng, _tell(rng, writer, genre), company.name)
        if repeated_share("".join(sentences)) <= MAX_REPEATED_SHARE:
            break
    title = writer.fill(writer.pick(f"title.{genre}"))
    own = f"{company.latin.lower().replace(' ', '-')}.example"
    host = own if genre in ("profile", "recruit", "results") else f"{rng.choice(NEWS_HOSTS)}.example"
    paragraphs = _paragraphs(rng, sentences)
    return Article(name, title, paragraphs, (company.name,), genre, _date(rng, writer.year), host)


def _tell(rng: random.Random, writer: _Writer, genre: str) -> list[str]:
    """Opening, all facts once in sentences of one to three, then one by one again until the text is long enough."""
    fields = rng.sample(FIELDS, len(FIELDS))
    sentences = [writer.opening(genre, fields)]
    sentences += [writer.compound(group) for group in _groups(rng, fields)]
    goal = rng.randint(MIN_JAPANESE_LETTERS, MIN_JAPANESE_LETTERS + 220)
    if genre == "results":
        sentences.insert(1, writer.say("revenue"))
    elif genre == "news":
        sentences.insert(1, writer.say("event"))
    left: list[str] = []
    while japanese_letters("".join(sentences)) < goal:
        if not left:
            left = rng.sample(FIELDS, len(FIELDS))
        sentences.append(writer.say(f"{rng.choice(('one', 'more', 'more'))}.{left.pop()}"))
        chance = rng.random()
        if chance < 0.12:
            sentences.append(writer.say("filler"))
        elif chance < 0.17:
            sentences.append(writer.say(rng.choice(("revenue", "event"))))
    return sentences


def _roundup(rng: random.Random, group: list[Company], name: str) -> Article:
    polite = rng.random() < 0.5
    paragraphs, titles = [], {"a": group[0].name, "b": group[1].name}
    for company in group:
        writer = _Writer(rng, company, polite)
        fields = rng.sample(FIELDS, rng.randint(4, 6))
        sentences = [writer.compound(part) for part in _groups(rng, fields)]
        sentences.append(writer.say(f"more.{rng.choice(FIELDS)}"))
        paragraphs.append("".join(_vary_name(rng, sentences, company.name)))
    frame = _Writer(rng, group[0], polite)
    frame.slots.update(titles)
    paragraphs[0] = frame.say("opening.roundup") + paragraphs[0]
    while japanese_letters("".join(paragraphs)) < MIN_JAPANESE_LETTERS:
        paragraphs.append(frame.say("filler") + frame.say("filler"))
    paragraphs.append(frame.say("closing.roundup"))
    title = frame.fill(frame.pick("title.roundup"))
    names = tuple(company.name for company in group)
    return Article(name, title, tuple(paragraphs), names, "roundup", _date(rng, frame.year), "sangyo-dayori.example")


def _guide(rng: random.Random, group: list[Company], name: str) -> Article:
    """A text on looking companies up: words of questions beside company names, and no value of any fact."""
    polite = rng.random() < 0.6
    lines = rng.sample(tables.section("guide", "sentence"), 16)
    general = rng.sample(tables.section("guide", "general"), 8)
    sentences = [ending(rng.choice(tables.section("guide", "opening")), polite) + "。"]
    goal = rng.randint(MIN_JAPANESE_LETTERS + 30, MIN_JAPANESE_LETTERS + 160)
    while japanese_letters("".join(sentences)) < goal and lines:
        sentences.append(ending(lines.pop(), polite).format(c=rng.choice(group).name) + "。")
        if rng.random() < 0.4 and general:
            sentences.append(ending(general.pop(), polite) + "。")
    title = rng.choice(tables.section("guide", "title"))
    text = "".join(sentences)
    names = tuple(company.name for company in group if company.name in text)
    host = rng.choice(("hataraku-note.example", "kaisha-meguri.example"))
    year = rng.randrange(FIRST_RESULT_YEAR, FIRST_RESULT_YEAR + NUM_RESULT_YEARS)
    return Article(name, title, _paragraphs(rng, sentences), names, "guide", _date(rng, year), host)


def _vary_name(rng: random.Random, sentences: list[str], name: str) -> list[str]:
    """Write 同社 for the name in some sentences, never in the first nor twice running."""
    varied, last = [], True
    for sentence in sentences:
        last = not last and rng.random() < 0.2
        varied.append(sentence.replace(name, "同社", 1) if last else sentence)
    return varied


def _paragraphs(rng: random.Random, sentences: list[str]) -> tuple[str, ...]:
    paragraphs, rest = [], list(sentences)
    while rest:
        size = rng.randint(2, 4) if len(rest) > 4 else len(rest)
        paragraphs.append("".join(rest[:size]))
        rest = rest[size:]
    return tuple(paragraphs)


def _date(rng: random.Random, year: int) -> str:
    """A day in the year after a fiscal year."""
    return f"{year + 1}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
