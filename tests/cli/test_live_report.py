"""The report is written anew while training goes on, seldom, and never at the cost of the build."""

from __future__ import annotations

import pytest

from shikomi.cli import live_report
from shikomi.cli.live_report import LiveReport
from shikomi.cli.machine import open_site, training_site
from shikomi.cli.progress import progress_text
from shikomi.flow.runner import Unwatched
from shikomi.train.metrics import note
from shikomi.units import width


@pytest.fixture
def clock(monkeypatch):
    now = {"seconds": 1000.0}
    monkeypatch.setattr(live_report.time, "monotonic", lambda: now["seconds"])
    return now


def test_training_has_the_report_written_at_once_and_then_seldom(clock):
    written = []
    progress = LiveReport(Unwatched(), lambda: written.append(clock["seconds"])).begin("pretrain", 1, 2)
    for _ in range(40):
        progress(1, 10, "steps", "loss 1")
        clock["seconds"] += 1
    assert written == [1000.0, 1015.0, 1030.0]


def test_a_report_that_takes_long_is_written_the_more_seldom(clock):
    written = []

    def write():
        written.append(clock["seconds"])
        clock["seconds"] += 3

    progress = LiveReport(Unwatched(), write).begin("pretrain", 1, 2)
    for _ in range(400):
        progress(1, 10, "steps")
        clock["seconds"] += 1
    assert written == [1000.0, 1303.0]


def test_other_stages_write_none_and_a_full_disk_ends_no_build(clock):
    def write():
        raise OSError(28, "No space left on device")

    watch = LiveReport(Unwatched(), write)
    watch.begin("corpus", 1, 2)(1, 10, "pages")
    assert watch.due == 0.0
    watch.begin("pretrain", 2, 2)(1, 10, "steps")
    assert watch.due > 0


def test_what_a_stage_says_is_passed_on():
    said = []

    class Says(Unwatched):
        """Shows sentences."""

        def begin(self, stage, number, of):
            line = super().begin(stage, number, of)
            told = type(
                "Line", (), {"__call__": lambda self, *given: line(*given), "say": lambda self, t: said.append(t)}
            )
            return told()

    LiveReport(Says(), lambda: None).begin("pretrain", 1, 1).say("a trace is there")
    assert said == ["a trace is there"]


def test_the_line_of_training_shows_time_loss_and_speed_at_80_columns_and_more_at_120():
    row = {"loss": 3.2104, "grad_norm": 0.81, "rate": 0.8, "tokens": 1_230_000, "memory_mb": 512.0}
    told = note(row | {"tokens_per_second": 5812.0, "mfu": 0.41})
    text = progress_text(1200, 3500, "steps", told, 1200, 380)
    head = "[10/14] pretrain     "
    assert width(head + text[: text.index("  MFU")]) <= 80
    assert width(head + text[: text.index("  rate")]) <= 100
    assert "12:08 left  loss 3.210  5.81k tok/s" in text


def test_one_flag_traces_a_few_steps():
    assert training_site(open_site(None)).profile_steps == ""
    assert training_site(open_site(None), profile=True).profiled == (4, 6)
