"""Where the corpus stage's CPU time goes: seconds by step, and the share that is our own Python.

Two runs over the same input in one process. In the first the steps' functions carry a CPU timer; a step's seconds
leave out those of steps inside it, and what no timer covers is ``rest``. The second runs under cProfile: time in
functions of ``src/shikomi`` themselves (not in what they call) is ours; calls into C (regular expressions, numpy
functions, pyarrow, the parser) and other packages are not. Numpy's operators are no calls and count as ours. What the
profiler itself costs is measured as the difference of the two runs and taken off by the number of calls.
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import importlib
import json
import pstats
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shikomi.corpus.pipeline import build_corpus
from shikomi.recipe.corpus import CorpusPage

STARTED = time.process_time()
STEPS = {
    "read WARC": ["shikomi.corpus.text.crawl:read_records"],
    "byte test": ["shikomi.corpus.text.japanese:may_be_japanese"],
    "charset": ["shikomi.corpus.text.charset:decode"],
    "parse and main content": ["shikomi.corpus.text.extract:extract_plain_text"],
    "lines": ["shikomi.corpus.text.extract:running_text"],
    "Japanese test": ["shikomi.corpus.text.japanese:is_japanese"],
    "measures": ["shikomi.corpus.quality.measures:measure"],
    "signatures": [
        "shikomi.corpus.copies.minhash:comparable_points",
        "shikomi.corpus.copies.minhash:signature",
        "shikomi.corpus.copies.minhash:band_keys",
        "shikomi.corpus.copies.minhash:exact_key",
    ],
    "search for copies": ["shikomi.corpus.copies.search:search_copies"],
    "Parquet": [
        "pyarrow.parquet:ParquetWriter.write_table",
        "pyarrow.parquet:ParquetWriter.close",
        "pyarrow.parquet:ParquetFile.read_row_group",
        "pyarrow.parquet:read_table",
    ],
}
GENERATORS = {"shikomi.corpus.text.crawl:read_records"}


class Clock:
    """CPU seconds by step; a step inside a step stops the outer one's."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self.open: list[tuple[str, float]] = []

    def enter(self, step: str) -> None:
        now = time.process_time()
        if self.open:
            outer, since = self.open[-1]
            self.seconds[outer] += now - since
        self.open.append((step, now))

    def leave(self) -> None:
        now = time.process_time()
        step, since = self.open.pop()
        self.seconds[step] += now - since
        if self.open:
            self.open[-1] = (self.open[-1][0], now)

    def timed(self, step: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.enter(step)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        return call

    def timed_steps(self, step: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Iterator:
            items = iter(function(*args, **kwargs))
            while True:
                self.enter(step)
                try:
                    item = next(items)
                except StopIteration:
                    return
                finally:
                    self.leave()
                yield item

        return call


def put_timers(clock: Clock) -> tuple[list[tuple[Any, str, Any]], list[str]]:
    """Put timers around the steps' functions, wherever our modules hold them.

    Returns:
        What was replaced, as ``(place, name, original)``, and the targets that do not exist.
    """
    replaced, missing = [], []
    for step, targets in STEPS.items():
        for target in targets:
            module, _, path = target.partition(":")
            holder: Any = importlib.import_module(module)
            *outer, name = path.split(".")
            for part in outer:
                holder = getattr(holder, part)
            original = getattr(holder, name, None)
            if original is None:
                missing.append(target)
                continue
            wrapped = (clock.timed_steps if target in GENERATORS else clock.timed)(step, original)
            ours = [found for key, found in sys.modules.items() if key.startswith("shikomi.")] if not outer else []
            for place in [holder, *ours]:
                for attribute, value in list(vars(place).items()):
                    if value is original:
                        setattr(place, attribute, wrapped)
                        replaced.append((place, attribute, original))
    return replaced, missing


def by_step(warcs: list[Path], out: Path) -> dict[str, Any]:
    """Seconds of CPU by step of one run."""
    clock = Clock()
    replaced, missing = put_timers(clock)
    before = time.process_time()
    build_corpus(CorpusPage(), warcs, out)
    total = time.process_time() - before
    for place, name, original in replaced:
        setattr(place, name, original)
    seconds = {step: round(value, 3) for step, value in clock.seconds.items()}
    seconds["rest"] = round(total - sum(clock.seconds.values()), 3)
    return {"start_up": round(STARTED, 3), "run": round(total, 3), "seconds": seconds, "not_found": missing}


def in_our_python(warcs: list[Path], out: Path, plain_seconds: float) -> dict[str, float]:
    """Share of a run's CPU that is our own Python: as profiled, and with the profiler's cost taken off."""
    profile = cProfile.Profile()
    before = time.process_time()
    profile.runcall(build_corpus, CorpusPage(), warcs, out)
    cpu = time.process_time() - before
    entries = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    source = str(Path(sys.modules["shikomi.corpus.pipeline"].__file__ or "").parents[1])
    total = sum(own for _, _, own, _, _ in entries.values())
    ours = sum(own for (file, _, _), (_, _, own, _, _) in entries.items() if file.startswith(source))
    calls = sum(count for _, count, *_ in entries.values())
    touching = 0
    for (file, _, _), (_, count, _, _, callers) in entries.items():
        if file.startswith(source):
            touching += count
        else:
            touching += sum(made[1] for (caller, _, _), made in callers.items() if caller.startswith(source))
    share = ours / total
    cost = max(0.0, cpu - plain_seconds)
    corrected = max(0.0, share * cpu - cost * touching / calls) / plain_seconds
    return {"as_profiled": round(share, 3), "corrected": round(corrected, 3), "calls": calls}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("warc", type=Path, nargs="+")
    arguments = parser.parse_args()
    steps = by_step(arguments.warc, arguments.out / "steps")
    python = in_our_python(arguments.warc, arguments.out / "profile", steps["run"])
    print(json.dumps({"steps": steps, "own_python": python}))


if __name__ == "__main__":
    main()
