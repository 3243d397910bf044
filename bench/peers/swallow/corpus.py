"""The method of Swallow corpus v1, re-implemented as it is described: warcio, Trafilatura, rules in pure Python.

Stages: WARC records with warcio through gzip; a quick Japanese test on ``<html lang=ja>`` or the title (decoded as
UTF-8, Shift_JIS or EUC-JP, the first that fits) by a linear classifier over character 1- to 3-grams; extraction with
Trafilatura from bytes, without comments and tables; the classifier on the text; all quality measures with Counters and
the scan for listed words, then the decision; host rules; near copies (40 x 20 MinHash values over character 5-grams);
punctuation and footer; JSON lines, gzipped.

Stand-ins, and whom each favours:

- The classifier's weights are made in place, of the published size, and decide by the share of kana (neither).
- The word list is made up, of the published size (3,045); a look-up by first character stands for the C++ trie, the
  quadratic encoding around it is as published (the peer: no word is found, so no long match is made).
- The host list is empty (neither: a look-up costs nothing).
- MinHash is numpy instead of C++ with cheaper mixing (about even: the C++ program makes 65 to 104 pages a second of
  12,000 characters, numpy about 100).
- One process instead of three over pipes, no JSON between stages (the peer).
- What is dropped is not written; ours writes every page with all measures (the peer).
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import math
import re
import urllib.parse
from importlib.metadata import version
from pathlib import Path

import rules
import standins
import trafilatura
from copies import Seen
from warcio.archiveiterator import ArchiveIterator

LANG = re.compile(rb"<html[^>]*\slang\s*=\s*[\"']?ja", re.IGNORECASE)
TITLE = re.compile(rb"<title[^>]*>([^<]*)</title>", re.IGNORECASE)
AFTER = "[）」』］〕】〉》\u3041-\u3096\u30a1-\u30fa々〇〻\u3400-\u9fff\uf900-\ufaff]"
MARKS = [("，", "、"), ("．", "。")]
COUNTED = {mark: re.compile(f"{AFTER}{mark}+") for pair in MARKS for mark in pair}
REPLACED = {western: re.compile(f"(?<=[^０-９Ａ-Ｚａ-ｚ]){western}") for western, _ in MARKS}
FOOTER_FILE = Path(__file__).resolve().parents[3] / "src/shikomi/corpus/text/footer_words.txt"
"""One list for both sides: about seventy words."""
HOSTS: dict[str, list[str]] = {}


class Classifier:
    """A linear classifier over character 1- to 3-grams: the sum of their weights over the root of their number."""

    def __init__(self) -> None:
        self.weights = standins.weights()

    def score(self, text: str) -> float:
        grams = itertools.chain.from_iterable((text[i : i + n] for i in range(len(text))) for n in (1, 2, 3))
        weights = [self.weights.get(gram, 0.0) for gram in grams]
        return sum(weights) / math.sqrt(len(weights)) if weights else 0.0


def title_of(page: bytes) -> str | None:
    match = TITLE.search(page)
    for name in ("utf-8", "shift_jis", "euc_jp") if match else ():
        try:
            return match[1].decode(name)
        except UnicodeDecodeError:
            continue
    return None


def text_of(page: bytes, classifier: Classifier) -> str:
    """A page's Japanese text, or nothing."""
    title = title_of(page)
    if not (LANG.search(page) or (title is not None and classifier.score(title) > 0)):
        return ""
    try:
        text = trafilatura.extract(page, include_comments=False, include_tables=False)
    except Exception:
        return ""
    return text if text and classifier.score(text) > 0 else ""


def host_is_fine(url: str) -> bool:
    host = urllib.parse.urlparse(url).hostname or ""
    return not host.endswith((".5ch.net", "wikipedia.org")) and not HOSTS.get(host)


def footer_words() -> list[str]:
    lines = FOOTER_FILE.read_text(encoding="utf-8").splitlines()
    return sorted((line for line in lines if line and not line.startswith("#")), key=len, reverse=True)


def clean(text: str, footer: list[str]) -> str:
    """Punctuation by majority, then the footer."""
    for western, japanese in MARKS:
        often = [sum(1 for _ in COUNTED[mark].finditer(text)) for mark in (western, japanese)]
        if often[0] > often[1]:
            text = REPLACED[western].sub(japanese, text)
    lines = text.split("\n")
    for index in range(max(0, len(lines) - 10), len(lines)):
        left = lines[index]
        for word in footer:
            left = left.replace(word, "")
        if len(lines[index]) - len(left) > 0.3 * len(lines[index]):
            return "\n".join(lines[:index])
    return text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("warc", type=Path, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    classifier, words, seen = Classifier(), rules.Words(standins.words()), Seen()
    footer = footer_words()
    pages = extracted = passed = kept = 0
    for number, path in enumerate(arguments.warc):
        with gzip.open(path) as source, gzip.open(arguments.out / f"{number:05d}.jsonl.gz", "wt") as target:
            for record in ArchiveIterator(source):
                if record.rec_type != "response":
                    continue
                pages += 1
                url = record.rec_headers.get_header("WARC-Target-URI")
                text = text_of(record.content_stream().read(), classifier)
                if not text:
                    continue
                extracted += 1
                found = rules.measures(text)
                ng_share = words.covered(text) / max(1, found["japanese"])
                if not host_is_fine(url) or not rules.keep(found, ng_share):
                    continue
                passed += 1
                if seen.is_copy(text):
                    continue
                kept += 1
                target.write(json.dumps({"url": url, "text": clean(text, footer)}, ensure_ascii=False) + "\n")
    versions = {name: version(name) for name in ("trafilatura", "warcio", "lxml", "numpy")}
    said = {"pages": pages, "extracted": extracted, "passed": passed, "kept": kept, "versions": versions}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
