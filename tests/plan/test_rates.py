"""Speeds of this machine: measured, seen in earlier builds, or guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shikomi.io import write_json
from shikomi.plan import rates
from shikomi.plan.hardware import describe
from shikomi.plan.rates import Evidence, Rates, Seen, read_evidence, read_measured, read_rates, save_rates, work_done

TOLD = {
    "train": [[192, 2.0e10], [768, 8.0e10]], "generate": 5.0e9, "crawl": 900.0, "pages": 300.0, "corpus": 200.0,
    "tokenizer": 4.0e5, "encode": 2.0e6, "start": 3.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that measurements are kept in."""
    monkeypatch.setenv("SHIKOMI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_measurements_come_back(cache: Path):
    assert save_rates({"rates": TOLD, "gemm_gflops": 30}) == cache / "rates.json"
    measured = read_measured()
    assert measured is not None
    assert measured["gemm_gflops"] == 30
    found = read_rates()
    assert found.basis == rates.MEASURED_BASIS
    assert found.train == ((192, 2.0e10), (768, 8.0e10))
    assert {name: getattr(found, name) for name in TOLD if name != "train"} == {
        name: value for name, value in TOLD.items() if name != "train"
    }


def test_a_guess_says_that_it_is_one_and_its_range_is_wider():
    guess = read_rates()
    save_rates({"rates": TOLD})
    assert guess == Rates()
    assert "nothing measured" in guess.basis
    assert "shikomi doctor" in guess.basis
    measured = read_rates()
    assert guess.low < measured.low <= 1 <= measured.high < guess.high


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 2}', '{"format": 2, "machine": []}', "\x00"])
def test_a_damaged_file_is_as_none(cache: Path, text: str):
    cache.mkdir()
    (cache / "rates.json").write_text(text)
    assert read_measured() is None
    assert read_rates() == Rates()


@pytest.mark.parametrize(
    "changed", [{"processor": "another"}, {"cores": 4096}, {"accelerators": ["another"]}, {"processor": None}]
)
def test_measurements_of_another_machine_do_not_count(cache: Path, changed: dict[str, Any]):
    write_json(cache / "rates.json", {"format": rates.FORMAT, "machine": describe() | changed, "rates": TOLD})
    assert read_measured() is None
    assert read_rates() == Rates()


def test_measurements_of_another_format_do_not_count(cache: Path):
    write_json(cache / "rates.json", {"format": 1, "machine": describe(), "rates": TOLD})
    assert read_measured() is None


@pytest.mark.parametrize(
    "told",
    [None, {}, TOLD | {"train": 3}, TOLD | {"crawl": "fast"}, {k: v for k, v in TOLD.items() if k != "start"}],
)
def test_figures_that_make_no_sense_give_the_guess(told: Any):
    save_rates({"rates": told})
    assert read_rates() == Rates()


def test_the_file_is_in_the_user_s_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("SHIKOMI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert rates.rates_path() == tmp_path / "xdg" / "shikomi" / "rates.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert rates.rates_path() == tmp_path / ".cache" / "shikomi" / "rates.json"


def test_speed_rises_between_measured_widths_and_stays_beyond_them():
    found = Rates(train=((100, 1e9), (400, 4e9)))
    assert found.train_flops(10) == found.train_flops(100) == 1e9
    assert found.train_flops(200) == pytest.approx(2e9)
    assert found.train_flops(400) == found.train_flops(4000) == 4e9


def test_a_speed_seen_is_scaled_to_the_work():
    evidence = Evidence({"corpus": [Seen(1000, 10), Seen(1000, 99)]})
    assert evidence.seconds("corpus", 2000, 0) == pytest.approx(20)
    assert evidence.seconds("crawl", 2000, 0) is None


@pytest.mark.parametrize(("work", "seen"), [(199, False), (200, True), (5000, True), (5001, False), (0, False)])
def test_much_more_or_less_work_than_seen_shows_nothing(work: float, seen: bool):
    assert (Evidence({"corpus": [Seen(1000, 10)]}).seconds("corpus", work, 0) is not None) == seen


@pytest.mark.parametrize(("parameters", "seen"), [(300, True), (901, False), (99, False)])
def test_another_size_of_model_shows_nothing(parameters: int, seen: bool):
    evidence = Evidence({"dpo": [Seen(1000, 10, 300)]})
    assert (evidence.seconds("dpo", 1000, parameters) is not None) == seen


def test_a_stretch_of_training_shows_for_the_others_and_its_own_counts_first():
    evidence = Evidence({"pretrain": [Seen(1000, 10, 300)], "sft": [Seen(1000, 40, 300)]})
    assert evidence.seconds("anneal", 1000, 300) == 10
    assert evidence.seconds("sft", 1000, 300) == 40
    assert evidence.seconds("evaluate", 1000, 300) is None


def manifest(stage: str, seconds: float, facts: Any, machine: Any = None, **inputs: str) -> dict[str, Any]:
    told = {name: {"id": identity} for name, identity in inputs.items()}
    return {"id": f"{stage}1", "seconds": seconds, "facts": facts, "inputs": told, "machine": machine or describe()}


def test_evidence_is_read_from_manifests():
    found = read_evidence(
        {
            "corpus": [manifest("corpus", 10, {"read": 1000})],
            "pretrain": [manifest("pretrain", 50, {"positions": 100, "flops_per_token": 7.0, "parameters": 300})],
            "evaluate": [manifest("evaluate", 30, {"questions": 40}, base="pretrain1")],
            "crawl": [manifest("crawl", 10, {"pages": 5}, {"processor": "another"})],
            "tokens": [manifest("tokens", 10, {})],
            "tokenizer": [manifest("tokenizer", 0, {"characters": 5})],
        }
    )
    assert found.seen == {
        "corpus": [Seen(1000, 10)],
        "pretrain": [Seen(700, 50, 300)],
        "evaluate": [Seen(40, 30, 300)],
    }


@pytest.mark.parametrize(
    ("stage", "facts", "work"),
    [
        ("crawl", {"pages": 5}, 5),
        ("corpus", {"read": 6}, 6),
        ("tokenizer", {"characters": 7}, 7),
        ("tokenizer", {}, 0),
        ("tokens", {"train": {"characters": 5}, "heldout": {"characters": 3}}, 8),
        ("tokens", {"train": 5}, 0),
        ("sft", {"positions": 3, "flops_per_token": 4}, 12),
        ("dpo", {"positions": 3}, 3),
        ("evaluate", {"questions": 9}, 9),
        ("evaluate", {"questions": "nine"}, 0),
        ("release", {"questions": 9}, 0),
        ("corpus", None, 0),
    ],
)
def test_work_is_counted_in_each_stage_s_own_unit(stage: str, facts: Any, work: float):
    assert work_done(stage, {"facts": facts}) == work
