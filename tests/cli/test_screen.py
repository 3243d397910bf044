"""Colour, tables as wide as Japanese is, text cut to columns, errors in three lines."""

from __future__ import annotations

import io
import json

import pytest

from shikomi.cli.progress import bar
from shikomi.cli.screen import cut, paint, say_error, show_json, table
from shikomi.errors import RecipeError, ShikomiError
from shikomi.units import width


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_colour_only_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch):
    assert paint("文", "red", Terminal()) == "\x1b[31m文\x1b[0m"
    assert paint("文", "red", io.StringIO()) == "文"
    monkeypatch.setenv("TERM", "dumb")
    assert paint("文", "red", Terminal()) == "文"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "")  # empty is as if it were not set: no-color.org
    assert paint("文", "red", Terminal()) != "文"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("文", "red", Terminal()) == "文"


@pytest.mark.parametrize(
    ("text", "columns", "cut_text"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("a\n\t b", 10, "a b"),
        ("", 4, ""),
    ],
)
def test_text_is_cut_to_terminal_columns(text: str, columns: int, cut_text: str):
    assert cut(text, columns) == cut_text
    assert width(cut_text) <= columns


def test_columns_of_a_table_stand_below_each_other():
    lines = table([["名前", "n"], ["株式会社", "1"], ["abc", "1000"]], right=(1,)).splitlines()
    assert [width(line) for line in lines] == [14, 14, 14]
    assert lines[2] == "abc       1000"
    assert table([]) == ""


def test_the_head_of_a_table_is_bold_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    assert table([["a"], ["b"]]).startswith("\x1b[1ma\x1b[0m\n")
    assert "\x1b" not in table([["a"], ["b"]], head=False)


def test_an_error_is_three_lines(capsys: pytest.CaptureFixture[str]):
    say_error(RecipeError("何かが違う", where="recipe.toml:3", hint="こうする"))
    assert capsys.readouterr().err == "error: 何かが違う\n  at: recipe.toml:3\nhint: こうする\n"
    say_error(ShikomiError("what"))
    assert capsys.readouterr().err == "error: what\n"


def test_json_keeps_japanese_readable(capsys: pytest.CaptureFixture[str]):
    show_json({"問い": "答え"})
    out = capsys.readouterr().out
    assert "問い" in out
    assert json.loads(out) == {"問い": "答え"}


@pytest.mark.parametrize(("share", "filled"), [(0, 0), (0.5, 4), (1, 8), (7, 8), (-1, 0)])
def test_a_bar_is_filled_by_its_share(share: float, filled: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert bar(share, 8) == "#" * filled + "." * (8 - filled)
    monkeypatch.setattr("sys.stdout", Terminal())
    assert bar(share, 8) == "█" * filled + "░" * (8 - filled)
