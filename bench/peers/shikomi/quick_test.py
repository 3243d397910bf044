"""The quick Japanese test on bytes against the full decision, on every page: what it finds and what it saves.

The full decision is on running text. A page that it rejects is judged once more, by the share of kana in all its
visible text: if that is Japanese, the page is a Japanese one with next to no running text (a list of links, a heading),
which no test on bytes can know, and it is counted apart. ``saved_work`` is of pages in other languages;
``saved_work_of_rejected`` counts the Japanese pages without text too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from shikomi.corpus.text.charset import decode
from shikomi.corpus.text.crawl import read_records
from shikomi.corpus.text.extract import extract_lines, running_text
from shikomi.corpus.text.japanese import MIN_KANA_SHARE, is_japanese, may_be_japanese
from shikomi.recipe.corpus import CorpusPage


def kana_share(page: str) -> float:
    """Share of kana in the letters of all that a page shows."""
    text = "".join(line.text for line in extract_lines(page, main_content=False))
    letters = sum(map(str.isalpha, text))
    return sum("\u3041" <= character <= "\u30fc" for character in text) / letters if letters else 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("warc", type=Path, nargs="+")
    arguments = parser.parse_args()
    pages: Counter[tuple[bool, bool]] = Counter()
    seconds: Counter[tuple[bool, bool]] = Counter()
    idle: Counter[bool] = Counter()
    missed: list[str] = []
    without_text = 0
    for path in arguments.warc:
        for record in read_records(path, max_page_bytes=CorpusPage().max_page_bytes, skipped=Counter()):
            if record.problem or "html" not in record.content_type or not 200 <= (record.status or 200) < 300:
                continue
            decoded = decode(record.payload, record.content_type)
            if decoded is None:
                continue
            passed = may_be_japanese(record.payload, record.content_type)
            before = time.process_time()
            try:
                text = running_text(decoded[0])
            except (ValueError, RuntimeError, RecursionError, MemoryError):
                continue
            spent = time.process_time() - before
            japanese = is_japanese(text)[0]
            if not japanese and kana_share(decoded[0]) >= MIN_KANA_SHARE:
                without_text += 1
                idle[passed] += spent  # type: ignore[assignment]
                continue
            pages[japanese, passed] += 1
            seconds[japanese, passed] += spent  # type: ignore[assignment]
            if japanese and not passed:
                missed.append(record.url)
    japanese, other = pages[True, True] + pages[True, False], pages[False, True] + pages[False, False]
    work = seconds[False, True] + seconds[False, False]
    rejected = work + sum(idle.values())
    said = {
        "pages": sum(pages.values()),
        "japanese": japanese,
        "recall": round(pages[True, True] / japanese, 4) if japanese else None,
        "missed": missed[:20],
        "japanese_without_running_text": without_text,
        "not_japanese": other,
        "saved_pages": round(pages[False, False] / other, 4) if other else None,
        "saved_work": round(seconds[False, False] / work, 4) if work else None,
        "saved_work_of_rejected": round((seconds[False, False] + idle[False]) / rejected, 4) if rejected else None,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
