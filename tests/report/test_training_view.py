"""Curves of training stages: what each panel shows, of finished runs, of runs in work, and of older ones."""

from __future__ import annotations

from shikomi.report.page import render
from shikomi.report.status import read_recorded
from shikomi.report.training_view import training_view
from tests.report.fake_store import STAGES, make_store, metrics, put_in_work


def panels(root) -> dict:
    return {panel["en"]: panel for panel in training_view(read_recorded(root, "試し"))}


def said(panel) -> dict[str, str]:
    return {en: value for _, en, value in panel["facts"]}


def test_a_finished_stage_has_its_curves_and_figures(tmp_path):
    panel = next(iter(panels(make_store(tmp_path)).values()))
    assert not panel["in_work"]
    assert [one["en"] for one in panel["small"]] == [
        "learning rate, share of its peak", "gradient norm", "update norm", "tokens a second",
    ]  # fmt: skip
    told = said(panel)
    assert told["loss"] == "8.000 → 0.400"
    assert told["speed"] == "6,120 tokens/s"
    assert told["model FLOPs over the peak"] == "41.3%"
    assert told["peak it is measured against"] == "439 GFLOP/s"
    assert told["tokens processed"] == "1.64M"


def test_what_was_seen_of_each_source_is_told_where_there_are_several(tmp_path):
    anneal = training_view(read_recorded(make_store(tmp_path), "試し"))[1]
    assert said(anneal)["of these corpus"] == "800k (1.60 epochs)"
    assert said(anneal)["of these dialogues"] == "838k (12.00 epochs)"


def test_a_stage_in_work_is_shown_as_far_as_it_is_and_the_page_loads_itself_anew(tmp_path):
    root = make_store(tmp_path, finished=STAGES[:6])
    put_in_work(root, "pretrain", metrics(30))
    (panel,) = training_view(read_recorded(root, "試し"))
    assert panel["in_work"]
    assert panel["when"]
    told = said(panel)
    assert told["steps"] == "30"
    assert told["tokens processed"] == "123k"
    page = render(read_recorded(root, "試し"))
    assert 'data-refresh="15"' in page
    assert "in work" in page


def test_a_build_that_has_ended_does_not_load_itself_anew(tmp_path):
    page = render(read_recorded(make_store(tmp_path), "試し"))
    assert "data-refresh" not in page
    assert 'http-equiv="refresh"' not in page


def test_rows_of_older_runs_are_shown_as_they_are(tmp_path):
    old = [{"step": step, "loss": 2.0, "factor": 1.0, "grad_norm": 0.5, "positions": 10} for step in (1, 2, 3)]
    root = make_store(tmp_path, files={"pretrain": {"metrics.jsonl": old}}, facts={"pretrain": {"mfu": None}})
    panel = training_view(read_recorded(root, "試し"))[0]
    assert [one["en"] for one in panel["small"]] == ["learning rate, share of its peak", "gradient norm"]
    assert said(panel)["tokens processed"] == "30"
