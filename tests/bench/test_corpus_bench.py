"""The corpus bench: its peers do what they say, its measures measure, and runs that do not compare are an error."""

from __future__ import annotations

import importlib.util
import random
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from shikomi.corpus.quality.measures import measure
from shikomi.corpus.quality.rules import first_failure
from shikomi.recipe.corpus import CorpusPage
from tests.corpus.pages import japanese_text

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def load(monkeypatch):
    """Loads a script of the bench by its path, under a name of its own."""

    def module(path: str) -> ModuleType:
        name = "bench_" + path.replace("/", "_").removesuffix(".py")
        spec = importlib.util.spec_from_file_location(name, BENCH / path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, made)
        spec.loader.exec_module(made)
        return made

    return module


def texts() -> list[str]:
    good = [japanese_text(seed, sentences=30) for seed in range(3)]
    odd = [
        good[0] + "\n" + good[0],
        good[1].replace("。", ""),
        good[2][:300],
        "あ" * 500,
        "コンピューター" * 80,
        "abc " * 200,
    ]
    return [*good, *odd, good[0].replace("。", "…\n"), "\n".join(["見出し。"] * 30) + good[1]]


def test_the_reference_keeps_what_ours_keeps(load):
    rules = load("peers/swallow/rules.py")
    verdicts = []
    for text in texts():
        ours = first_failure(measure(text), CorpusPage().thresholds()) is None
        assert rules.keep(rules.measures(text), 0.0) == ours
        verdicts.append(ours)
    assert 0 < sum(verdicts) < len(verdicts)


def test_the_scan_for_words_takes_the_longest_and_goes_on_after_it(load):
    words = load("peers/swallow/rules.py").Words(["だめ", "だめな言葉", "言葉"])
    assert words.covered("これはだめな言葉とだめと言葉だ") == 5 + 2 + 2
    assert words.covered("") == 0


def test_the_classifiers_stand_in_decides_by_kana(load):
    weights = load("peers/swallow/standins.py").weights()
    assert len(weights) == 104_000

    def score(text: str) -> float:
        return sum(weights.get(text[i : i + n], 0.0) for n in (1, 2, 3) for i in range(len(text)))

    assert score(japanese_text(1)) > 0
    assert score("これは" + "code " * 20) < 0 < score("これは" + "code " * 6)
    assert score("公司成立于一九九八年，总部位于上海。") < 0


def test_the_reference_finds_near_copies_and_nothing_else(load):
    seen = load("peers/swallow/copies.py").Seen()
    text = japanese_text(1, sentences=60)
    assert not seen.is_copy(text)
    assert not seen.is_copy(japanese_text(2, sentences=60))
    assert seen.is_copy(text)
    assert seen.is_copy(text[:-9])


def test_planted_copies_are_as_near_as_wanted(load):
    planted = load("peers/shikomi/planted.py")
    text = japanese_text(3, sentences=40)
    for low, high in planted.EDITS.values():
        changed = planted.edited(text, low, high, random.Random(1))
        assert low <= planted.jaccard(planted.grams(text), planted.grams(changed)) <= high


def test_a_step_inside_a_step_is_not_counted_twice(load):
    clock = load("peers/shikomi/steps.py").Clock()

    def burn(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    inner = clock.timed("measures", lambda: burn(0.04))
    clock.timed("lines", lambda: (burn(0.02), inner()))()
    assert list(clock.timed_steps("charset", lambda: iter("ab"))()) == ["a", "b"]
    assert 0.02 <= clock.seconds["lines"] < 0.04
    assert clock.seconds["measures"] >= 0.04
    assert not clock.open


def test_peers_that_read_different_numbers_of_pages_are_no_comparison(load, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    corpus = load("corpus.py")

    def interleave(peers, arguments, repeats, tell):
        said = {"kept": 1, "versions": {}}
        return {
            peer.name: [corpus.driver.Run(2.0, 3.0, 100.0, {"pages": 10 + (peer is corpus.DATATROVE) * extra, **said})]
            for peer in peers
        }

    monkeypatch.setattr(corpus.driver, "interleave", interleave)
    extra = 0
    assert corpus.compared([Path("a")], 1, print)["ratio_datatrove"] == 1.0
    extra = 1
    with pytest.raises(corpus.driver.BenchError, match="same number of pages"):
        corpus.compared([Path("a")], 1, print)
