"""A process with two workers that have nothing to do for ever: ``python -m tests.compute.parent HOW FOLDER``."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from shikomi.compute.local import LocalPool, end_with_parent


def sign(folder: str) -> None:
    """Write this worker's id down, and sleep."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def come_and_go(folder: str) -> None:
    """Write this worker's id down, and be idle."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(0.1)


def main(how: str, folder: str) -> None:
    """Start two workers in one of the ways that stages do."""
    if how == "pool":
        list(LocalPool(2).map(sign, [folder, folder]))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        list(pool.map(come_and_go, [folder] * 8))
        time.sleep(600)


if __name__ == "__main__":
    main(*sys.argv[1:])
