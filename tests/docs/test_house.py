"""Rules of the house that no other tool checks."""

from __future__ import annotations

import pytest

from tests.docs.conftest import ROOT, name

SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_package_files_are_empty():
    found = [path for path in SOURCES if path.name == "__init__.py"]
    assert len(found) > 10
    assert [name(path) for path in found if path.stat().st_size] == []


def test_no_file_is_a_drawer():
    drawers = {"utils", "util", "helpers", "common", "misc"}
    assert [name(path) for path in SOURCES if path.stem in drawers or path.parent.name in drawers] == []


@pytest.mark.parametrize("source", [path for path in SOURCES if path.name != "__init__.py"], ids=name)
def test_files_can_be_read_in_one_sitting(source):
    text = source.read_text(encoding="utf-8")
    assert text.startswith('"""'), "a file says first what it is"
    assert len(text.splitlines()) <= 400
