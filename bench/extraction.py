"""Running text kept and boilerplate left, by line, against Trafilatura and plain resiliparse on labelled real pages.

    python bench/extraction.py --warc '../shared/data/crawl/*.warc.gz' [--part held-out] [--json]

Labels (`labels/extraction.tsv`: address, line numbers, label) were made by reading 100 pages of 16 hosts on the lines
of `page_lines.py`; `either` (author and date lines, lists of links that are a page's only content) counts for nobody.
Every extractor gets the page decoded, and its output is laid along the lines (`alignment.py`). Hosts were halved before
anything was tuned: rules were changed on the development half, and after a first look at the held-out half by kind of
error. `extraction-fresh.tsv` are 38 other pages, drawn and labelled when the rules stood. The last line printed is one
JSON object.
"""

from __future__ import annotations

import argparse
import datetime
import glob
import json
import random
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import driver
from alignment import covered, letters
from page_lines import visible_lines

PEERS = (
    driver.Peer("shikomi", ".venv", "shikomi/extract.py"),
    driver.Peer("trafilatura", ".venv-bench/trafilatura", "trafilatura/extract.py"),
)
OURS = "shikomi"
DEVELOPMENT = frozenset(
    (
        "cpprefjp.github.io",
        "httpd.apache.org",
        "nablarch.github.io",
        "nodered.jp",
        "ryomashita.github.io",
        "triple-underscore.github.io",
        "vim-jp.org",
        "waic.github.io",
    )
)
"""Hosts whose pages rules may be tuned on (half of the pages, drawn by seed before anything was scored)."""
TEXT, BOILERPLATE, EITHER = "text", "boilerplate", "either"
ALL = "both halves"
PARTS = ("development", "held-out", ALL, "fresh")
RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """One extractor on one page, in characters (letters and digits) except ``left``.

    Attributes:
        kept: of running text in the output.
        wanted: of running text on the page.
        noise: of boilerplate in the output, and of output that is nowhere on the page.
        strange: of the noise, what is nowhere on the page.
        left: boilerplate lines of which more than half is in the output.
    """

    kept: int
    wanted: int
    noise: int
    strange: int
    left: int


def read_labels(path: Path) -> dict[str, list[str]]:
    """Label of every line, by address."""
    labels: dict[str, list[str]] = defaultdict(list)
    for row in path.read_text(encoding="utf-8").splitlines()[1:]:
        url, lines, label = row.split("\t")
        first, _, last = lines.partition("-")
        if int(first) != len(labels[url]) + 1:
            raise driver.BenchError(f"{path.name}: lines of {url} are not in order at {lines}")
        labels[url] += [label] * (int(last or first) - int(first) + 1)
    return dict(labels)


def read_pages(paths: list[Path], urls: set[str]) -> dict[str, str]:
    """Decoded HTML of the wanted addresses, the first record of each."""
    from shikomi.corpus.text.charset import decode
    from shikomi.corpus.text.crawl import read_records

    pages: dict[str, str] = {}
    for path in paths:
        for record in read_records(path, max_page_bytes=50_000_000, skipped=Counter()):
            if record.url in urls and record.url not in pages:
                decoded = decode(record.payload, record.content_type)
                if decoded:
                    pages[record.url] = decoded[0]
    return pages


def score(lines: list[str], labels: list[str], output: str) -> Score:
    """Compare an extractor's output with the labels of a page's lines."""
    found, strange = covered(lines, output)
    lengths = [len(letters(line)) for line in lines]
    by_label = Counter()
    for label, characters in zip(labels, found, strict=True):
        by_label[label] += characters
    left = sum(
        label == BOILERPLATE and length > 0 and characters * 2 > length
        for label, characters, length in zip(labels, found, lengths, strict=True)
    )
    wanted = sum(length for label, length in zip(labels, lengths, strict=True) if label == TEXT)
    return Score(by_label[TEXT], wanted, by_label[BOILERPLATE] + strange, strange, left)


def f1_of(scores: list[Score]) -> float:
    """F1 in characters of all pages together."""
    kept, wanted, noise = (sum(getattr(one, name) for one in scores) for name in ("kept", "wanted", "noise"))
    return 2 * kept / (kept + noise + wanted) if kept + noise + wanted else 1.0


def mean_f1_of(scores: list[Score]) -> float:
    """F1 of each page, averaged: every page counts the same; a page without running text wants an empty output."""
    return statistics.fmean(f1_of([one]) for one in scores)


def interval(values: list[float]) -> list[float]:
    """The middle 95 % of resampled values."""
    ordered = sorted(values)
    return [round(ordered[int(len(ordered) * share)], 4) for share in (0.025, 0.975)]


def compare(scores: dict[str, list[Score]]) -> dict[str, Any]:
    """The table: every extractor's numbers with intervals by page, and ours minus each peer's on the same pages."""
    rng = random.Random(5)
    count = len(next(iter(scores.values())))
    draws = [rng.choices(range(count), k=count) for _ in range(RESAMPLES)]
    pooled = {name: [f1_of([page[i] for i in draw]) for draw in draws] for name, page in scores.items()}
    single = {name: [f1_of([one]) for one in page] for name, page in scores.items()}
    mean = {name: [statistics.fmean(page[i] for i in draw) for draw in draws] for name, page in single.items()}
    table = {}
    for name, pages in scores.items():
        kept, wanted, noise, strange, left = (
            sum(getattr(one, field) for one in pages) for field in ("kept", "wanted", "noise", "strange", "left")
        )
        table[name] = {
            "f1": round(f1_of(pages), 4),
            "f1_interval": interval(pooled[name]),
            "mean_f1": round(mean_f1_of(pages), 4),
            "mean_f1_interval": interval(mean[name]),
            "recall": round(kept / wanted, 4),
            "precision": round(kept / (kept + noise), 4) if kept + noise else 1.0,
            "boilerplate_lines_left": left,
            "characters_kept": kept,
            "characters_wanted": wanted,
            "strange_characters": strange,
        }
        if name != OURS:
            table[name]["ours_minus_f1_interval"] = interval(
                [ours - theirs for ours, theirs in zip(pooled[OURS], pooled[name], strict=True)]
            )
            table[name]["ours_minus_mean_f1_interval"] = interval(
                [ours - theirs for ours, theirs in zip(mean[OURS], mean[name], strict=True)]
            )
    return table


def extract(pages: dict[str, str], folder: Path) -> tuple[dict[str, dict[str, str]], dict[str, Any]]:
    """Texts by extractor and address, and what the peers said of themselves."""
    source = folder / "pages.jsonl"
    with open(source, "w", encoding="utf-8") as file:
        for url, page in pages.items():
            html = page.encode("utf-8", "replace").decode()
            file.write(json.dumps({"url": url, "html": html}, ensure_ascii=False) + "\n")
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    said: dict[str, Any] = {"cpu_seconds": {}, "versions": {}}
    for peer in PEERS:
        out = folder / peer.name
        out.mkdir()
        done = driver.run(peer, ["--out", str(out), str(source)])
        for part in said:
            said[part] |= done.said[part]
        for line in (out / "texts.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for name, text in row["texts"].items():
                texts[name][row["url"]] = text
    return dict(texts), said


def part_of(url: str, fresh: Collection[str] = ()) -> str:
    """Which part a page is in."""
    if url in fresh:
        return "fresh"
    return "development" if url.split("/")[2] in DEVELOPMENT else "held-out"


def measure(paths: list[Path], parts: list[str]) -> dict[str, Any]:
    """Extract all labelled pages with every extractor and score the wanted parts."""
    fresh = read_labels(driver.BENCH / "labels" / "extraction-fresh.tsv")
    labels = read_labels(driver.BENCH / "labels" / "extraction.tsv") | fresh
    pages = read_pages(paths, set(labels))
    if len(pages) != len(labels):
        raise driver.BenchError(f"{len(labels) - len(pages)} of {len(labels)} labelled pages are not in the WARC files")
    with tempfile.TemporaryDirectory() as folder:
        texts, said = extract(pages, Path(folder))
    result: dict[str, Any] = {"bench": "extraction", "pages": len(pages), **said}
    lines = {url: visible_lines(page) for url, page in pages.items()}
    for url, one in lines.items():
        if len(one) != len(labels[url]):
            raise driver.BenchError(f"{url} has {len(one)} lines and {len(labels[url])} labels: not the labelled page")
    for part in parts:
        whole = {"development", "held-out"} if part == ALL else {part}
        urls = [url for url in labels if part_of(url, fresh) in whole]
        scores = {name: [score(lines[url], labels[url], found[url]) for url in urls] for name, found in texts.items()}
        result[part] = {"pages": len(urls), "extractors": compare(scores)}
    return result


def show(table: dict[str, Any]) -> None:
    """Print one part for people."""
    print(f"{'':24} {'F1':>6} {'95 %':>15} {'mean F1':>8} {'95 %':>15} {'recall':>7} {'prec.':>6} {'left':>5}")
    for name, row in table.items():
        intervals = [f"{low:.3f} to {high:.3f}" for low, high in (row["f1_interval"], row["mean_f1_interval"])]
        print(
            f"{name:24} {row['f1']:6.3f} {intervals[0]:>15} {row['mean_f1']:8.3f} {intervals[1]:>15} "
            f"{row['recall']:7.3f} {row['precision']:6.3f} {row['boilerplate_lines_left']:5}"
        )


def main() -> int:
    driver.use_own_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", required=True, help="a path or glob of the WARC files with the labelled pages")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object on standard output")
    wanted = parser.parse_args()
    paths = [Path(path) for path in sorted(glob.glob(wanted.warc, recursive=True))]  # noqa: PTH207
    try:
        result = measure(paths, wanted.part or list(PARTS))
    except driver.BenchError as error:
        print(f"bench not complete: {error}", file=sys.stderr)
        return 1
    result |= {"machine": driver.machine(), "date": datetime.date.today().isoformat()}
    if not wanted.part:
        driver.write_result("extraction", result)
    if not wanted.json:
        for part in PARTS:
            if part in result:
                print(f"{part}: {result[part]['pages']} pages")
                show(result[part]["extractors"])
    print(json.dumps(result, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
