"""Shared fixtures: where the real data and the browser are, threads that do not fight, skips that may not happen."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.dist.crew import Crew

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).resolve().parent.parent

EQUIPMENT = {"chromium": "chromium", "real": "real_data", "gpu": "gpu", "ray": "ray"}
"""What a test may need beyond ``make test``'s install: marker → fixture that skips where it is absent."""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip that says why."""
    folder = Path(os.environ.get("SHIKOMI_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "crawl").is_dir():
        pytest.skip("real data is absent: set SHIKOMI_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium's executable, or a skip that says how to get it."""
    found = os.environ.get("SHIKOMI_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("Chromium is absent: apt-get install chromium, or set SHIKOMI_CHROMIUM to its path")
    return found


@pytest.fixture(scope="session")
def ray() -> None:
    """Ray is installed, or a skip that says how to get it."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is absent: pip install -c constraints.txt -e '.[cluster]'")


@pytest.fixture(scope="session")
def crews() -> Iterator[Callable[[int], Crew]]:
    """``crews(n)`` gives n ranks on gloo, started once for the whole session: see ``tests.dist.crew``."""
    made: dict[int, Crew] = {}
    yield lambda size: made.setdefault(size, Crew(size))
    for crew in made.values():
        crew.close()


def forbidden_skips() -> set[str]:
    """What ``SHIKOMI_NO_SKIP`` lists: a skip for want of one of these is a failure (``other``: of none of them)."""
    return {name.strip() for name in os.environ.get("SHIKOMI_NO_SKIP", "").split(",") if name.strip()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip that ``SHIKOMI_NO_SKIP`` forbids into a failure that keeps the skip's reason."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        needs = {name for name, fixture in EQUIPMENT.items() if _needs(item, name, fixture)} or {"other"}
        forbidden = needs & forbidden_skips()
        if forbidden:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            report.outcome = "failed"
            report.longrepr = f"SHIKOMI_NO_SKIP={','.join(sorted(forbidden))} forbids this skip: {reason}"
    return report


def _needs(item: pytest.Item, marker: str, fixture: str) -> bool:
    return item.get_closest_marker(marker) is not None or fixture in getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file skipped (``importorskip``) is no less a skip: it fails under ``SHIKOMI_NO_SKIP=other``."""
    report = yield
    if report.outcome == "skipped" and "other" in forbidden_skips():
        report.outcome = "failed"
        report.longrepr = f"SHIKOMI_NO_SKIP=other forbids skipping {collector.nodeid}: {report.longrepr}"
    return report
