"""The corpus stage against its peers, on any WARC files.

    python bench/corpus.py --warc 'crawl/*.warc.gz' [--quick] [--json]

Peers run interleaved, three times and more, one process each; a ratio is the median of paired runs. The last line
printed is one JSON object; the exit code is 0 only if every run was made.
"""

from __future__ import annotations

import argparse
import datetime
import glob
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import driver

OURS = driver.Peer("shikomi", ".venv", "shikomi/corpus.py")
REFERENCE = driver.Peer("warcio + Trafilatura + Python rules", ".venv-bench/swallow", "swallow/corpus.py")
QUICK_PAGES = 400


def first_pages(paths: list[Path], pages: int, folder: Path) -> Path:
    """Copy the first ``pages`` response records of a gzipped WARC into a file of their own, byte for byte."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    seen, end = 0, None
    for record in ArchiveIterator(str(paths[0]), parse_http=False, strict_mode=False):
        if record.record_type == WarcRecordType.response:
            seen += 1
            if seen > pages:
                end = record.stream_pos
                break
    path = folder / "first.warc.gz"
    with open(paths[0], "rb") as source:
        path.write_bytes(source.read(end) if end is not None else source.read())
    return path


def summary(runs: list[driver.Run]) -> dict[str, Any]:
    """Medians over the runs of one peer."""
    return {
        "pages": runs[0].said["pages"],
        "kept": runs[0].said["kept"],
        "pages_per_cpu_s": round(statistics.median(run.said["pages"] / run.cpu_seconds for run in runs), 2),
        "cpu_seconds": [round(run.cpu_seconds, 2) for run in runs],
        "wall_seconds": [round(run.wall_seconds, 2) for run in runs],
        "peak_mb": round(max(run.peak_mb for run in runs), 1),
        "versions": runs[0].said["versions"],
    }


def measure(paths: list[Path], repeats: int) -> dict[str, Any]:
    """Run all peers and put their numbers side by side."""
    peers = [OURS, REFERENCE]
    runs = driver.interleave(peers, [str(path) for path in paths], repeats, lambda text: print(text, file=sys.stderr))
    if len({run.said["pages"] for peer in peers for run in runs[peer.name]}) != 1:
        raise driver.BenchError("the peers did not read the same number of pages")
    rates = {name: [run.said["pages"] / run.cpu_seconds for run in made] for name, made in runs.items()}
    ratio = driver.ratios(rates[OURS.name], rates[REFERENCE.name])
    ours = summary(runs[OURS.name])
    return {
        "bench": "corpus",
        "ratio_reference": round(ratio["median"], 2),
        "ratio_reference_range": [round(ratio["low"], 2), round(ratio["high"], 2)],
        "pages_per_cpu_s": ours["pages_per_cpu_s"],
        "peak_mb": ours["peak_mb"],
        "repeats": repeats,
        "peers": {name: summary(made) for name, made in runs.items()},
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", required=True, help="a path or glob of gzipped WARC files")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; at least 3 (default 3)")
    parser.add_argument("--quick", action="store_true", help=f"only the first {QUICK_PAGES} pages; under 20 minutes")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object on standard output")
    return parser.parse_args()


def main() -> int:
    driver.use_own_environment()
    wanted = arguments()
    paths = [Path(path) for path in sorted(glob.glob(wanted.warc, recursive=True))]  # noqa: PTH207
    if not paths:
        print(f"no file matches {wanted.warc}\nhint: quote the glob", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            used = [first_pages(paths, QUICK_PAGES, Path(folder))] if wanted.quick else paths
            size = sum(path.stat().st_size for path in used)
            result = measure(used, max(3, wanted.repeats))
    except driver.BenchError as error:
        print(f"bench not complete: {error}", file=sys.stderr)
        return 1
    result |= {
        "quick": wanted.quick,
        "input": {"files": [path.name for path in (paths[:1] if wanted.quick else paths)], "bytes": size},
        "machine": driver.machine(),
        "date": datetime.date.today().isoformat(),
    }
    path = driver.write_result("corpus-quick" if wanted.quick else "corpus", result)
    if not wanted.json:
        for name, peer in result["peers"].items():
            print(f"{name}: {peer['pages_per_cpu_s']} pages per CPU-second, {peer['peak_mb']} MB, kept {peer['kept']}")
        print(f"ratio {result['ratio_reference']} ({result['ratio_reference_range']}), written to {path.name}")
    print(json.dumps(result, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
