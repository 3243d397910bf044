"""The whole corpus stage: funnel, verdicts, copies, determinism, resume, licences, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from shikomi.corpus import ledger
from shikomi.corpus.decide import open_aids
from shikomi.corpus.look import look
from shikomi.corpus.pages import read_pages
from shikomi.corpus.pipeline import build_corpus, decide_corpus
from shikomi.corpus.shards import Task, make_shard, read_summary
from shikomi.data.document import FRACTIONS, MEASURES, SCHEMA, iterate, kept_documents
from shikomi.errors import DataError
from shikomi.recipe.corpus import CorpusPage
from tests.corpus.pages import Response, html_page, japanese_text, write_warc

PAGE = CorpusPage()


def page_of(text: str, **around: str) -> bytes:
    return html_page(text, **around).encode()


def mixed_responses() -> list[Response]:
    """One page of each kind; the reason expected of it is its host's first label."""
    first = japanese_text(1, sentences=40)
    near = first[:200] + "さらに" + first[200:]
    return [
        Response("https://kept.test/a", page_of(first)),
        Response("https://exact-copy.test/", page_of(first, before="<nav><a href=/>別の店の頁</a></nav>")),
        Response("https://near-copy.test/", page_of(near)),
        Response("https://kept.test:8080/b", html_page(japanese_text(2)).encode("cp932"), "text/html"),
        Response("https://kept.test/c", html_page(japanese_text(3)).encode("euc_jp"), "text/html; charset=iso-8859-1"),
        Response("https://letters.test/", page_of(japanese_text(4, sentences=6))),
        Response(
            "https://japanese-fraction.test/",
            page_of(japanese_text(5) + "\n" + "word word. " * 400 + "\n" + japanese_text(8, 3)),
        ),
        Response("https://not-japanese.test/", page_of("The quick brown fox jumps over the lazy dog. " * 30)),
        Response(
            "https://not-japanese.test/2",
            page_of("本公司位于上海，主要从事工业产品的销售。" * 30, head='<meta lang="ja">'),
        ),
        Response("https://no-text.test/", b'<html lang="ja"><ul><li>' + "一覧の頁".encode() * 3 + b"</ul>"),
        Response("https://http-status.test/", page_of(japanese_text(6)), status="404 Not Found"),
        Response("https://not-html.test/", b'{"lang": "ja"}', "application/json"),
        Response("https://charset.test/", b'<html lang="ja">' + bytes(range(128, 256)) * 30, "text/html"),
        Response("https://too-large.test/", page_of(japanese_text(7)) + b" " * 3_000_000),
        Response("https://request.test/", b"", kind="request"),
    ]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("mixed")
    warc = write_warc(folder / "mixed.warc.gz", mixed_responses())
    return folder / "out", build_corpus(PAGE, [warc], folder / "out")


def bytes_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and "scratch" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_every_document_has_a_verdict_with_its_reason(mixed):
    out, _ = mixed
    rows = parquet.read_table(out / "shards" / "part-00000.parquet").to_pylist()
    assert len(rows) == len(mixed_responses()) - 1
    for row in rows:
        expected = row["host"].removesuffix(".test").replace("-", "_")
        assert (row["reason"] or row["verdict"]) == expected, row["url"]
        assert bool(row["detail"]) == (row["verdict"] == "dropped")
    details = {row["reason"]: row["detail"] for row in rows}
    assert details["letters"].endswith("< 400")
    assert details["japanese_fraction"].endswith("< 0.500")
    assert details["near_copy"].startswith("Jaccard 0.9")
    assert details["http_status"] == "status 404"


def test_copies_point_to_the_first_document(mixed):
    out, _ = mixed
    rows = {row["url"]: row for row in parquet.read_table(out / "shards" / "part-00000.parquet").to_pylist()}
    first = rows["https://kept.test/a"]["id"]
    assert rows["https://exact-copy.test/"]["duplicate_of"] == first
    assert rows["https://near-copy.test/"]["duplicate_of"] == first
    assert rows["https://kept.test/a"]["duplicate_of"] == ""


def test_measures_are_stored_for_dropped_documents_too(mixed):
    out, _ = mixed
    table = parquet.read_table(out / "shards" / "part-00000.parquet")
    assert table.schema.equals(SCHEMA)
    rows = {row["url"]: row for row in table.to_pylist()}
    assert rows["https://letters.test/"]["letters"] < 400
    assert all(rows["https://letters.test/"][name] is not None for name in MEASURES)
    assert all(0 <= rows["https://letters.test/"][n] <= 1 for n in FRACTIONS if n != "mean_sentence_length")
    assert rows["https://http-status.test/"]["letters"] is None


def test_charsets_and_texts_of_kept_documents(mixed):
    out, _ = mixed
    documents = list(kept_documents(out))
    assert [document.url for document in documents] == [
        "https://kept.test/a",
        "https://kept.test:8080/b",
        "https://kept.test/c",
    ]
    assert [d.text for d in documents][1:] == ["題名のある頁\n" + japanese_text(seed) for seed in (2, 3)]
    assert [document.date for document in documents] == [f"2026-04-01T00:00:0{n}Z" for n in (0, 3, 4)]
    assert len(list(iterate(out))) == len(mixed_responses()) - 1


def test_the_funnel_adds_up_and_look_shows_it(mixed):
    out, facts = mixed
    seen = look(out)
    assert seen["read"] == seen["kept"] + sum(seen["dropped_by_reason"].values()) == 14
    assert seen["kept"] == facts["kept"] == 3
    assert seen["records_skipped"] == {"request": 1}
    assert seen["characters_kept"] == sum(len(document.text) for document in kept_documents(out))
    assert seen["charsets"] == {"cp932": 1, "euc_jp": 1, "utf-8": 1}
    assert seen["hosts"][0] == {"host": "kept.test", "read": 3, "kept": 3, "characters_kept": seen["characters_kept"]}
    assert {sample["reason"] for sample in seen["samples"]["dropped"]} == set(seen["dropped_by_reason"])
    assert len(seen["samples"]["kept"]) == 3
    assert all(len(sample["excerpt"]) <= 241 for sample in seen["samples"]["kept"])
    assert "hosts" not in facts


def test_no_path_enters_the_output(mixed):
    out, _ = mixed
    assert not any(str(out.parent).encode() in data for data in bytes_of(out).values())


def test_looking_at_no_corpus_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no finished corpus here"):
        look(tmp_path)
    with pytest.raises(DataError, match="no corpus here"):
        next(kept_documents(tmp_path))


def test_a_shard_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "part-00000.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot read corpus shard"):
        next(kept_documents(tmp_path))


def test_same_bytes_with_one_worker_and_two_and_other_file_names(crawl, tmp_path):
    warcs = [crawl(f"part-{n}.warc.gz", count=3, first=2 * n) for n in range(3)]  # the parts share pages
    outs = [tmp_path / f"out-{n}" for n in range(3)]
    build_corpus(PAGE, warcs, outs[0])
    build_corpus(PAGE, warcs, outs[1], workers=2)
    renamed = [path.rename(path.with_name(f"日本語 の {path.name}")) for path in warcs]
    build_corpus(PAGE, renamed, outs[2])
    assert bytes_of(outs[0]) == bytes_of(outs[1]) == bytes_of(outs[2])
    assert look(outs[0])["dropped_by_reason"] == {"exact_copy": 2}


def test_killed_after_the_first_shard_the_next_run_ends_in_the_same_bytes(crawl, tmp_path):
    warcs = [crawl(f"part-{n}.warc.gz", count=12, first=20 * n) for n in range(4)]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    build_corpus(PAGE, warcs, whole)
    script = (
        "import sys, pathlib; from shikomi.corpus.pipeline import build_corpus; "
        "from shikomi.recipe.corpus import CorpusPage; "
        "build_corpus(CorpusPage(), [pathlib.Path(p) for p in sys.argv[2:]], pathlib.Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(broken), *map(str, warcs)])
    first = broken / "scratch" / "pages" / "shards" / "part-00000.parquet"
    deadline = time.monotonic() + 60
    while not first.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    made = first.stat().st_mtime_ns
    assert not (broken / "funnel.json").exists()
    build_corpus(PAGE, warcs, broken, workers=2)
    assert first.stat().st_mtime_ns == made  # not made again
    assert bytes_of(broken) == bytes_of(whole)


def test_a_finished_shard_of_another_page_or_input_is_made_again(crawl, tmp_path):
    shard = tmp_path / "shard.parquet"
    warc = crawl(count=2)
    make_shard(Task(warc, shard, PAGE))
    before = shard.stat().st_mtime_ns
    make_shard(Task(warc, shard, PAGE))
    assert shard.stat().st_mtime_ns == before
    make_shard(Task(warc, shard, CorpusPage.model_validate({"rules": {"min_letters": 300}})))
    assert shard.stat().st_mtime_ns == before  # a threshold changes nothing that was read
    make_shard(Task(warc, shard, CorpusPage(trim_lines=False)))
    changed = shard.stat().st_mtime_ns
    assert changed > before
    crawl(count=3)
    summary = make_shard(Task(warc, shard, CorpusPage(trim_lines=False)))
    assert shard.stat().st_mtime_ns > changed
    assert summary["records"] == 3
    assert read_summary(tmp_path / "missing.parquet") is None


def test_decisions_are_taken_again_when_a_threshold_or_the_pages_change(crawl, tmp_path):
    pages, out = tmp_path / "pages", tmp_path / "out"
    read_pages(PAGE, [crawl(count=3)], pages)
    assert decide_corpus(PAGE, pages, out)["kept"] == 3
    strict = CorpusPage.model_validate({"rules": {"min_letters": 10**6}})
    with pytest.raises(DataError, match="kept 0: letters 3"):
        decide_corpus(strict, pages, out)
    assert decide_corpus(PAGE, pages, out)["kept"] == 3
    read_pages(PAGE, [crawl(count=2)], pages)
    assert decide_corpus(PAGE, pages, out)["kept"] == 2


def test_licences_come_from_the_table_and_else_from_the_page(crawl, tmp_path):
    table = tmp_path / "licences.tsv"
    table.write_text("file\turl\tlicence\nx\thttps://example-0.test/\tCC BY 4.0\nshort line\n", encoding="utf-8-sig")
    warc = crawl(count=2)
    facts = build_corpus(CorpusPage(licence="CC0-1.0"), [warc], tmp_path / "out", licences=table)
    assert facts["licences"] == {"CC BY 4.0": 1, "CC0-1.0": 1}
    assert [document.licence for document in kept_documents(tmp_path / "out")] == ["CC BY 4.0", "CC0-1.0"]
    assert build_corpus(PAGE, [warc], tmp_path / "none")["licences"] == {"unknown": 2}


@pytest.mark.parametrize("content", ["", "url\tname\nx\ty\n"])
def test_a_licence_table_without_its_columns_is_refused(crawl, tmp_path, content):
    table = tmp_path / "licences.tsv"
    table.write_text(content)
    with pytest.raises(DataError, match="no columns url and licence") as caught:
        build_corpus(PAGE, [crawl()], tmp_path / "out", licences=table)
    assert caught.value.where == f"{table}:1"
    with pytest.raises(DataError, match="cannot read licence table"):
        build_corpus(PAGE, [crawl()], tmp_path / "out", licences=tmp_path / "missing.tsv")


def test_zero_pages_kept_is_an_error_with_the_funnel_and_a_hint(tmp_path):
    english = [Response(f"https://{n}.test/", page_of("Nothing here is Japanese. " * 40)) for n in range(3)]
    warc = write_warc(tmp_path / "english.warc.gz", english)
    with pytest.raises(DataError) as caught:
        build_corpus(PAGE, [warc], tmp_path / "out")
    assert caught.value.what == "no page was kept: read 3, kept 0: not_japanese 3"
    assert "Japanese" in caught.value.hint
    assert not (tmp_path / "out" / "funnel.json").exists()
    short = write_warc(
        tmp_path / "short.warc.gz", [Response("https://s.test/", page_of(japanese_text(1, sentences=5)))]
    )
    with pytest.raises(DataError, match="letters 1") as caught:
        build_corpus(PAGE, [short], tmp_path / "out-2")
    assert 'corpus.preset = "lenient"' in caught.value.hint


def test_an_input_without_pages_says_so(tmp_path):
    warc = write_warc(tmp_path / "requests.warc.gz", [Response("https://r.test/", b"", kind="request")])
    with pytest.raises(DataError, match="no page was kept: read 0, kept 0") as caught:
        build_corpus(PAGE, [warc], tmp_path / "out")
    assert caught.value.hint == "the files hold no page: only requests, metadata or other records"


def test_truncated_gzip_is_counted_and_the_pages_before_it_are_kept(crawl, tmp_path):
    warc = crawl(count=3)
    warc.write_bytes(warc.read_bytes()[:-300])
    build_corpus(PAGE, [warc], tmp_path / "out")
    seen = look(tmp_path / "out")
    assert (seen["read"], seen["kept"], seen["dropped_by_reason"]) == (3, 2, {"damaged_record": 1})
    assert seen["inputs"] == [{"input": "warc", "records": 3, "damaged": 1}]


def test_an_empty_file_and_a_folder_beside_good_files_are_told_and_do_no_harm(crawl, tmp_path):
    (tmp_path / "empty.warc.gz").touch()
    (tmp_path / "folder.warc.gz").mkdir()
    warcs = [tmp_path / "empty.warc.gz", tmp_path / "folder.warc.gz", crawl(count=2)]
    facts = build_corpus(PAGE, warcs, tmp_path / "out", workers=2)
    assert facts["kept"] == 2
    assert [entry["input"] for entry in look(tmp_path / "out")["inputs"]] == ["empty", "folder", "warc"]
    with pytest.raises(DataError, match="no WARC file has anything in it: only folders") as caught:
        build_corpus(PAGE, warcs[1:2], tmp_path / "out-2")
    assert "folder/*.warc.gz" in caught.value.hint


def test_a_file_that_is_no_warc_stops_the_build_before_any_page_is_read(crawl, tmp_path):
    wrong = tmp_path / "notes.txt"
    wrong.write_text("not a crawl\n" * 50)
    with pytest.raises(DataError, match="not a WARC file") as caught:
        build_corpus(PAGE, [crawl(), wrong], tmp_path / "out")
    assert caught.value.where == str(wrong)
    assert not (tmp_path / "out").exists()


def test_no_input_at_all_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no WARC files to read"):
        build_corpus(PAGE, [], tmp_path)


def test_more_damage_than_the_page_allows_is_an_error(tmp_path):
    warc = write_warc(
        tmp_path / "d.warc.gz", [Response(f"https://{n}.test/", page_of(japanese_text(n))) for n in range(30)]
    )
    data = bytearray(warc.read_bytes())
    starts = [at for at in range(len(data)) if data[at : at + 3] == b"\x1f\x8b\x08"]
    for start in starts[1:26:2]:
        data[start + 400] ^= 0xFF
    warc.write_bytes(data)
    page = CorpusPage(max_damaged_share=0.2)
    with pytest.raises(DataError, match=r"1\d of \d+ records are damaged") as caught:
        build_corpus(page, [warc], tmp_path / "out")
    assert str(warc) in caught.value.where
    assert build_corpus(CorpusPage(max_damaged_share=0.9), [warc], tmp_path / "out")["kept"] >= 10


def test_copies_can_be_left_in(tmp_path):
    text = japanese_text(1, sentences=40)
    texts = [text, text, text[:200] + "さらに" + text[200:]]
    warc = write_warc(tmp_path / "c.warc.gz", [Response(f"https://{n}.test/", page_of(t)) for n, t in enumerate(texts)])

    def reasons(**copies) -> dict[str, int]:
        out = tmp_path / json.dumps(copies)
        return build_corpus(CorpusPage.model_validate({"copies": copies}), [warc], out)["dropped_by_reason"]

    assert reasons() == {"exact_copy": 1, "near_copy": 1}
    assert reasons(near=False) == {"exact_copy": 1}
    assert reasons(exact=False) == {"near_copy": 2}
    assert reasons(exact=False, near=False) == {}
    assert reasons(bands=14, rows=8) == {"exact_copy": 1, "near_copy": 1}


def test_progress_is_told_bytes_until_all_are_read(crawl, tmp_path):
    told: list[tuple[float, float, str]] = []
    warcs = [crawl(f"{n}.warc.gz", count=2, first=5 * n) for n in range(2)]

    def tell(done: float, total: float, unit: str, note: str = "") -> None:
        told.append((done, total, unit))

    build_corpus(PAGE, warcs, tmp_path / "out", progress=tell)
    reading = [entry for entry in told if entry[2] == "bytes"]
    total = sum(path.stat().st_size for path in warcs)
    assert reading[-1] == (total, total, "bytes")
    assert [entry[0] for entry in reading] == sorted(entry[0] for entry in reading)
    assert told[-1] == (2, 2, "shards")


def test_what_a_page_says_of_its_use_is_recorded_and_drops_it_where_the_recipe_says_so(tmp_path):
    pages = [page_of(japanese_text(seed)) for seed in (1, 2, 3)]
    marked = page_of(japanese_text(4), head='<meta name="robots" content="noindex">')
    warc = write_warc(
        tmp_path / "a.warc.gz",
        [
            Response("https://free.test/", pages[0]),
            Response("https://noai.test/", pages[1], headers=[("X-Robots-Tag", "noai, noindex")]),
            Response("https://tdm.test/", pages[2], headers=[("TDM-Reservation", "1")]),
            Response("https://noindex.test/", marked),
        ],
    )
    build_corpus(PAGE, [warc], tmp_path / "out")
    rows = parquet.read_table(tmp_path / "out" / "shards" / "part-00000.parquet").to_pylist()
    assert [(row["signs"], row["reason"], row["detail"]) for row in rows] == [
        ("", "", ""),
        ("noai,noindex", "opted_out", "sign noai"),
        ("tdm", "opted_out", "sign tdm"),
        ("noindex", "", ""),
    ]
    strict = CorpusPage.model_validate({"opt_out": {"signs": ["noindex"]}})
    build_corpus(strict, [warc], tmp_path / "strict")
    assert [d.url for d in kept_documents(tmp_path / "strict")] == ["https://free.test/", "https://tdm.test/"]


def test_decisions_take_lists_scores_and_masks_in_their_order(tmp_path):
    spam = japanese_text(3) + "\n" + "違法な言葉" * 60
    private = japanese_text(4) + "\n連絡先は山田太郎、電話 090-1234-5678、メール taro@example.jp です。"
    warc = write_warc(
        tmp_path / "a.warc.gz",
        [
            Response("https://gone.test/x", page_of(japanese_text(1))),
            Response("https://sub.shop.test/", page_of(japanese_text(2))),
            Response("https://spam.test/", page_of(spam)),
            Response("https://private.test/", page_of(private)),
        ],
    )
    files = {
        "words": ("違法な言葉\n", "words.txt"),
        "urls": ("shop.test\n", "domains.txt"),
        "opt_out": ("host gone.test\n", "out.txt"),
    }
    named = {}
    for name, (text, file) in files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
        named[name] = [tmp_path / file]
    page = CorpusPage.model_validate({"rules": {"max_max_sentence_length": -1, "max_mean_sentence_length": -1}})
    read_pages(page, [warc], tmp_path / "pages")
    aids = open_aids(page, tmp_path / "scratch", **named)
    facts = decide_corpus(page, tmp_path / "pages", tmp_path / "out", aids=aids)
    rows = parquet.read_table(tmp_path / "out" / "shards" / "part-00000.parquet").to_pylist()
    assert [row["reason"] for row in rows[:2]] == ["opted_out", "url_category"]
    assert (rows[0]["text"], rows[0]["characters"]) == ("", 0)
    assert rows[1]["text"]
    assert rows[2]["reason"] in ("ng_fraction", "duplicate_5gram_fraction")
    assert rows[3]["verdict"] == "kept"
    assert "090-1234-5678" not in rows[3]["text"]
    assert "taro@example.jp" not in rows[3]["text"]
    assert rows[3]["masked"] == 2
    assert facts["masked"] == {"mail": 1, "phone": 1}
    assert rows[3]["characters"] == len(rows[3]["text"])


def test_evaluation_sets_and_boilerplate_come_off_kept_texts(tmp_path):
    question = "架空の国の首都にある時計台は、どの建築家が何年に設計したものでしょうか。"
    answer = "時計台は風祭という建築家が大正時代に設計したと伝えられています。"
    (tmp_path / "eval.jsonl").write_text(json.dumps({"q": question, "a": answer}) + "\n", encoding="utf-8")
    shared = "この文は店のどの頁の最後にも置かれている決まり文句であります。"
    responses = [Response(f"https://shop.test/{n}", page_of(japanese_text(n) + "\n" + shared)) for n in range(4)]
    leak = japanese_text(9) + f"\n{question}{answer}"
    warc = write_warc(tmp_path / "a.warc.gz", [*responses, Response("https://leak.test/", page_of(leak))])
    page = CorpusPage.model_validate(
        {
            "copies": {"boilerplate": True, "boilerplate_documents": 3},
            "decontaminate": {"sets": [{"name": "時計台", "path": "eval.jsonl", "fields": ["q", "a"]}]},
        }
    )
    read_pages(page, [warc], tmp_path / "pages")
    aids = open_aids(page, tmp_path / "scratch", sets=[[tmp_path / "eval.jsonl"]])
    decide_corpus(page, tmp_path / "pages", tmp_path / "out", aids=aids)
    texts = {document.url: document.text for document in kept_documents(tmp_path / "out")}
    assert sorted(texts) == [f"https://shop.test/{n}" for n in range(4)]
    assert not any(shared in text for text in texts.values())
    dropped = [document for document in iterate(tmp_path / "out") if document.verdict == "dropped"]
    assert [(document.url, document.reason) for document in dropped] == [("https://leak.test/", "contaminated")]
    told = json.loads((tmp_path / "out" / "contamination.json").read_text(encoding="utf-8"))
    assert told["sets"]["時計台"]["leaked_items"] == 1
    assert told["documents"] == {"dropped": 1}


def test_text_of_a_wet_file_becomes_documents(tmp_path):
    text = japanese_text(6)
    warc = write_warc(
        tmp_path / "a.warc.wet.gz",
        [
            Response("https://wet.test/", f"\n{text}\n\n".encode(), kind="conversion"),
            Response("https://english.test/", b"Nothing Japanese here. " * 40, kind="conversion"),
            Response("https://broken.test/", "文".encode()[:2] * 300, kind="conversion"),
            Response("https://long.test/", "長い文。".encode() * 300_000, kind="conversion"),
            Response("https://info.test/", b"", kind="warcinfo"),
        ],
    )
    facts = build_corpus(PAGE, [warc], tmp_path / "out")
    assert [(document.url, document.text) for document in kept_documents(tmp_path / "out")] == [
        ("https://wet.test/", text)
    ]
    assert facts["dropped_by_reason"] == {"charset": 1, "not_japanese": 1, "too_large": 1}
    (row,) = ledger.read(tmp_path / "out")
    assert (row["records"], row["kept"], row["dropped"]) == (4, 1, 3)
    ledger.check(tmp_path / "out")
