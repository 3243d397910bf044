"""What a store holds, read from files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from shikomi.errors import DataError
from shikomi.io import write_json
from shikomi.report.status import read_recorded, read_status, status_of
from tests.report.fake_store import STAGES, identity, make_store, metrics, put_in_work


def planned(root: Path, recipe: str = "試し"):
    """A recipe and a build as the flow has them."""
    steps = [SimpleNamespace(name=stage) for stage in STAGES]
    build = SimpleNamespace(steps=steps, store=SimpleNamespace(root=root), id=lambda step: identity(step.name))
    return SimpleNamespace(name=recipe), build


def test_a_finished_build_says_what_it_took(tmp_path):
    build = read_status(*planned(make_store(tmp_path)))
    assert build.complete
    assert build.synthetic
    assert build.build_seconds == sum(10.0 * (place + 1) for place in range(len(STAGES)))
    assert build.peak_mb == 1300
    assert build.stage("sft").facts["parameters"] == 2_412_096
    assert [stage.cached for stage in build.stages] == [True] + [False] * 12
    assert build.answers[0]["answer"] == "1987年です。"
    assert build.scores["headline"]["seen_forms"] == 0.92
    assert len(build.stage("dpo").rows("metrics.jsonl")) == 400


def test_the_store_alone_tells_the_same(tmp_path):
    root = make_store(tmp_path)
    assert read_recorded(root, "試し").plain() == read_status(*planned(root)).plain()
    with pytest.raises(DataError, match='no build of "other"'):
        read_recorded(root, "other")
    write_json(root / "builds" / "broken.json", {"steps": [{"name": "crawl"}]})
    with pytest.raises(DataError, match="damaged"):
        read_recorded(root, "broken")


def test_plain_values_name_the_report_once_it_is_there(tmp_path):
    build = read_recorded(make_store(tmp_path), "試し")
    told = json.loads(json.dumps(build.plain()))
    assert {"report_path", "build_seconds", "peak_mb", "answers", "stages"} <= told.keys()
    assert told["report_path"] is None
    build.report_path.parent.mkdir()
    build.report_path.write_text("x", encoding="utf-8")
    assert build.plain()["report_path"] == str(build.report_path.absolute())
    assert told["stages"][3] == {
        "name": "corpus", "id": identity("corpus"), "state": "finished", "cached": False,
        "seconds": 40.0, "peak_mb": 400.0,
    }  # fmt: skip


def test_what_is_not_there_is_missing_or_unfinished(tmp_path):
    root = make_store(tmp_path, finished=("crawl", "dialogues", "pages", "corpus"))
    work = root / "work" / f"tokenizer-{identity('tokenizer')}"
    work.mkdir(parents=True)
    assert read_recorded(root, "試し").stage("tokenizer").state == "missing"
    (work / "half.bin").write_bytes(b"x")
    build = read_recorded(root, "試し")
    assert [stage.state for stage in build.stages[2:6]] == ["finished", "finished", "unfinished", "missing"]
    assert not build.complete
    assert build.answers == []
    assert build.stage("tokenizer").rows("metrics.jsonl") == []
    assert build.stage("tokenizer").read("summary.json") is None
    assert build.stage("nosuch").state == "missing"


def test_a_stage_in_work_shows_the_steps_it_has_made(tmp_path):
    root = make_store(tmp_path, finished=STAGES[:6])
    assert not read_recorded(root, "試し").in_work
    put_in_work(root, "pretrain", metrics(30))
    with open(root / "work" / f"pretrain-{identity('pretrain')}" / "scratch" / "metrics.jsonl", "a") as handle:
        handle.write('{"step": 31, "lo')
    build = read_recorded(root, "試し")
    assert build.in_work
    assert build.stage("pretrain").state == "unfinished"
    assert [row["step"] for row in build.stage("pretrain").rows("metrics.jsonl")] == list(range(1, 31))


def test_of_a_long_run_rows_are_read_here_and_there(tmp_path):
    root = make_store(tmp_path, files={"sft": {"metrics.jsonl": metrics(1000)}})
    steps = [row["step"] for row in read_recorded(root, "試し").stage("sft").rows("metrics.jsonl", 100)]
    assert steps[0] == 1
    assert steps[-1] == 1000
    assert 100 <= len(steps) <= 102
    assert steps == sorted(set(steps))


def test_damaged_files_are_no_obstacle(tmp_path):
    root = make_store(tmp_path)
    (root / "evaluate" / identity("evaluate") / "scores.json").write_text("{half", encoding="utf-8")
    metrics = root / "sft" / identity("sft") / "metrics.jsonl"
    metrics.write_text('{"step": 1, "loss": 2}\n[1]\n{torn', encoding="utf-8")
    (root / "dpo" / identity("dpo") / "metrics.jsonl").unlink()
    (root / "corpus" / identity("corpus") / "manifest.json").write_text("[]", encoding="utf-8")
    build = read_recorded(root, "試し")
    assert build.scores == {}
    assert build.stage("sft").rows("metrics.jsonl") == [{"step": 1, "loss": 2}]
    assert build.stage("dpo").rows("metrics.jsonl") == []
    assert build.stage("corpus").state == "missing"


def test_a_record_of_other_ids_says_nothing_of_this_build(tmp_path):
    root = make_store(tmp_path)
    build = status_of(root, "試し", [("crawl", "0" * 16), ("corpus", identity("corpus"))])
    assert build.record == {}
    assert [stage.state for stage in build.stages] == ["missing", "finished"]
    assert not build.stages[1].cached


def test_real_pages_are_not_called_synthetic(tmp_path):
    stages = tuple(stage for stage in STAGES if stage != "crawl")
    root = make_store(tmp_path, stages=stages, facts={"dialogues": {"synthetic": False}})
    assert not read_recorded(root, "試し").synthetic


def test_reading_a_status_loads_no_heavy_library():
    heavy = ("torch", "numpy", "jinja2", "pyarrow")
    code = f"import sys, shikomi.report.status; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
