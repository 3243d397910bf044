"""Ours on pages given as decoded text, and plain resiliparse, on whose main content ours is built."""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

from resiliparse.extract.html2text import extract_plain_text

from shikomi.corpus.text.extract import running_text


def plain(page: str) -> str:
    """Main content as resiliparse gives it, without its alternative texts of images."""
    return extract_plain_text(page, main_content=True, alt_texts=False)


WAYS = {"shikomi": running_text, "resiliparse": plain}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("pages", type=Path, help="JSON lines of url and html")
    arguments = parser.parse_args()
    seconds = dict.fromkeys(WAYS, 0.0)
    with (
        open(arguments.pages, encoding="utf-8") as source,
        open(arguments.out / "texts.jsonl", "w", encoding="utf-8") as target,
    ):
        for line in source:
            page = json.loads(line)
            texts = {}
            for name, way in WAYS.items():
                before = time.process_time()
                texts[name] = way(page["html"])
                seconds[name] += time.process_time() - before
            target.write(json.dumps({"url": page["url"], "texts": texts}, ensure_ascii=False) + "\n")
    versions = {name: version(name) for name in ("shikomi", "resiliparse")}
    print(json.dumps({"cpu_seconds": seconds, "versions": versions}))


if __name__ == "__main__":
    main()
