"""Toy builds: small steps that write shards, resume from them, and end in the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shikomi.flow.step import Context, Source, Step
from shikomi.io import atomic, write_jsonl

SHARDS = 3


def shards(page: dict, inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
    """Write some shards, each whole or not at all; those that are there are kept."""
    text = "".join(path.read_text() for folder in inputs.values() for path in sorted(folder.rglob("*.txt")))
    (out / "scratch").mkdir(exist_ok=True)
    for number in range(SHARDS):
        path = out / "shards" / f"part-{number}.txt"
        if not path.exists():
            with atomic(out / "scratch" / "half.txt") as handle:
                handle.write("not part of the result")
            with atomic(path) as handle:
                handle.write(f"{page} {number} {len(text)}\n{text[:50]}")
        context.progress(number + 1, SHARDS, "shards")
    write_jsonl(out / "rows.jsonl", ({"row": number} for number in range(SHARDS)))
    return {"shards": SHARDS, "read": len(text)}


def toy(name: str, page: dict, inputs: dict[str, Step | Source] | None = None, version: int = 1) -> Step:
    """A step over ``shards``."""
    return Step(name, version, page, inputs or {}, lambda i, o, c: shards(page, i, o, c))


def chain(first: int = 1, second: int = 1) -> list[Step]:
    """Three steps in a row, two of them with a setting."""
    crawl = toy("crawl", {"seed": first})
    corpus = toy("corpus", {"rules": {"letters": second}}, {"crawl": crawl})
    return [crawl, corpus, toy("tokens", {}, {"corpus": corpus, "crawl": crawl})]


def contents(store: Path) -> dict[str, bytes]:
    """Bytes of every finished file, the manifests (which have times) left out."""
    found = {}
    for manifest in sorted(store.glob("*/*/manifest.json")):
        if manifest.parts[-3] == "work":
            continue
        for path in sorted(manifest.parent.rglob("*")):
            if path.is_file() and path != manifest:
                found[path.relative_to(store).as_posix()] = path.read_bytes()
    return found
