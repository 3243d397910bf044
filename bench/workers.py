"""Workers of the local pool against processes that know nothing of each other, on real files, interleaved.

    .venv/bin/python bench/workers.py --warc '../shared/data/crawl/*.warc.gz' [--rounds 3] [--json]

Three things are timed a round, wall seconds from the first file to the last shard, workers started before the clock:
all files on one worker; all files on a pool of two; the files dealt out to two independent processes. The last two do
the same work on the same processors, so their ratio is what the pool itself costs; the machine's own loss on two
processors (memory, clock, other work) falls on both.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shikomi.compute.local import LocalPool
from shikomi.corpus.shards import Task, make_shard
from shikomi.recipe.corpus import CorpusPage

ALONE = """
import sys
from pathlib import Path
from shikomi.corpus.shards import Task, make_shard
from shikomi.recipe.corpus import CorpusPage
from shikomi.compute.pool import Limits, listening
print("ready", flush=True)
sys.stdin.readline()
with listening(None, Limits()):
    for name in sys.argv[2:]:
        make_shard(Task(Path(name), Path(sys.argv[1]) / (Path(name).name + ".parquet"), CorpusPage()))
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024, flush=True)
"""


def warm(item: Task | None) -> float:
    """Make a shard; or, for None, only be there: so that workers have started before the clock does."""
    if item is None:
        time.sleep(0.5)  # long enough that the other worker takes the other one
    else:
        make_shard(item)
    return time.perf_counter()


def pooled(files: list[Path], workers: int) -> float:
    """Wall seconds of a pool of so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = [Task(path, Path(folder) / f"{path.name}.parquet", CorpusPage()) for path in files]
        results = LocalPool(workers, apart=True).map(warm, [None] * workers + tasks)
        began = max(next(results) for _ in range(workers))
        return max(results) - began


def independent(files: list[Path], processes: int) -> tuple[float, int]:
    """Wall seconds until all of so many processes are done, each with its share; and the most memory one held (MB)."""
    with tempfile.TemporaryDirectory() as folder:
        shares = [files[number::processes] for number in range(processes)]
        crew = [
            subprocess.Popen(
                [sys.executable, "-c", ALONE, folder, *map(str, share)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for share in shares
        ]
        for process in crew:
            assert process.stdout is not None
            process.stdout.readline()
        began = time.perf_counter()
        for process in crew:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        peaks = [int(process.stdout.readline()) for process in crew if process.stdout is not None]
        seconds = time.perf_counter() - began
        for process in crew:
            process.communicate()
        return seconds, max(peaks)


def main() -> None:
    """Run the rounds and print what they gave; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--warc", required=True, help="glob of WARC files; an even number of like size is fairest")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    given = parser.parse_args()
    files = sorted(map(Path, glob.glob(given.warc)))  # noqa: PTH207 - a glob with folders in it, as the recipe takes
    if len(files) < 2:
        sys.exit(f"two files at least, {given.warc} matches {len(files)}")
    rows, peaks = [], []
    for number in range(given.rounds):
        one, two = pooled(files, 1), pooled(files, 2)
        apart, peak = independent(files, 2)
        peaks.append(peak)
        rows.append({"one_s": round(one, 2), "two_s": round(two, 2), "independent_s": round(apart, 2)})
        if not given.json:
            print(f"round {number + 1}: 1 worker {one:.1f} s, 2 workers {two:.1f} s, 2 processes {apart:.1f} s")
    result = {
        "scaling": round(statistics.median(row["independent_s"] / row["two_s"] for row in rows), 3),
        "scaling_range": [round(pick(row["independent_s"] / row["two_s"] for row in rows), 3) for pick in (min, max)],
        "speedup": round(statistics.median(row["one_s"] / row["two_s"] for row in rows), 2),
        "speedup_independent": round(statistics.median(row["one_s"] / row["independent_s"] for row in rows), 2),
        "peak_mb": max(peaks),
        "files": len(files),
        "rounds": rows,
        "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
