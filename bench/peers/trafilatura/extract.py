"""Trafilatura on pages given as decoded text, in several of its settings.

Swallow corpus v1 takes no comments and no tables; the others take tables, which favours Trafilatura on pages where
they are content.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import trafilatura

SETTINGS = {
    "trafilatura": {},
    "trafilatura as Swallow": {"include_tables": False},
    "trafilatura, precision": {"favor_precision": True},
    "trafilatura, recall": {"favor_recall": True},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("pages", type=Path, help="JSON lines of url and html")
    arguments = parser.parse_args()
    seconds = dict.fromkeys(SETTINGS, 0.0)
    with (
        open(arguments.pages, encoding="utf-8") as source,
        open(arguments.out / "texts.jsonl", "w", encoding="utf-8") as target,
    ):
        for line in source:
            page = json.loads(line)
            texts = {}
            for name, setting in SETTINGS.items():
                before = time.process_time()
                texts[name] = trafilatura.extract(page["html"], include_comments=False, **setting) or ""
                seconds[name] += time.process_time() - before
            target.write(json.dumps({"url": page["url"], "texts": texts}, ensure_ascii=False) + "\n")
    print(json.dumps({"cpu_seconds": seconds, "versions": {"trafilatura": version("trafilatura")}}))


if __name__ == "__main__":
    main()
