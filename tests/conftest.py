"""Shared fixtures: where the real data is, and threads that do not fight."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip that says why."""
    folder = Path(os.environ.get("SHIKOMI_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "crawl").is_dir():
        pytest.skip("real data is absent: set SHIKOMI_REAL_DATA to its folder")
    return folder
