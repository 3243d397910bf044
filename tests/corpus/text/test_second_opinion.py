"""Another extractor, if it is installed."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from shikomi.corpus.text import second_opinion
from shikomi.corpus.text.extract import running_text
from shikomi.errors import MachineError


def test_its_text_goes_through_footer_and_punctuation_as_ours(monkeypatch):
    stub = ModuleType("trafilatura")
    asked = {}

    def extract(page, **options):
        asked.update(options)
        return "本文の行である，ということ．\n\n 次の行も本文である．\n"

    stub.extract = extract  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trafilatura", stub)
    assert running_text("<p>頁</p>", extractor="trafilatura") == "本文の行である、ということ。\n次の行も本文である。"
    assert asked == {"include_comments": False, "include_tables": False}
    stub.extract = lambda page, **options: None  # type: ignore[attr-defined]
    assert running_text("<p>頁</p>", extractor="trafilatura") == ""


def test_that_it_is_missing_is_said_before_the_build(monkeypatch):
    second_opinion.require("resiliparse")
    monkeypatch.setattr(second_opinion, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="not installed") as caught:
        second_opinion.require("trafilatura")
    assert caught.value.where == "corpus.extractor"
    assert "pip install" in caught.value.hint
    monkeypatch.setattr(second_opinion, "find_spec", lambda name: object())
    second_opinion.require("trafilatura")
