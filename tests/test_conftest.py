"""CI may not pass over a test that it should have equipped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CASES = """
import pytest

@pytest.mark.chromium
def test_browser():
    pytest.skip("no browser here")

def test_browser_by_fixture(chromium):
    assert chromium

def test_real(real_data):
    assert real_data

def test_plain():
    pytest.skip("for no good reason")

@pytest.mark.xfail(reason="known")
def test_expected():
    assert False

def test_sound():
    assert True
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A small suite under our conftest, on a machine with neither Chromium nor real data."""
    shutil.copy(Path(__file__).with_name("conftest.py"), pytester.path / "conftest.py")
    pytester.makepyfile(test_cases=CASES)
    pytester.makeini("[pytest]\nmarkers =\n  chromium: needs it\n")
    monkeypatch.setenv("SHIKOMI_REAL_DATA", str(pytester.path / "nowhere"))
    monkeypatch.setenv("PATH", str(pytester.path))
    monkeypatch.delenv("SHIKOMI_CHROMIUM", raising=False)
    return pytester


def test_skips_are_allowed_without_the_variable(suite, monkeypatch):
    monkeypatch.delenv("SHIKOMI_NO_SKIP", raising=False)
    suite.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1, skipped=4, xfailed=1)


def test_named_equipment_may_not_be_skipped(suite, monkeypatch):
    monkeypatch.setenv("SHIKOMI_NO_SKIP", "chromium")
    result = suite.runpytest("-p", "no:cacheprovider")
    # A skip by a fixture is the set-up's: pytest counts it as an error.
    result.assert_outcomes(passed=1, failed=1, errors=1, skipped=2, xfailed=1)
    result.stdout.fnmatch_lines(["*SHIKOMI_NO_SKIP=chromium forbids this skip: *no browser here*"])


def test_other_forbids_skips_without_equipment(suite, monkeypatch):
    monkeypatch.setenv("SHIKOMI_NO_SKIP", "real,other")
    suite.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=1, failed=1, errors=1, skipped=2, xfailed=1)


def test_a_file_skipped_whole_is_a_failure(suite, monkeypatch):
    suite.makepyfile(test_cases='import pytest\n\npytest.importorskip("no_such_package")\n')
    monkeypatch.setenv("SHIKOMI_NO_SKIP", "other")
    result = suite.runpytest("-p", "no:cacheprovider")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*SHIKOMI_NO_SKIP=other forbids skipping*"])
