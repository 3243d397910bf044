"""The corpus stage on real crawl files: odd WARC dialects, and 200 real pages end to end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from shikomi.corpus.look import look
from shikomi.corpus.pipeline import build_corpus
from shikomi.corpus.text.crawl import DAMAGED, read_records
from shikomi.data.document import iterate, kept_documents
from shikomi.errors import DataError
from shikomi.recipe.corpus import CorpusPage
from tests.corpus.pages import Response, write_warc

pytestmark = pytest.mark.real

# Responses (whole, damaged) in each file of the samples; counted with the format's own tools and by reading.
SAMPLES = {
    "aut/example.arc.gz": (299, 0),
    "aut/example.warc.gz": (299, 0),
    "commoncrawl-whirlwind/whirlwind.warc": (1, 0),
    "commoncrawl-whirlwind/whirlwind.warc.gz": (1, 0),
    "commoncrawl-whirlwind/whirlwind.warc.wat.gz": (0, 0),
    "commoncrawl-whirlwind/whirlwind.warc.wet.gz": (1, 0),
    "dolma/sample-0000.warc.gz": (22, 0),
    "dolma/sample-0001.warc.gz": (15, 0),
    "jwarc/cc.warc.gz": (1, 0),
    "pywb/dupes.warc.gz": (3, 0),
    "pywb/iana.warc.gz": (48, 0),
    "resiliparse/clipped.warc.gz": (0, 1),
    "resiliparse/warcfile.warc.gz": (16, 0),
    "stormcrawler/test.warc.gz": (18, 0),
    "ukwa/BL-20140325121225068-00000-32090~opera~8443.warc.gz": (65, 0),
    "ukwa/flashfrozen-jwat-recompressed.warc.gz": (39, 0),
    "warcio/example-iana.org-chunked.warc": (1, 0),
    "warcio/example-trunc.warc": (1, 1),
    "warcio/example.warc.gz": (1, 0),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_dialect_is_read(real_data, name):
    records = list(read_records(real_data / "warc-samples" / name, max_page_bytes=2_000_000, skipped=Counter()))
    damaged = sum(record.problem == DAMAGED for record in records)
    assert (len(records) - damaged, damaged) == SAMPLES[name]
    assert all(record.url for record in records if not record.problem)


def test_the_same_crawl_in_arc_and_warc_has_the_same_pages(real_data):
    pages = []
    for name in ("aut/example.arc.gz", "aut/example.warc.gz"):
        records = read_records(real_data / "warc-samples" / name, max_page_bytes=2_000_000, skipped=Counter())
        pages.append({record.url: record.payload for record in records if record.url.startswith("http")})
    assert len(pages[0]) > 200
    assert pages[0] == pages[1]


def test_all_samples_together_end_with_a_funnel_or_say_why(real_data, tmp_path):
    warcs = [real_data / "warc-samples" / name for name in SAMPLES]
    with pytest.raises(DataError, match="no page was kept: read 83") as caught:
        build_corpus(CorpusPage(), warcs, tmp_path)  # no Japanese text of 400 letters in any of them
    assert "damaged_record 2" in str(caught.value)


@pytest.fixture(scope="module")
def built(real_data, tmp_path_factory) -> Path:
    """A corpus of the first 200 pages of one real shard, with the lenient preset."""
    folder = tmp_path_factory.mktemp("real")
    records = read_records(real_data / "crawl" / "pages-01.warc.gz", max_page_bytes=2_000_000, skipped=Counter())
    pages = [Response(r.url, r.payload, r.content_type) for r, _ in zip(records, range(200), strict=False)]
    warc = write_warc(folder / "pages.warc.gz", pages)
    facts = build_corpus(
        CorpusPage(preset="lenient"), [warc], folder / "out", licences=real_data / "crawl/manifest.tsv"
    )
    assert "unknown" not in facts["licences"]
    return folder / "out"


def test_real_pages_add_up_and_enough_are_kept(built):
    seen = look(built)
    assert seen["read"] == 200 == seen["kept"] + sum(seen["dropped_by_reason"].values())
    assert 60 < seen["kept"] < 150
    assert "damaged_record" not in seen["dropped_by_reason"]
    assert "charset" not in seen["dropped_by_reason"]


def test_kept_real_pages_are_clean_japanese(built):
    for document in kept_documents(built):
        lines = document.text.split("\n")
        assert all(line and line == line.strip() for line in lines)
        assert "\ufffd" not in document.text
        assert not any(word in lines[-1] for word in ("Copyright", "©", "All rights reserved"))
        assert document.licence


def test_what_the_manifest_calls_other_languages_is_dropped(built, real_data):
    manifest = (real_data / "crawl" / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    languages = {row.split("\t")[1]: row.split("\t")[2] for row in manifest[1:]}
    kept = Counter(languages[document.url] for document in kept_documents(built))
    everything = Counter(languages[document.url] for document in iterate(built))
    assert kept["ja"] > 0.5 * everything["ja"]
    assert sum(number for language, number in kept.items() if language != "ja") <= 0.02 * kept["ja"]
