"""The live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from shikomi.cli import progress
from shikomi.cli.progress import Screen, progress_text
from shikomi.units import width
from tests.cli.test_screen import Terminal


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((50, 200, "pages", "", 50, 10), " 25%  50/200 pages  5 pages/s  30 s left"),
        ((150, 200, "pages", "loss 2.1", 50, 10), " 75%  150/200 pages  5 pages/s  10 s left  loss 2.1"),
        ((0, 200, "pages", "", 0, 0), "  0%  0/200 pages"),
        ((300, 200, "pages", "", 100, 10), "150%  300/200 pages  10 pages/s  0.0 s left"),
        ((50, 0, "pages", "", 50, 10), "50 pages  5 pages/s"),
        ((1_500_000, 3_000_000, "tokens", "", 0, 10), " 50%  1.5M/3M tokens"),
    ],
)
def test_a_stage_tells_how_far_it_is(given: tuple, text: str):
    assert progress_text(*given) == text


def test_one_live_line_on_a_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    screen = Screen(stream)
    line = screen.begin("corpus", 2, 12)
    line(0, 100, "pages", "")
    clock.now += progress.LIVE_SECONDS / 2
    line(5, 100, "pages", "")  # too soon after the last one
    clock.now = 102.0
    line(50, 100, "pages", "本文")
    screen.end("corpus", 75, cached=False)
    told = stream.getvalue()
    shown = [piece.replace("\x1b[K", "") for piece in told.split("\r")]
    assert not any("5/100" in piece for piece in shown)
    assert shown[-2] == "[ 2/12] corpus        50%  50/100 pages  25 pages/s  2.0 s left  本文"
    assert told.count("\n") == 1
    assert told.endswith("\r\x1b[K[ 2/12] corpus       done in 1:15\n")


def test_a_live_line_fits_the_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    line = Screen(stream).begin("corpus", 1, 1)
    clock.now += 1
    line(1, 2, "pages", "長い題名の頁" * 20)
    last = stream.getvalue().split("\r")[-1].replace("\x1b[K", "")
    assert last.endswith("…")
    assert 36 <= width(last) < 40


def test_plain_lines_now_and_then_where_there_is_no_terminal(clock: Clock):
    stream = io.StringIO()
    screen = Screen(stream)
    line = screen.begin("corpus", 1, 1)
    for _ in range(25):
        line(10, 100, "pages", "")
        clock.now += 1
    screen.end("corpus", 3.21, cached=False)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("[1/1] corpus") for line in lines)
    assert lines[-1] == "[1/1] corpus       done in 3.2 s"
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_what_was_found_done_is_no_speed(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    shown = []
    monkeypatch.setattr(Screen, "show", lambda self, text: shown.append(text))
    line = Screen(Terminal()).begin("corpus", 1, 1)
    line(90, 100, "pages", "")
    clock.now += 10
    line(95, 100, "pages", "")
    assert "pages/s" not in shown[0]
    assert "0.5 pages/s" in shown[1]
    assert "10 s left" in shown[1]


def test_a_cached_stage_says_so():
    stream = Terminal()
    screen = Screen(stream)
    screen.begin("corpus", 1, 1)
    screen.end("corpus", 75, cached=True)
    assert stream.getvalue().endswith("\x1b[2mcached\x1b[0m\n")


def test_a_word_to_the_user_takes_the_live_line_away_first():
    stream = Terminal()
    screen = Screen(stream)
    screen.begin("corpus", 1, 1)
    screen.say("待っています")
    assert stream.getvalue().endswith("\r\x1b[K待っています\n")
    screen.close()
    assert stream.getvalue().endswith("待っています\n")
