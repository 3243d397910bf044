"""Keep and drop against the gold labels of the sample crawl, and its planted copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.corpus.pipeline import build_corpus
from shikomi.data.document import iterate
from shikomi.io import read_jsonl
from shikomi.recipe.corpus import CorpusPage
from shikomi.recipe.sample import SamplePage
from shikomi.sample.crawl import write_crawl


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> list[tuple[dict, str]]:
    """Gold label and our verdict of every page of a small sample."""
    folder: Path = tmp_path_factory.mktemp("gold")
    sample = SamplePage(seed=3, companies=40, eval_companies=16, articles_per_company=8)
    write_crawl(sample, folder / "crawl")
    build_corpus(CorpusPage(), sorted((folder / "crawl" / "warc").glob("*.warc.gz")), folder / "corpus")
    labels = {label["url"]: label for _, label in read_jsonl(folder / "crawl" / "labels.jsonl")}
    return [(labels[document.url], document.verdict) for document in iterate(folder / "corpus")]


def test_precision_and_recall_of_keeping_reach_97_percent(judged):
    kept = [label["keep"] for label, verdict in judged if verdict == "kept"]
    wanted = [verdict == "kept" for label, verdict in judged if label["keep"]]
    assert len(kept) > 200
    assert len(judged) - len(wanted) > 50
    assert sum(kept) >= 0.97 * len(kept)
    assert sum(wanted) >= 0.97 * len(wanted)


def test_planted_copies_are_removed(judged):
    exact = [verdict for label, verdict in judged if label["copy"] == "exact"]
    near = [verdict for label, verdict in judged if label["copy"] == "near" and label["jaccard"] >= 0.9]
    assert len(exact) >= 10
    assert len(near) >= 10
    assert set(exact) == {"dropped"}
    assert near.count("dropped") >= 0.98 * len(near)
