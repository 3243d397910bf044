"""What makes a crawl a crawl: copies, spam, thin and foreign pages, personal data, pages cut off; with gold labels."""

from __future__ import annotations

import dataclasses
import itertools
import random

from shikomi.sample import tables
from shikomi.sample.articles import (
    MAX_REPEATED_SHARE,
    MIN_JAPANESE_LETTERS,
    Article,
    again,
    fact_sentences,
    japanese_letters,
)
from shikomi.sample.draft import Draft
from shikomi.sample.likeness import jaccard, repeated_share
from shikomi.sample.world import FIELDS, Company, World

SHARES = {
    "exact_copy": 0.05,
    "near_copy": 0.055,
    "similar": 0.02,
    "spam": 0.03,
    "thin": 0.04,
    "en": 0.02,
    "zh": 0.012,
    "ko": 0.012,
    "truncated": 0.02,
    "personal_data": 0.02,
}
"""Pages of each kind as a share of the articles. The last two are made of articles, the others come on top."""

NEAR = (0.925, 0.995)
SIMILAR = (0.5, 0.78)
"""Jaccard of near copies (dropped) and of pages that only share passages (kept). Between them lies the threshold of
usual near-duplicate removal (0.8 to 0.9), where no decision is plainly right, so nothing is planted there."""

CUT_KEPT, CUT_DROPPED = 445, 300
"""Japanese letters left of a page cut off: at least so many if it is to be kept, at most so many if not."""

MIRRORS = ("matome-biz.example", "tenkai-news.example", "clip-sangyo.example", "rss-reader-jp.example")
SPAM_HOSTS = ("otoku-navi.example", "kuji-rank.example", "gekiyasu-mart.example")
FOREIGN_HOSTS = ("world-makers.example", "asia-firms.example")


def drafts(world: World, articles: list[Article]) -> list[Draft]:
    """All pages of a crawl in its order; every original stands before its copies."""
    rng = random.Random(f"noise:{world.seed}")
    companies = {company.name: company for company in world.companies}
    pages = [_page(article) for article in articles]
    count = {kind: max(2, round(share * len(articles))) for kind, share in SHARES.items()}
    taken = iter(rng.sample(range(len(pages)), len(pages)))  # each article is made into one kind at most
    for index in itertools.islice(taken, count["personal_data"]):
        pages[index] = with_contact(rng, pages[index])
    for turn, index in enumerate(itertools.islice(taken, count["truncated"])):
        pages[index] = cut_off(rng, pages[index], keep=turn % 2 == 0)
    copies: list[tuple[int, Draft]] = []
    for kind in ("exact_copy", "near_copy", "similar"):
        goal = len(copies) + count[kind]
        while len(copies) < goal and (index := next(taken, None)) is not None:
            page = dataclasses.replace(pages[index], cluster=f"c{index:05d}")
            made = _copies(rng, kind, page, companies.get(page.company))
            if made:
                pages[index] = page
                copies += [(index, copy) for copy in made]
    others = [spam(rng, number) for number in range(count["spam"])]
    others += [thin(rng, rng.choice(world.companies), number) for number in range(count["thin"])]
    for language in ("en", "zh", "ko"):
        for number in range(count[language]):
            others.append(foreign(rng, rng.choice(world.companies), language, number))
    return _in_order(rng, pages, others, copies)


def _in_order(
    rng: random.Random, pages: list[Draft], others: list[Draft], copies: list[tuple[int, Draft]]
) -> list[Draft]:
    """Shuffle, then give every copy a random place after its original."""
    placed = [(rng.random(), page) for page in (*pages, *others)]
    for index, copy in copies:
        placed.append((rng.uniform(placed[index][0], 1.0), copy))
    placed.sort(key=lambda pair: (pair[0], pair[1].copy != "", pair[1].url))
    return [page for _, page in placed]


def _page(article: Article) -> Draft:
    year, month, _ = article.date.split("-")
    path = f"{article.genre}" if article.genre in ("profile", "recruit", "results") else f"{year}/{month}"
    return Draft(
        url=f"https://{article.host}/{path}/{article.id}.html",
        title=article.title,
        paragraphs=article.paragraphs,
        date=article.date,
        reason="article",
        keep=True,
        company=article.companies[0] if article.companies and article.genre != "guide" else "",
    )


def with_contact(rng: random.Random, page: Draft) -> Draft:
    """The same page with a paragraph of personal data that can belong to nobody (000-0000-…, example.jp)."""
    surname, given = rng.choice(tables.words("surname")), rng.choice(tables.words("given"))
    line = rng.choice(tables.section("noise", "contact")).format(
        c=page.company or "編集部",
        person=surname[0] + given[0],
        number=f"{rng.randrange(10000):04d}",
        mail=f"{given[1]}.{surname[1]}".lower(),
    )
    place = rng.randint(1, len(page.paragraphs))
    paragraphs = (*page.paragraphs[:place], line, *page.paragraphs[place:])
    return dataclasses.replace(page, paragraphs=paragraphs, reason="personal_data")


def cut_off(rng: random.Random, page: Draft, *, keep: bool) -> Draft:
    """The same page as a broken connection leaves it: its text ends in mid-sentence, its HTML in mid-tag."""
    total = japanese_letters(page.text)
    low, high = (min(CUT_KEPT, total), total) if keep else (80, CUT_DROPPED)
    goal, left, paragraphs = rng.randint(low, high), 0, []
    for paragraph in page.paragraphs:
        letters = japanese_letters(paragraph)
        if left + letters >= goal:
            paragraphs.append(_first_letters(paragraph, goal - left))
            break
        paragraphs.append(paragraph)
        left += letters
    kept = tuple(paragraph for paragraph in paragraphs if paragraph)
    return dataclasses.replace(page, paragraphs=kept, reason="truncated", keep=keep, cut=True)


def _first_letters(text: str, count: int) -> str:
    for end in range(len(text) + 1):
        if japanese_letters(text[:end]) >= count:
            return text[:end]
    return text


def _copies(rng: random.Random, kind: str, page: Draft, company: Company | None) -> list[Draft]:
    """Copies of one page: one to three exact ones, one or two near ones, or one page that shares passages."""
    if kind == "exact_copy":
        number = rng.choice((1, 1, 1, 2, 3))
        same = dataclasses.replace(page, reason=kind, keep=False, copy="exact", jaccard=1.0)
        return [dataclasses.replace(same, url=_copy_url(rng, page, turn)) for turn in range(number)]
    if kind == "similar":
        found = shares_passages(rng, page, company) if company else None
        return [dataclasses.replace(found, url=_copy_url(rng, page, 0))] if found else []
    number = rng.choice((1, 1, 2))
    edited = [near_copy(rng, page) for _ in range(number)]
    return [dataclasses.replace(copy, url=_copy_url(rng, page, turn)) for turn, copy in enumerate(edited) if copy]


def _copy_url(rng: random.Random, page: Draft, turn: int) -> str:
    path = page.url.split("/", 3)[3]
    if rng.random() < 0.4:
        return f"https://{page.host}/" + (f"print/{turn}/{path}" if rng.random() < 0.5 else f"{path}?from=rss{turn}")
    return f"https://{MIRRORS[rng.randrange(len(MIRRORS))]}/{turn}/{page.host.split('.')[0]}/{path}"


def near_copy(rng: random.Random, page: Draft) -> Draft | None:
    """A copy with small edits (a sentence left out, a note added, other brackets), of measured similarity ``NEAR``."""
    for _ in range(20):
        paragraphs = [_sentences(paragraph) for paragraph in page.paragraphs]
        for edit in rng.sample((_leave_out, _add_note, _other_brackets, _rejoin), rng.randint(1, 3)):
            edit(rng, paragraphs)
        copy = _edited(page, paragraphs, "near_copy", keep=False)
        enough = japanese_letters(copy.text) >= MIN_JAPANESE_LETTERS - 40
        if enough and NEAR[0] <= copy.jaccard <= NEAR[1]:
            return copy
    return None


def shares_passages(rng: random.Random, page: Draft, company: Company) -> Draft | None:
    """A later article that takes over much of an earlier one: similarity ``SIMILAR``, to be kept."""
    polite = page.text.count("ます。") + page.text.count("です。") > page.text.count("る。")
    for _ in range(20):
        sentences = [sentence for paragraph in page.paragraphs for sentence in _sentences(paragraph)]
        kept = sentences[: max(2, round(len(sentences) * rng.uniform(0.7, 0.86)))]
        fresh = again(rng, company, len(sentences) - len(kept) + 1, polite)
        middle = rng.randint(2, len(kept))
        copy = _edited(page, [kept[:middle], fresh, kept[middle:]], "similar", keep=True)
        fit = SIMILAR[0] <= copy.jaccard <= SIMILAR[1] and repeated_share(copy.text) <= MAX_REPEATED_SHARE
        if fit and japanese_letters(copy.text) >= MIN_JAPANESE_LETTERS:
            return copy
    return None


def _edited(page: Draft, paragraphs: list[list[str]], reason: str, *, keep: bool) -> Draft:
    texts = tuple("".join(sentences) for sentences in paragraphs if sentences)
    same = round(jaccard(page.text, "\n".join(texts)), 4)
    return dataclasses.replace(page, paragraphs=texts, reason=reason, keep=keep, copy="near", jaccard=same)


def _sentences(paragraph: str) -> list[str]:
    return [part + "。" for part in paragraph.split("。") if part]


def _leave_out(rng: random.Random, paragraphs: list[list[str]]) -> None:
    sentences = rng.choice(paragraphs)
    if len(sentences) > 1:
        sentences.pop(rng.randrange(len(sentences)))


def _add_note(rng: random.Random, paragraphs: list[list[str]]) -> None:
    rng.choice(paragraphs).append(rng.choice(tables.section("noise", "addition")))


def _other_brackets(rng: random.Random, paragraphs: list[list[str]]) -> None:
    marks = rng.choice((("『", "』"), ("“", "”"), ("", "")))
    for sentences in paragraphs:
        for index, sentence in enumerate(sentences):
            if "「" in sentence:
                sentences[index] = sentence.replace("「", marks[0]).replace("」", marks[1])
                return


def _rejoin(rng: random.Random, paragraphs: list[list[str]]) -> None:
    """Other paragraph breaks: no change of the 5-grams, but of the lines."""
    if len(paragraphs) > 1:
        index = rng.randrange(len(paragraphs) - 1)
        paragraphs[index] += paragraphs.pop(index + 1)


def spam(rng: random.Random, number: int) -> Draft:
    """Keyword stuffing: the same few phrases again and again, or a bare row of keywords."""
    first, second, third = rng.sample(tables.section("noise", "spam_word"), 3)
    patterns = [line.format(a=first, b=second) for line in tables.section("noise", "spam")]
    paragraphs = []
    for _ in range(rng.randint(6, 14)):
        if number % 3 == 2:
            paragraphs.append(" ".join(rng.choice((first, second, third)) for _ in range(30)))
        else:
            paragraphs.append("".join(rng.choice(patterns) for _ in range(5)))
    host, date = rng.choice(SPAM_HOSTS), f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return Draft(
        f"https://{host}/p/{number:04d}.html", f"{first}の{second}", tuple(paragraphs), date, "spam", keep=False
    )


def thin(rng: random.Random, company: Company, number: int) -> Draft:
    """A page with next to nothing on it: a notice, or one or two sentences about a company."""
    if number % 2:
        lines = [rng.choice(tables.section("noise", "thin")).format(c=company.name)]
        name = ""
    else:
        lines = fact_sentences(rng, company, rng.sample(FIELDS, rng.randint(1, 3)), polite=True)
        name = company.name
    host = company.latin.lower().replace(" ", "-")
    date = f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    url = f"https://{host}.example/info/{number:04d}.html"
    return Draft(url, f"{company.name}からのお知らせ", ("".join(lines),), date, "thin", keep=False, company=name)


def foreign(rng: random.Random, company: Company, language: str, number: int) -> Draft:
    """A page in English, Chinese or Korean about a company of this world."""
    slots = {"lc": company.latin, **{f"l_{field}": value for field, value in company.facts_latin.items()}}
    lines = [line.format(**slots) for line in tables.section("noise", language)]
    chosen = lines[:1] + rng.sample(lines[1:], rng.randint(7, len(lines) - 1))
    joint = " " if language != "zh" else ""
    paragraphs = tuple(joint.join(chosen[start : start + 3]) for start in range(0, len(chosen), 3))
    title = rng.choice(tables.section("noise", f"foreign_title.{language}")).format(**slots)
    date = f"2025-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    url = f"https://{rng.choice(FOREIGN_HOSTS)}/{language}/{number:04d}.html"
    return Draft(url, title, paragraphs, date, "not_japanese", keep=False, company=company.name, language=language)
