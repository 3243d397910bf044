import collections
import html
import json
import re

import pytest
from warcio.archiveiterator import ArchiveIterator

from shikomi.corpus.pipeline import build_corpus
from shikomi.data.document import iterate
from shikomi.io import read_jsonl
from shikomi.recipe.corpus import CorpusPage
from shikomi.recipe.sample import SamplePage
from shikomi.sample.crawl import write_crawl
from shikomi.sample.likeness import jaccard
from shikomi.sample.world import FIELDS

PAGE = SamplePage(seed=5, companies=40, eval_companies=12, articles_per_company=10)


@pytest.fixture(scope="module")
def crawl(tmp_path_factory):
    out = tmp_path_factory.mktemp("crawl")
    seen = []
    summary = write_crawl(PAGE, out, progress=lambda done, total, unit, note="": seen.append((done, total, unit)))
    assert seen[-1][:2] == (summary["pages"], summary["pages"])
    return out, summary


@pytest.fixture(scope="module")
def labels(crawl):
    return [row for _, row in read_jsonl(crawl[0] / "labels.jsonl")]


@pytest.fixture(scope="module")
def responses(crawl):
    found = {}
    for path in sorted((crawl[0] / "warc").glob("*.warc.gz")):
        with open(path, "rb") as handle:
            for record in ArchiveIterator(handle, check_digests="raise"):
                if record.rec_type == "response":
                    url = record.rec_headers.get_header("WARC-Target-URI")
                    found[url] = (record.http_headers.get_header("Content-Type"), record.content_stream().read())
    return found


def test_files_are_warc_with_requests_and_metadata(crawl):
    kinds = collections.Counter()
    for path in sorted((crawl[0] / "warc").glob("*.warc.gz")):
        with open(path, "rb") as handle:
            kinds.update(record.rec_type for record in ArchiveIterator(handle))
    pages = crawl[1]["pages"]
    assert kinds["response"] == kinds["request"] == kinds["metadata"] == pages
    assert kinds["warcinfo"] >= 1


def test_labels_and_records_are_about_the_same_pages(crawl, labels, responses):
    assert len(labels) == crawl[1]["pages"] == len({label["url"] for label in labels})
    assert {label["url"] for label in labels} == set(responses)
    assert all(label["url"].split("/")[2].endswith(".example") for label in labels)


def test_every_kind_of_page_is_there(crawl, labels):
    reasons = collections.Counter(label["reason"] for label in labels)
    assert set(reasons) == {
        "article", "personal_data", "similar", "truncated", "exact_copy", "near_copy", "spam", "thin", "not_japanese"
    }  # fmt: skip
    assert {label["language"] for label in labels} == {"ja", "en", "zh", "ko"}
    assert {"utf-8", "cp932", "euc_jp"} <= set(crawl[1]["pages_by_charset"])
    noise = sum(not label["keep"] for label in labels) / len(labels)
    assert 0.12 <= noise <= 0.3


def test_copies_follow_their_original_and_have_the_similarity_they_say(labels):
    originals, exact, near, similar = {}, 0, 0, 0
    for label in labels:
        if not label["cluster"]:
            continue
        if not label["copy"]:
            originals[label["cluster"]] = label
            assert label["keep"]
            continue
        original = originals[label["cluster"]]  # KeyError: a copy stands before its original
        measured = jaccard(original["text"], label["text"])
        assert measured == pytest.approx(label["jaccard"], abs=1e-4)
        if label["copy"] == "exact":
            exact += 1
            assert label["text"] == original["text"]
        elif label["keep"]:
            similar += 1
            assert 0.5 <= measured <= 0.8
        else:
            near += 1
            assert measured >= 0.9
    assert min(exact, near, similar) >= 2


def test_charsets_are_right_missing_and_wrong(labels, responses):
    japanese = {label["url"] for label in labels if label["language"] == "ja"}
    said = collections.Counter()
    for url in japanese:
        content_type, body = responses[url]
        head = "header" if "charset" in content_type else ""
        said[head, b"charset" in body[:600]] += 1
        header = content_type.split("charset=")[-1].lower() if head else ""
        if header == "utf-8":
            try:
                body.decode("utf-8")
            except UnicodeDecodeError:
                said["wrong"] += 1
    assert said["", False] > 0
    assert said["header", False] > 0
    assert said["", True] > 0
    assert said["wrong"] > 0


def test_html_carries_the_true_text_and_a_cut_one_ends_with_it(labels, responses):
    for label in labels:
        _, body = responses[label["url"]]
        page = _decoded(body, label["language"])
        text = html.unescape(re.sub(r"<[^>]*(>|$)", "", page))
        for paragraph in label["text"].split("\n"):
            assert paragraph in text, label["url"]
        if label["reason"] == "truncated":
            assert page.rfind("<") > page.rfind(">")
            assert text.endswith(label["text"].split("\n")[-1])
        else:
            assert page.rstrip().lower().endswith("</html>")


def _decoded(body, language):
    for codec in {"zh": ("utf-8", "gb18030"), "ko": ("utf-8", "cp949")}.get(language, ("utf-8", "cp932")):
        try:
            page = body.decode(codec)
        except UnicodeDecodeError:
            continue
        if codec != "cp932" or not re.search("[\uff61-\uff9f]", page):  # half-width kana: EUC-JP read as Shift_JIS
            return page
    return body.decode("euc_jp")


def test_personal_data_belongs_to_nobody(labels):
    pages = [label for label in labels if label["reason"] == "personal_data"]
    for label in pages:
        assert "000-0000" in label["text"]
        assert "@example.jp" in label["text"]


def test_facts_are_complete_and_splits_are_by_company(crawl):
    rows = [row for _, row in read_jsonl(crawl[0] / "facts.jsonl")]
    assert len(rows) == PAGE.companies * len(FIELDS)
    splits = collections.defaultdict(set)
    for row in rows:
        splits[row["company"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert sum(found == {"eval"} for found in splits.values()) == PAGE.eval_companies


def test_the_same_page_gives_the_same_bytes(crawl, tmp_path):
    write_crawl(PAGE, tmp_path)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(crawl[0]) for path in crawl[0].rglob("*") if path.is_file())
    for name in files:
        assert (tmp_path / name).read_bytes() == (crawl[0] / name).read_bytes()


def test_the_smallest_crawl_is_written_too(tmp_path):
    summary = write_crawl(SamplePage(companies=8, eval_companies=2, articles_per_company=2), tmp_path)
    rows = [row for _, row in read_jsonl(tmp_path / "labels.jsonl")]
    assert len(rows) == summary["pages"]
    assert {row["reason"] for row in rows} >= {"article", "spam", "thin", "not_japanese"}


def test_it_says_that_it_is_synthetic(crawl):
    assert "synthetic" in (crawl[0] / "README.txt").read_text(encoding="utf-8")
    assert crawl[1]["synthetic"] is True
    assert json.dumps(crawl[1])


def test_the_documented_pipeline_decides_as_the_labels_do(crawl, labels, tmp_path):
    build_corpus(CorpusPage(), sorted((crawl[0] / "warc").glob("*.warc.gz")), tmp_path, licences=None, workers=1)
    kept = {document.url: document.verdict == "kept" for document in iterate(tmp_path)}
    right = sum(kept[label["url"]] for label in labels if label["keep"])
    assert right / sum(kept.values()) >= 0.97
    assert right / sum(label["keep"] for label in labels) >= 0.97
    assert not [label["url"] for label in labels if label["copy"] == "exact" and kept[label["url"]]]
    near = [kept[label["url"]] for label in labels if label["copy"] == "near" and label["jaccard"] >= 0.9]
    assert sum(near) <= 0.02 * len(near)
