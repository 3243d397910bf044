"""The corpus stage against its peers, on any WARC files.

    python bench/corpus.py --warc 'crawl/*.warc.gz' [--swallow DIR] [--quick] [--json]

Ours, the reference method (Swallow corpus v1, re-implemented) and datatrove's stages run interleaved, three times and
more, one process each; a ratio is the median of paired runs. Then, on ours alone: cost by step, the quick Japanese
test against the full decision, planted copies, and with ``--swallow`` (a checkout of swallow-llm/swallow-corpus) the
decisions of its filter code on identical text. The last line printed is one JSON object; the exit code is 0 only if
every run was made and all peers read the same number of pages.
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
REFERENCE = driver.Peer("Swallow's method", ".venv-bench/swallow", "swallow/corpus.py")
DATATROVE = driver.Peer("datatrove", ".venv-bench/datatrove", "datatrove/corpus.py")
STEPS = driver.Peer("shikomi, by step", ".venv", "shikomi/steps.py")
QUICK_TEST = driver.Peer("shikomi, quick test", ".venv", "shikomi/quick_test.py")
PLANTED = driver.Peer("shikomi, planted copies", ".venv", "shikomi/planted.py")
AGREEMENT = driver.Peer("shikomi, agreement", ".venv", "shikomi/agreement.py")
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
        **{name: value for name, value in runs[0].said.items() if name != "versions"},
        "pages_per_cpu_s": round(statistics.median(run.said["pages"] / run.cpu_seconds for run in runs), 2),
        "cpu_seconds": [round(run.cpu_seconds, 2) for run in runs],
        "wall_seconds": [round(run.wall_seconds, 2) for run in runs],
        "peak_mb": round(max(run.peak_mb for run in runs), 1),
        "versions": runs[0].said["versions"],
    }


def compared(paths: list[Path], repeats: int, tell) -> dict[str, Any]:
    """Run all peers in rounds and put their numbers side by side."""
    peers = [OURS, REFERENCE, DATATROVE]
    runs = driver.interleave(peers, [str(path) for path in paths], repeats, tell)
    read = {peer.name: sorted({run.said["pages"] for run in runs[peer.name]}) for peer in peers}
    if len({number for numbers in read.values() for number in numbers}) != 1:
        raise driver.BenchError(f"the peers did not read the same number of pages: {read}")
    rates = {name: [run.said["pages"] / run.cpu_seconds for run in made] for name, made in runs.items()}
    ratios = {peer.name: driver.ratios(rates[OURS.name], rates[peer.name]) for peer in (REFERENCE, DATATROVE)}
    ours = summary(runs[OURS.name])
    return {
        "ratio_datatrove": round(ratios[DATATROVE.name]["median"], 2),
        "ratio_datatrove_range": [round(ratios[DATATROVE.name][end], 2) for end in ("low", "high")],
        "ratio_reference": round(ratios[REFERENCE.name]["median"], 2),
        "ratio_reference_range": [round(ratios[REFERENCE.name][end], 2) for end in ("low", "high")],
        "pages_per_cpu_s": ours["pages_per_cpu_s"],
        "peak_mb": ours["peak_mb"],
        "repeats": repeats,
        "peers": {name: summary(made) for name, made in runs.items()},
    }


def ours_alone(paths: list[Path], swallow: Path | None, tell) -> dict[str, Any]:
    """What is measured without a peer; one run each."""
    arguments = [str(path) for path in paths]
    said: dict[str, dict[str, Any]] = {}
    for peer in (STEPS, QUICK_TEST, PLANTED, *([AGREEMENT] if swallow else [])):
        with tempfile.TemporaryDirectory() as folder:
            extra = ["--swallow", str(swallow)] if peer is AGREEMENT else []
            done = driver.run(peer, ["--out", folder, *extra, *arguments])
        said[peer.name] = done.said
        tell(f"{peer.name}: {done.cpu_seconds:.1f} s CPU, {done.said}")
    agreement = said.get(AGREEMENT.name)
    return {
        "agreement": agreement["agreement"] if agreement else None,
        "recall": said[PLANTED.name]["recall"],
        "precision": said[PLANTED.name]["precision"],
        "own_python": said[STEPS.name]["own_python"]["corrected"],
        "quick_test_recall": said[QUICK_TEST.name]["recall"],
        "quick_test_saved_work": said[QUICK_TEST.name]["saved_work"],
        "steps": said[STEPS.name],
        "quick_test": said[QUICK_TEST.name],
        "planted": said[PLANTED.name],
        "agreement_detail": agreement,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warc", required=True, help="a path or glob of gzipped WARC files")
    parser.add_argument(
        "--swallow", type=Path, help="a checkout of swallow-llm/swallow-corpus; without it agreement is null"
    )
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
    if wanted.swallow and not (wanted.swallow / "quality.py").is_file():
        print(f"no quality.py in {wanted.swallow}\nhint: git clone swallow-llm/swallow-corpus", file=sys.stderr)
        return 1

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        with tempfile.TemporaryDirectory() as folder:
            used = [first_pages(paths, QUICK_PAGES, Path(folder))] if wanted.quick else paths
            size = sum(path.stat().st_size for path in used)
            result: dict[str, Any] = {"bench": "corpus", **compared(used, max(3, wanted.repeats), tell)}
            result |= ours_alone(used, wanted.swallow, tell)
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
        print(f"ratio to datatrove {result['ratio_datatrove']}, to Swallow's method {result['ratio_reference']}")
        print(f"written to {path.name}")
    print(json.dumps(result, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
