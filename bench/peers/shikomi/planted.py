"""Planted copies: texts of the given pages, copied exactly and nearly into pages of their own, through the whole stage.

Every copy's true similarity to its original is computed from the texts the stage wrote (Jaccard over character
5-grams). Recall is over planted pairs of 0.9 and more; a removal is right if the two texts it joins reach 0.7.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import random
from collections import Counter
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from shikomi.corpus.pipeline import build_corpus
from shikomi.corpus.text.charset import decode
from shikomi.corpus.text.crawl import read_records
from shikomi.corpus.text.extract import comparable, running_text
from shikomi.corpus.text.japanese import is_japanese, may_be_japanese
from shikomi.data.document import iterate
from shikomi.recipe.corpus import CorpusPage, RulesPage

ORIGINALS, LONGEST, SHORTEST = 240, 20_000, 400
EDITS = {"near": (0.90, 0.99), "edge": (0.80, 0.90), "far": (0.40, 0.69)}


def grams(text: str) -> set[str]:
    plain = comparable(text)
    return {plain[i : i + 5] for i in range(max(1, len(plain) - 4))}


def jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def originals(warcs: list[Path]) -> list[str]:
    """Japanese texts of the given pages, one in so many, no two the same."""
    texts: dict[str, None] = {}
    for path in warcs:
        for record in read_records(path, max_page_bytes=CorpusPage().max_page_bytes, skipped=Counter()):
            if record.problem or not may_be_japanese(record.payload, record.content_type):
                continue
            decoded = decode(record.payload, record.content_type)
            text = running_text(decoded[0]) if decoded else ""
            if SHORTEST <= len(text) <= LONGEST and is_japanese(text)[0]:
                texts.setdefault(text)
        if len(texts) > 4 * ORIGINALS:
            break
    every = max(1, len(texts) // ORIGINALS)
    return list(texts)[::every][:ORIGINALS]


def edited(text: str, low: float, high: float, rnd: random.Random) -> str | None:
    """A text changed in places until its similarity lies between ``low`` and ``high``; None if that does not happen."""
    start, wanted = grams(text), rnd.uniform(low, high)
    changed = text
    for _ in range(4_000):
        place = rnd.randrange(len(changed))
        kind = rnd.random()
        if changed[place] == "\n":
            continue
        if kind < 0.5:
            changed = changed[:place] + rnd.choice("あいうえおかきくけこ日本語新製品") + changed[place + 1 :]
        elif kind < 0.8:
            changed = changed[:place] + changed[place + rnd.randint(1, 4) :]
        else:
            changed = (
                changed[:place] + "".join(rnd.sample("はがをにでともへやのなど", rnd.randint(1, 5))) + changed[place:]
            )
        if rnd.random() < 400 / len(text) or len(text) < 3_000:
            now = jaccard(start, grams(changed))
            if now <= wanted:
                return changed if now >= low else None
    return None


def write_pages(pages: dict[str, str], path: Path) -> None:
    """A WARC of plain pages, one paragraph a line."""
    buffer = io.BytesIO()
    writer = WARCWriter(buffer, gzip=True)
    for url, text in pages.items():
        body = "".join(f"<p>{html.escape(line)}</p>\n" for line in text.split("\n"))
        page = f'<!DOCTYPE html><html lang="ja"><meta charset="utf-8"><body><article>{body}</article></body></html>'
        http = StatusAndHeaders("200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1")
        dated = {"WARC-Date": "2026-04-01T00:00:00Z"}
        payload = io.BytesIO(page.encode("utf-8", "replace"))
        writer.write_record(
            writer.create_warc_record(url, "response", payload=payload, http_headers=http, warc_headers_dict=dated)
        )
    path.write_bytes(buffer.getvalue())


def plant(texts: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Pages by address, originals first, and each copy's original."""
    rnd = random.Random(5)
    pages = {f"https://planted.test/{number}/original": text for number, text in enumerate(texts)}
    copies: dict[str, tuple[str, str]] = {}
    for number, text in enumerate(texts):
        original = f"https://planted.test/{number}/original"
        copies[f"https://planted.test/{number}/exact"] = (original, text)
        for name, (low, high) in EDITS.items():
            changed = edited(text, low, high, rnd)
            if changed:
                copies[f"https://planted.test/{number}/{name}"] = (original, changed)
    order = list(copies)
    rnd.shuffle(order)
    return {**pages, **{url: copies[url][1] for url in order}}, {url: copies[url][0] for url in copies}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("warc", type=Path, nargs="+")
    arguments = parser.parse_args()
    pages, original_of = plant(originals(arguments.warc))
    write_pages(pages, arguments.out / "planted.warc.gz")
    rules = RulesPage(**dict.fromkeys(CorpusPage(preset="lenient").thresholds(), -1.0))
    page = CorpusPage(preset="lenient", rules=rules)
    build_corpus(page, [arguments.out / "planted.warc.gz"], arguments.out / "corpus")
    documents = {document.url: document for document in iterate(arguments.out / "corpus")}
    print(json.dumps(scored(documents, original_of, arguments.out / "corpus")))


def scored(documents: dict, original_of: dict[str, str], corpus: Path) -> dict:
    """Recall over planted pairs, precision over removals."""
    import pyarrow.parquet as parquet

    sets = {url: grams(document.text) for url, document in documents.items() if document.text}
    url_of = {document.id: url for url, document in documents.items()}
    pairs, found, edge = 0, 0, Counter()
    for url, original in original_of.items():
        if url not in sets or original not in sets:
            continue
        similarity = jaccard(sets[url], sets[original])
        # Which of a cluster stays is not said by the order of the pages: one of the two has to go.
        gone = any(documents[one].reason in ("exact_copy", "near_copy") for one in (url, original))
        if similarity >= 0.9:
            pairs += 1
            found += gone
        elif similarity >= 0.7:
            edge["removed" if gone else "kept"] += 1
    table = parquet.read_table(sorted((corpus / "shards").glob("*.parquet")), columns=["url", "reason", "duplicate_of"])
    removed = [row for row in table.to_pylist() if row["reason"] in ("exact_copy", "near_copy")]
    right = sum(jaccard(sets[row["url"]], sets[url_of[row["duplicate_of"]]]) >= 0.7 for row in removed)
    return {
        "originals": sum(url.endswith("original") for url in sets),
        "pairs": pairs,
        "recall": round(found / pairs, 5) if pairs else None,
        "removed": len(removed),
        "precision": round(right / len(removed), 5) if removed else None,
        "between_0.7_and_0.9": dict(edge),
    }


if __name__ == "__main__":
    main()
