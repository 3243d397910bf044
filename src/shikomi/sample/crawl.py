"""The sample crawl: WARC files of a synthetic business web, gold labels and facts beside them."""

from __future__ import annotations

import datetime
import random
from collections import Counter
from pathlib import Path

from shikomi.io import atomic, write_jsonl
from shikomi.log import Progress, silent
from shikomi.recipe.sample import SamplePage
from shikomi.sample import warc
from shikomi.sample.articles import make_articles
from shikomi.sample.draft import Draft
from shikomi.sample.noise import drafts
from shikomi.sample.skins import render
from shikomi.sample.world import FIELDS, World, make_world

PAGES_PER_FILE = 1000
LICENCE = "CC0-1.0"
_FIRST_FETCH = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
"""Later than every publication date of the sample; one page a second from there on."""

README = """Everything here is synthetic and fictional: a seeded generator (shikomi.sample) drew companies, people,
products and numbers. None of them exists; hosts end in .example, telephone numbers start with 000, mail goes to
example.jp.

warc/          request, response and metadata records, as a crawler writes them
labels.jsonl   one line a page, in crawl order: the right decision (keep, reason), the true text (without the heading),
               and for copies their cluster and similarity (Jaccard of character 5-grams, white space left out).
               A copy with 0.9 and more is to be dropped; "similar" pages (0.5 to 0.8) are to be kept.
facts.jsonl    what is true of each company; companies whose split is "eval" are in no dialogue
"""


def write_crawl(page: SamplePage, out: Path, *, progress: Progress = silent) -> dict:
    """Write ``warc/``, ``labels.jsonl``, ``facts.jsonl`` and ``README.txt`` into ``out``; the same bytes every time.

    Raises:
        RecipeError: no company would be left to tune on.
    """
    world = make_world(page)
    progress(0, 1, "pages", "writing articles")
    pages = drafts(world, make_articles(world, page))
    charsets: Counter[str] = Counter()
    for start in range(0, len(pages), PAGES_PER_FILE):
        charsets += _write_file(world, pages, start, out / "warc", progress)
    write_jsonl(out / "labels.jsonl", (draft.label() for draft in pages))
    write_jsonl(out / "facts.jsonl", facts(world))
    with atomic(out / "README.txt") as handle:
        handle.write(README)
    return {
        "synthetic": True,
        "licences": {LICENCE: len(pages)},
        "companies": len(world.companies),
        "eval_companies": len(world.of_split("eval")),
        "pages": len(pages),
        "pages_to_keep": sum(draft.keep for draft in pages),
        "pages_by_reason": dict(sorted(Counter(draft.reason for draft in pages).items())),
        "pages_by_charset": dict(sorted(charsets.items())),
        "characters_to_keep": sum(len(draft.text) for draft in pages if draft.keep),
    }


def facts(world: World) -> list[dict]:
    """Rows of ``facts.jsonl``: every fact of every company, in world order."""
    return [
        {"company": company.name, "field": field, "value": company.facts[field], "split": company.split}
        for company in world.companies
        for field in FIELDS
    ]


def _write_file(world: World, pages: list[Draft], start: int, folder: Path, progress: Progress) -> Counter[str]:
    """Write one WARC file of at most ``PAGES_PER_FILE`` pages, whole or not at all; returns its pages by charset."""
    name = f"crawl-{start // PAGES_PER_FILE:05d}.warc.gz"
    titles = [draft.title for draft in pages if draft.reason == "article"]
    charsets: Counter[str] = Counter()
    with atomic(folder / name, "wb") as handle:
        handle.write(warc.info(name, _fetched(start)))
        for index in range(start, min(start + PAGES_PER_FILE, len(pages))):
            draft = pages[index]
            response = render(random.Random(f"render:{world.seed}:{draft.url}"), draft, titles)
            handle.write(warc.exchange(draft.url, _fetched(index), response.content_type, response.body))
            charsets[response.charset] += 1
            if index % 50 == 0:
                progress(index, len(pages), "pages", name)
    progress(min(start + PAGES_PER_FILE, len(pages)), len(pages), "pages", name)
    return charsets


def _fetched(index: int) -> str:
    return (_FIRST_FETCH + datetime.timedelta(seconds=index)).strftime("%Y-%m-%dT%H:%M:%SZ")
