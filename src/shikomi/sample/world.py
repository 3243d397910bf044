"""The fictional world: companies with consistent facts, split into those tuned on and those only crawled."""

from __future__ import annotations

import random
from dataclasses import dataclass

from shikomi.errors import RecipeError
from shikomi.recipe.sample import SamplePage
from shikomi.sample import tables

FIELDS: tuple[str, ...] = ("founded", "head_office", "president", "product", "employees", "business")
"""The facts that can be asked about, in the order in which files list them."""

FIRST_YEAR, LAST_YEAR = 1948, 2021
FIRST_RESULT_YEAR, NUM_RESULT_YEARS = 2022, 3
"""Fiscal years with published results: later than every founding."""


@dataclass(frozen=True)
class Company:
    """One fictional company.

    Attributes:
        name: its name, unique in the world.
        latin: the name in Latin letters, unique too.
        facts: value of each of ``FIELDS`` as articles write it (``1987年``, ``京都市``, ``320名``).
        facts_latin: the same in English words.
        split: ``tune`` (in dialogues and preferences) or ``eval`` (in the crawl and the questions alone).
        revenue: yearly sales in units of 100 million yen (億円), by fiscal year.
        rise: sales of that year less the year before's, in the same unit, by fiscal year.
    """

    name: str
    latin: str
    facts: dict[str, str]
    facts_latin: dict[str, str]
    split: str
    revenue: dict[int, int]
    rise: dict[int, int]


@dataclass(frozen=True)
class World:
    """All companies, in a fixed order, and the seed they came from."""

    seed: int
    companies: tuple[Company, ...]

    def of_split(self, split: str) -> list[Company]:
        """Companies of ``tune`` or ``eval``, in world order."""
        return [company for company in self.companies if company.split == split]


def make_world(page: SamplePage) -> World:
    """Draw the companies of one seed.

    Raises:
        RecipeError: no company would be left to tune on.
    """
    if page.eval_companies >= page.companies:
        raise RecipeError(
            f"{page.eval_companies} evaluation companies leave none of {page.companies} to tune on",
            where="sample.eval_companies",
            hint="set it below sample.companies",
        )
    rng = random.Random(f"world:{page.seed}")
    names = _names(rng, page.companies)
    products = _pairs(rng, "product_first", "product_last", page.companies)
    presidents = _pairs(rng, "surname", "given", page.companies, second_first=True)
    evaluated = set(rng.sample(range(page.companies), page.eval_companies))
    companies = []
    for index, (name, latin, business) in enumerate(names):
        split = "eval" if index in evaluated else "tune"
        companies.append(_company(rng, name, latin, business, products[index], presidents[index], split))
    return World(seed=page.seed, companies=tuple(companies))


def _company(
    rng: random.Random,
    name: str,
    latin: str,
    business: tuple[str, str],
    product: tuple[str, str],
    president: tuple[str, str],
    split: str,
) -> Company:
    city = rng.choice(tables.words("city"))
    founded = rng.randint(FIRST_YEAR, LAST_YEAR)
    employees = rng.randrange(40, 990, 10)
    sales = max(3, round(employees * rng.uniform(0.08, 0.4)))
    revenue, rise = {}, {}
    for year in range(FIRST_RESULT_YEAR, FIRST_RESULT_YEAR + NUM_RESULT_YEARS):
        rise[year] = rng.randint(1, max(1, sales // 12) + 1)
        sales += rise[year]
        revenue[year] = sales
    facts = (f"{founded}年", city[0], president[0], product[0], f"{employees}名", business[0])
    english = (str(founded), city[1], president[1], product[1], f"{employees} employees", business[1])
    return Company(
        name,
        latin,
        dict(zip(FIELDS, facts, strict=True)),
        dict(zip(FIELDS, english, strict=True)),
        split,
        revenue,
        rise,
    )


def _names(rng: random.Random, count: int) -> list[tuple[str, str, tuple[str, str]]]:
    """Names, and a business each that its second part may go with; first parts recur only when all are used."""
    businesses = tables.words("business")
    suffixes = []
    for line in tables.section("words", "suffix"):
        surface, latin, fitting = line.split()
        suffixes.append((surface, latin, [int(index) for index in fitting.split(",")]))
    firsts = list(tables.words("first"))
    found, taken = [], set()
    while len(found) < count:
        rng.shuffle(firsts)
        for first, first_latin in firsts[: count - len(found)]:
            free = [suffix for suffix in suffixes if first_latin + suffix[1] not in taken]
            surface, latin, fitting = rng.choice(free)
            taken.add(first_latin + latin)
            found.append((first + surface, f"{first_latin} {latin}", businesses[rng.choice(fitting)]))
    return found


def _pairs(
    rng: random.Random, first: str, last: str, count: int, *, second_first: bool = False
) -> list[tuple[str, str]]:
    """``count`` pairs of two word lists, all different while the lists allow; ``second_first``: English order."""
    joined = []
    for surface, latin in tables.words(first):
        for surface_last, latin_last in tables.words(last):
            english = f"{latin_last} {latin}" if second_first else f"{latin}{latin_last}"
            joined.append((surface + surface_last, english))
    rounds = -(-count // len(joined))
    return rng.sample(joined * rounds, count) if rounds > 1 else rng.sample(joined, count)
