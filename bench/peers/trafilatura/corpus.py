"""The method of Swallow corpus v1, re-implemented as it is described: warcio, Trafilatura, rules in pure Python.

Stages: WARC records with warcio; a quick Japanese test on ``<html lang=ja>`` or the title; extraction with Trafilatura
from bytes; a Japanese test on the text; all quality measures with Counters over characters and n-grams; punctuation and
footer; JSON lines, gzipped. Where this peer does less than the original (no language classifier, whose weights are not
public, but a count of kana; no word and host lists; no search for copies, which there is a program of its own), the
comparison favours the peer.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import trafilatura
from warcio.archiveiterator import ArchiveIterator

LANG = re.compile(rb"<html[^>]*\blang\s*=\s*[\"']?ja", re.IGNORECASE)
TITLE = re.compile(rb"<title[^>]*>([^<]*)</title>", re.IGNORECASE)
KANJI = re.compile("[々〇〻\u3400-\u9fff\uf900-\ufaff]")
SENTENCE = re.compile("[^。．！？!?]+[。．！？!?]?")
FOOTER = [
    *[
        "Copyright",
        "©",
        "All rights reserved",
        "無断転載",
        "プライバシーポリシー",
        "お問い合わせ",
        "サイトマップ",
        "利用規約",
    ],
    *[
        "会社概要",
        "コメント",
        "トラックバック",
        "関連記事",
        "ログイン",
        "ランキング",
        "スポンサー",
        "ツイート",
        "シェア",
        "検索",
    ],
]
LIMITS = {"top": {2: 0.20, 3: 0.18, 4: 0.16}, "same": {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}}


def kana_share(text: str) -> float:
    """Share of kana in a text, counted character by character as a character classifier would read it."""
    return sum("\u3041" <= c <= "\u30fa" for c in text) / len(text) if text else 0.0


def may_be_japanese(page: bytes) -> bool:
    """The quick test before extraction."""
    if LANG.search(page):
        return True
    match = TITLE.search(page)
    for name in ("utf-8", "shift_jis", "euc_jp") if match else ():
        try:
            return kana_share(match[1].decode(name)) > 0.1
        except UnicodeDecodeError:
            continue
    return False


def letters(text: str) -> dict[str, int]:
    """Letters by kind, one character at a time."""
    counts = dict.fromkeys(("hiragana", "katakana", "kuten", "toten"), 0)
    for character in text:
        point = ord(character)
        if 0x3041 <= point <= 0x3096:
            counts["hiragana"] += 1
        elif 0x30A1 <= point <= 0x30FA:
            counts["katakana"] += 1
        elif character in "、，":
            counts["toten"] += 1
        elif character in "。．！？":
            counts["kuten"] += 1
    counts["kanji"] = len(KANJI.findall(text))
    return counts


def duplicates(parts: list[str]) -> tuple[float, float]:
    """Shares of repeated parts and of their characters."""
    counts = Counter(parts)
    again = sum(count - 1 for count in counts.values())
    characters = sum(len(part) * (count - 1) for part, count in counts.items())
    return again / max(1, len(parts)), characters / max(1, sum(map(len, parts)))


def keep(text: str) -> bool:
    """All measures first, then the decision."""
    lines = [SENTENCE.findall(line) for line in text.split("\n")]
    sentences = [sentence for line in lines for sentence in line]
    same_lines, same_sentences = duplicates(["".join(line) for line in lines]), duplicates(sentences)
    shares: dict[tuple[str, int], float] = {}
    for n in range(2, 11):
        counts = Counter([text[i : i + n] for i in range(len(text) - n + 1)])
        if n <= 4:
            shares["top", n] = max(counts.values(), default=0) / max(1, sum(counts.values()))
        else:
            shares["same", n] = sum(count > 1 for count in counts.values()) / max(1, len(counts))
    kinds = letters(text)
    japanese = sum(kinds.values())
    lengths = [len(sentence) for sentence in sentences] or [0]
    ellipses = sum(sentence.strip().endswith(("・", "…")) for sentence in sentences)
    return (
        len(text) >= 400
        and japanese >= 400
        and kinds["hiragana"] >= 0.2 * japanese
        and kinds["katakana"] <= 0.5 * japanese
        and japanese >= 0.5 * len(text)
        and 20 <= sum(lengths) / len(lengths) <= 90
        and max(lengths) <= 200
        and ellipses <= 0.2 * len(sentences)
        and same_lines[0] <= 0.30
        and same_lines[1] <= 0.20
        and same_sentences[0] <= 0.30
        and same_sentences[1] <= 0.20
        and all(shares[kind, n] <= limit for kind, limits in LIMITS.items() for n, limit in limits.items())
    )


def clean(text: str) -> str:
    """Punctuation by majority, then the footer."""
    for western, japanese in (("，", "、"), ("．", "。")):
        if text.count(western) > text.count(japanese):
            text = text.replace(western, japanese)
    lines = text.split("\n")
    for index in range(max(0, len(lines) - 10), len(lines)):
        covered = sum(lines[index].count(word) * len(word) for word in FOOTER)
        if covered > 0.3 * len(lines[index]):
            return "\n".join(lines[:index])
    return text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("warc", type=Path, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pages = extracted = kept = 0
    for number, path in enumerate(arguments.warc):
        with open(path, "rb") as source, gzip.open(arguments.out / f"{number:05d}.jsonl.gz", "wt") as target:
            for record in ArchiveIterator(source):
                if record.rec_type != "response":
                    continue
                pages += 1
                page = record.content_stream().read()
                if not may_be_japanese(page):
                    continue
                text = trafilatura.extract(page, include_comments=False, include_tables=False)
                if not text or kana_share(text) < 0.05:
                    continue
                extracted += 1
                if not keep(text):
                    continue
                kept += 1
                url = record.rec_headers.get_header("WARC-Target-URI")
                target.write(json.dumps({"url": url, "text": clean(text)}, ensure_ascii=False) + "\n")
    versions = {name: version(name) for name in ("trafilatura", "warcio", "lxml")}
    print(json.dumps({"pages": pages, "extracted": extracted, "kept": kept, "versions": versions}))


if __name__ == "__main__":
    main()
