"""What each verb that reads a store says, as text and as JSON, on a store made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shikomi.cli import build_verb, reporting
from shikomi.cli.eval_verb import scores_table
from shikomi.cli.look_corpus import funnel_text
from shikomi.cli.options import open_build
from shikomi.flow.runner import Build
from shikomi.flow.step import Step
from shikomi.flow.store import Store
from shikomi.io import write_json
from shikomi.plan.rates import save_rates
from shikomi.units import width
from tests.cli.shell import SECONDS, Made, Shell, finish, make
from tests.e2e.command import STAGES
from tests.flow.toy import numbers, total
from tests.report.fake_store import funnel, real_scores, scores


def test_status_tells_every_stage(shikomi: Shell, made: Made):
    told = json.loads(shikomi.done("status", *made.words, "--json").out)
    assert {"report_path", "build_seconds", "peak_mb", "answers", "stages"} <= set(told)
    assert told["complete"] is True
    assert told["build_seconds"] == SECONDS * len(STAGES)
    assert [stage["name"] for stage in told["stages"]] == list(STAGES)
    lines = shikomi.done("status", *made.words).out.splitlines()
    rows = {line.split()[0]: line for line in lines[1 : len(STAGES) + 1]}
    assert list(rows) == list(STAGES)
    assert all("10 s" in row and "100 MB" in row and row.endswith("cached") for row in rows.values())
    assert "finished stages: 2:10, 100 MB at most" in lines
    assert lines[-2:] == ["問: 架空堂、本社は。", "答: 京都市です。"]


def test_status_of_what_is_not_built(shikomi: Shell, unmade: Made):
    told = json.loads(shikomi.done("status", *unmade.words, "--json").out)
    assert told["complete"] is False
    assert told["report_path"] is None
    assert told["answers"] == []
    assert {stage["state"] for stage in told["stages"]} == {"missing"}
    assert shikomi.done("status", *unmade.words).out.count("never built in this store") == len(STAGES)
    assert not unmade.store.exists()


def test_status_says_why(shikomi: Shell, made: Made):
    words = ("status", *made.words, "--why", "sft")
    assert shikomi.done(*words).out == "sft: cached\n"
    changed = json.loads(shikomi.done(*words, "--json", "--set", "sft.tokens=4k").out)
    assert changed["stage"] == "sft"
    assert "tokens: 1536 → 4000" in changed["why"]
    assert "input" in shikomi.done(*words, "--set", "sample.seed=8").out


def test_status_shows_the_report_once_it_is_written(shikomi: Shell, tmp_path: Path):
    made = make(tmp_path, finished=("crawl", "corpus"))
    path = shikomi.done("report", *made.words).out.strip()
    assert Path(path).is_absolute()
    assert Path(path).read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert f"report: {path}" in shikomi.done("status", *made.words).out.splitlines()
    assert json.loads(shikomi.done("report", *made.words, "--json").out) == {"report_path": path}


def test_plan_of_what_is_not_built(shikomi: Shell, unmade: Made):
    lines = shikomi.done("plan", *unmade.words).out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(STAGES) + 1]] == list(STAGES)
    assert lines[len(STAGES) + 1].startswith("total")
    assert lines[-1].startswith("speed: nothing measured here yet")
    assert lines[-1].endswith("(all)")
    told = json.loads(shikomi.done("plan", *unmade.words, "--json").out)
    assert told["low"] < told["seconds"] < told["high"]
    assert told["seconds"] == pytest.approx(sum(stage["seconds"] for stage in told["stages"]))
    assert {"stage", "id", "input", "tokens", "parameters", "flops", "low", "high", "cached"} <= set(told["stages"][0])
    assert not unmade.store.exists()


def test_plan_of_what_is_built(shikomi: Shell, made: Made):
    lines = shikomi.done("plan", *made.words).out.splitlines()
    assert all(line.endswith("cached, took 10 s") for line in lines[1 : len(STAGES) + 1])
    assert lines[len(STAGES) + 1].split() == ["total", "nothing", "to", "do"]
    assert not any(line.startswith("speed:") for line in lines)


def test_plan_of_what_is_half_built_takes_what_was_counted(shikomi: Shell, tmp_path: Path):
    save_rates({"rates": {"train": [[192, 2e10]], "generate": 5e9, "crawl": 900, "pages": 300, "corpus": 200,
                          "tokenizer": 4e5, "encode": 2e6, "start": 3}})  # fmt: skip
    made = make(tmp_path, finished=("crawl", "dialogues", "pages", "corpus"))
    out = shikomi.done("plan", *made.words).out
    assert "1.48M characters" in out
    assert "speed: measured by `shikomi doctor` (tokenizer, tokens, pretrain, " in out


def test_plan_shows_formulas_on_demand(shikomi: Shell, unmade: Made):
    out = shikomi.done("plan", *unmade.words, "--formulas").out
    assert "pretrain: (6·N + 6·layers·heads·head_dim·T)·D = " in out
    assert out.count(" FLOPs\n") == 5
    assert "(6·N" not in shikomi.done("plan", *unmade.words).out


def test_plan_of_an_open_base_counts_the_base(shikomi: Shell, unmade: Made, tmp_path: Path):
    base = tmp_path / "基盤"
    base.mkdir()
    config = {"model_type": "llama", "vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 2,
              "num_attention_heads": 4, "intermediate_size": 100, "tie_word_embeddings": True}  # fmt: skip
    write_json(base / "config.json", config)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        write_json(base / name, {})
    (base / "model.safetensors").write_bytes(b"weights")
    told = json.loads(shikomi.done("plan", *unmade.words, "--set", f"model.base={base}", "--json").out)
    stages = {stage["stage"]: stage for stage in told["stages"]}
    attention, feed_forward, norms = 4 * 64 * 64, 3 * 64 * 100, 2 * 64
    assert stages["sft"]["parameters"] == 2 * (attention + feed_forward + norms) + 64 + 1000 * 64
    assert stages["tokenizer"]["input"] == "the base's tokenizer"


def test_plan_of_pages_of_one_s_own_counts_their_bytes(shikomi: Shell, unmade: Made, tmp_path: Path):
    path = tmp_path / "頁.warc.gz"
    path.write_bytes(b"\0" * 630_000)
    words = ("plan", *unmade.words, "--json", "--set", f"corpus.warc={json.dumps([str(path)])}")
    told = json.loads(shikomi.done(*words, "--set", "corpus.licence=unknown").out)
    names = [stage["stage"] for stage in told["stages"]]
    assert sorted(names) == sorted(STAGES)
    assert names.index("crawl") < names.index("dialogues") < names.index("pages")
    assert told["stages"][names.index("pages")]["input"] == "~100 pages"


def test_eval_tells_the_headline(shikomi: Shell, made: Made):
    told = json.loads(shikomi.done("eval", *made.words, "--json").out)
    assert told == scores()["headline"]
    assert {"seen_forms", "unseen_forms", "n", "base", "most_frequent", "shuffled", "bits_per_byte"} <= set(told)


def test_eval_shows_every_metric_of_every_model(shikomi: Shell, made: Made):
    head, *rows = shikomi.done("eval", *made.words).out.splitlines()
    assert head.split() == ["metric", "base", "anneal", "sft", "dpo", "n"]
    assert len(rows) == len(scores()["metrics"]) + 2
    assert "92.0% [87.0%, 97.0%]" in rows[1]
    assert rows[1].endswith(" 300")
    assert "0.830 [0.810, 0.850]" in rows[4]
    assert rows[-2].split() == ["most", "frequent", "answer", "6.0%"]
    assert rows[-1].split() == ["answers", "shuffled", "2.0%"]


def test_scores_that_were_not_taken_are_dashes():
    told = real_scores()
    del told["models"]["base"]["reading"]
    rows = scores_table(told).splitlines()
    assert rows[1].split()[:4] == ["reading", "comprehension", "-", "3.0%"]
    assert "[" not in rows[3]
    assert rows[-2].strip() == "most frequent answer"


def test_look_shows_the_funnel(shikomi: Shell, made: Made):
    told = json.loads(shikomi.done("look", "corpus", *made.words, "--json").out)
    assert {name: told[name] for name in ("read", "kept", "dropped_by_reason")} == {
        name: funnel()[name] for name in ("read", "kept", "dropped_by_reason")
    }
    lines = shikomi.done("look", "corpus", *made.words).out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["pages", "read", "-"]
    reasons = [line.split()[1] for line in lines if line.startswith("- ")]
    assert reasons == ["not_japanese", "near_copy", "duplicate_7gram_fraction", "letters"]
    assert "12.0%" in lines[2]
    assert any(line.startswith("kept") and "80.0%" in line for line in lines)
    samples = [line for line in lines if line.startswith(("kept: ", "dropped: "))]
    assert len(samples) == 3
    assert all(width(line.split(": ", 1)[1]) <= 110 for line in samples)
    few = shikomi.done("look", "corpus", *made.words, "--samples", "1").out
    assert few.count("\ndropped: ") == 1
    assert "kept: " not in shikomi.done("look", "corpus", *made.words, "--samples", "0").out


def test_a_funnel_of_nothing_and_samples_of_any_form():
    told = {"read": 0, "kept": 0, "dropped_by_reason": {}, "samples": {"kept": ["一行"], "dropped": {"no": "list"}}}
    lines = funnel_text(told, 3).splitlines()
    assert lines[-1] == "kept: 一行"
    assert "0.0%" in lines[2]


def test_look_into_another_stage(shikomi: Shell, made: Made):
    told = json.loads(shikomi.done("look", "pretrain", *made.words, "--json").out)
    assert set(told) == {"folder", "id", "facts", "files", "seconds", "peak_mb"}
    assert Path(told["folder"]) == made.folder("pretrain")
    out = shikomi.done("look", "pretrain", *made.words).out
    assert "10 s, 100 MB at most" in out
    assert "2412096" in out
    assert "/metrics.jsonl" in out


def test_a_result_that_is_damaged_is_not_taken_for_built(shikomi: Shell, tmp_path: Path):
    made = make(tmp_path)
    (made.folder("evaluate") / "scores.json").unlink()
    ended = shikomi("eval", *made.words)
    assert ended.code == 2
    assert ended.told.what == "stage evaluate is not built yet"
    assert "damaged" in shikomi.done("status", *made.words, "--why", "evaluate").out


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb builds two toy steps in place of the recipe's, and writes no report."""

    def open_toy(path: Path | None, store: Path, overrides: tuple[str, ...]) -> tuple[Any, Build]:
        page, _ = open_build(path, store, overrides)
        first = numbers()
        last = Step("sft", 1, None, {"numbers": first}, total({"numbers": first}).run)
        return page, Build([first, last], Store(store))

    monkeypatch.setattr(build_verb, "open_build", open_toy)
    monkeypatch.setattr(reporting, "write_report", lambda recipe, build: Path("/somewhere/report.html"))


@pytest.mark.usefixtures("toy")
def test_build_tells_its_stages_and_what_to_do_next(shikomi: Shell, unmade: Made):
    ended = shikomi.done("build", *unmade.words, "--workers", 1)
    lines = ended.err.splitlines()
    assert ended.out == ""
    assert lines[0].startswith("[1/2] numbers")
    assert " done in " in lines[0]
    assert lines[-2] == "report: /somewhere/report.html"
    assert lines[-1].startswith("chat:   shikomi chat ")
    assert str(unmade.store) in lines[-1]
    told = json.loads(shikomi.done("build", *unmade.words, "--workers", 1, "--json").out)
    assert [stage["name"] for stage in told["stages"]] == ["numbers", "sft"]
    assert all(stage["cached"] for stage in told["stages"])
    assert told["report_path"] == "/somewhere/report.html"


@pytest.mark.usefixtures("toy")
def test_build_stops_after_a_stage(shikomi: Shell, unmade: Made):
    ended = shikomi.done("build", *unmade.words, "--until", "numbers", "--workers", 1)
    assert "chat:" not in ended.err
    assert not (unmade.store / "sft").exists()


@pytest.mark.usefixtures("toy")
def test_build_fails_at_once_where_another_one_runs(shikomi: Shell, unmade: Made):
    from shikomi.flow.lock import hold

    store = Store(unmade.store)
    store.create()
    with hold(store.lock_path, "別の構築", wait=False, say=lambda text: None):
        ended = shikomi("build", *unmade.words, "--no-wait")
    assert ended.code == 1
    assert "別の構築" in ended.err
    assert not (unmade.store / "numbers").exists()


@pytest.mark.usefixtures("toy")
def test_build_as_the_site_says(shikomi: Shell, unmade: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    site, seen = tmp_path / "site.toml", {}
    site.write_text("workers = 3\nthreads = 5\n")
    monkeypatch.setattr(Build, "run", lambda self, **given: seen.update(given) or [])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    shikomi.done("build", *unmade.words, "--site", site)
    assert (seen["workers"], seen["threads"]) == (3, 5)
    assert seen["until"] == ""
    assert seen["about"] == {"file": str(unmade.path), "overrides": []}
    shikomi.done("build", *unmade.words, "--site", site, "--workers", 2)
    assert seen["workers"] == 2
    site.write_text("wrokers = 3\n")
    ended = shikomi("build", *unmade.words, "--site", site)
    assert ended.code == 2
    assert "workers" in ended.told.hint


def test_finishing_a_stage_by_hand_is_what_the_runner_does(unmade: Made):
    _, build = unmade.open()
    folder = finish(build, "corpus")
    assert build.finished(build.step("corpus"))
    assert folder == build.folder(build.step("corpus"))
