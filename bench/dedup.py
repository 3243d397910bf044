"""The search for copies at scale: time and memory over the number of documents, recall, precision; and signatures.

    python bench/dedup.py [--documents 100000,300000,1000000] [--json]

Signatures with planted copies are made up for each number of documents (1.2 GB on disk a million), searched in a
process of their own, and scored. ``time_exponent`` and ``memory_exponent`` are slopes between the first and the last
number on logarithmic scales: 1 is linear, less is better. Then signatures of texts with a known Jaccard similarity are
made by ours, datasketch and rensa. The last line printed is one JSON object; the exit code is 0 only if everything
that must hold does.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import driver

SIGNED = driver.Peer("shikomi, copies", ".venv", "shikomi/signed.py")
OURS = driver.Peer("shikomi, signatures", ".venv", "shikomi/signatures.py")
LIBRARIES = driver.Peer("datasketch and rensa", ".venv-bench/minhash", "minhash/signatures.py")
LETTERS = "のはをにがでとしているあことなりまたれさかもきくけそうんらちつみめやよ日本国会社人年大学新聞業生産地方"
LEAST = {"recall": 0.98, "precision": 0.99}
MOST = {"time_exponent": 1.1, "memory_exponent": 1.0, "peak_mb": 300}
"""What must hold; exponents of 1 are linear, with a tenth for what a shared machine does to CPU time."""


def searched(documents: int, repeats: int, tell) -> dict[str, Any]:
    """Make, search and score one number of documents."""
    with tempfile.TemporaryDirectory() as folder:
        made = driver.run(SIGNED, ["--out", folder, "--documents", str(documents), "make"])
        tell(f"{documents} documents made, {made.said['bytes'] / 1e9:.2f} GB")
        runs = []
        for number in range(repeats):
            if number:
                shutil.rmtree(Path(folder) / "corpus")
            runs.append(driver.run(SIGNED, ["--out", folder, "search"]))
            tell(f"{documents} documents searched: {runs[-1].cpu_seconds:.1f} s CPU, {runs[-1].peak_mb:.0f} MB")
        scored = driver.run(SIGNED, ["--out", folder, "score"]).said
    return {
        "documents": documents,
        "cpu_seconds": [round(run.cpu_seconds, 2) for run in runs],
        "wall_seconds": [round(run.wall_seconds, 2) for run in runs],
        "peak_mb": round(max(run.peak_mb for run in runs), 1),
        "signed_bytes": made.said["bytes"],
        "scratch_bytes": runs[-1].said["scratch_bytes"],
        **{name: value for name, value in scored.items() if name != "versions"},
        "versions": scored["versions"],
    }


def exponent(sizes: list[dict[str, Any]], name: str) -> float:
    """Slope of a number over documents between the first and the last size, both logarithmic."""
    first, last = (size[name] for size in (sizes[0], sizes[-1]))
    if isinstance(first, list):
        first, last = statistics.median(first), statistics.median(last)
    return round(math.log(last / first) / math.log(sizes[-1]["documents"] / sizes[0]["documents"]), 3)


def texts(folder: Path, pairs: int = 60) -> Path:
    """Pairs of texts of two lengths with their Jaccard similarity over character 5-grams, as JSON."""
    rnd = random.Random(11)
    made: dict[str, list] = {}
    for length in (1_500, 12_000):
        made[str(length)] = []
        for _ in range(pairs):
            text = "".join(rnd.choices(LETTERS, k=length))
            rate = rnd.choice([0.003, 0.01, 0.03])
            other = "".join(rnd.choice(LETTERS) if rnd.random() < rate else letter for letter in text)
            one, two = ({each[i : i + 5] for i in range(length - 4)} for each in (text, other))
            made[str(length)].append([text, other, len(one & two) / len(one | two)])
    path = folder / "texts.json"
    path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    return path


def signed(repeats: int, tell) -> dict[str, Any]:
    """Signatures by ours and the libraries, interleaved; the best of each, as they share the machine."""
    best: dict[str, dict[str, Any]] = {}
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = texts(Path(folder))
        for _ in range(repeats):
            for peer in (OURS, LIBRARIES):
                said = driver.run(peer, ["--texts", str(path)]).said
                versions |= said.pop("versions")
                for name, lengths in said.items():
                    tell(f"{name}: {lengths}")
                    for length, numbers in lengths.items():
                        known = best.setdefault(name, {}).setdefault(length, numbers)
                        if numbers["documents_per_cpu_s"] > known["documents_per_cpu_s"]:
                            best[name][length] = numbers
    return {**best, "versions": versions}


def main() -> int:
    driver.use_own_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", default="100000,300000,1000000", help="numbers of documents, times 20,000 each")
    parser.add_argument("--repeats", type=int, default=1, help="searches of each number")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object on standard output")
    wanted = parser.parse_args()

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        sizes = [searched(int(number), wanted.repeats, tell) for number in wanted.documents.split(",")]
        signatures = signed(3, tell)
    except driver.BenchError as error:
        print(f"bench not complete: {error}", file=sys.stderr)
        return 1
    growth = (sizes[-1]["peak_mb"] - sizes[0]["peak_mb"]) * 1e6 / max(1, sizes[-1]["documents"] - sizes[0]["documents"])
    result = {
        "bench": "dedup",
        "recall": min(size["recall"] for size in sizes),
        "precision": min(size["precision"] for size in sizes),
        "time_exponent": exponent(sizes, "cpu_seconds") if len(sizes) > 1 else None,
        "memory_exponent": exponent(sizes, "peak_mb") if len(sizes) > 1 else None,
        "bytes_a_document": round(growth),
        "peak_mb": max(size["peak_mb"] for size in sizes),
        "sizes": sizes,
        "signatures": signatures,
        "machine": driver.machine(),
        "date": datetime.date.today().isoformat(),
    }
    result["missed"] = [name for name, least in LEAST.items() if result[name] < least]
    result["missed"] += [name for name, most in MOST.items() if (result[name] or 0) > most]
    path = driver.write_result("dedup", result)
    if not wanted.json:
        for size in sizes:
            print(f"{size['documents']}: {size['cpu_seconds']} s CPU, {size['peak_mb']} MB, recall {size['recall']}")
        print(f"written to {path.name}")
    print(json.dumps(result, ensure_ascii=False))
    return 1 if result["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
