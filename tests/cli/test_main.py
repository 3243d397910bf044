"""Verbs, their errors and exit codes, interruptions, and what nobody foresaw."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from shikomi.cli import main as cli
from shikomi.cli.options import command_line
from shikomi.errors import MachineError
from tests.cli.shell import Made, Shell
from tests.e2e.command import command_line as words_of

READING = ("plan", "status", "report", "eval", "chat", "build")
"""Verbs whose first argument is a recipe."""


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_lists_every_verb(shikomi: Shell, word: str):
    told = shikomi.done(word).out
    for verb in cli.VERBS:
        assert f"  {verb}" in told
    assert "日本語" in told


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_a_module_and_help(shikomi: Shell, verb: str):
    command = importlib.import_module(f"shikomi.cli.{verb}_verb").command
    assert command.name == verb
    assert "Usage: shikomi " + verb in shikomi.done(verb, "--help").out
    assert len(cli.VERBS[verb]) < 80


def test_version(shikomi: Shell):
    from importlib.metadata import version

    assert shikomi.done("--version").out == f"shikomi {version('shikomi')}\n"


def test_no_verb_shows_the_help_and_fails(shikomi: Shell):
    ended = shikomi()
    assert ended.code == 2
    assert "Usage: shikomi" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(("given", "near"), [("biuld", "build"), ("stat", "status"), ("charts", "chat")])
def test_an_unknown_verb_is_told_with_the_nearest(shikomi: Shell, given: str, near: str):
    ended = shikomi(given, "recipe.toml")
    assert ended.code == 2
    assert ended.told.what == f'there is no verb "{given}"'
    assert f"`shikomi {near}`" in ended.told.hint


def test_an_unknown_verb_like_none_lists_them(shikomi: Shell):
    ended = shikomi("翻訳")
    assert ended.code == 2
    assert all(verb in ended.told.hint for verb in cli.VERBS)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("plan", "--nonsense"), "--nonsense"),
        (("build", "r.toml", "--workers", "0"), "--workers"),
        (("chat", "r.toml", "--temperature", "9"), "--temperature"),
        (("look",), "STAGE"),
        (("--nonsense",), "--nonsense"),
        (("plan", "a.toml", "b.toml"), "b.toml"),
    ],
)
def test_a_wrong_option_is_told_in_three_lines(shikomi: Shell, words: tuple[str, ...], what: str):
    ended = shikomi(*words)
    assert ended.code == 2
    assert what in ended.told.what
    assert ended.told.where.startswith("shikomi")
    assert "--help" in ended.told.hint


@pytest.mark.parametrize("verb", READING)
def test_a_recipe_that_is_not_there(shikomi: Shell, verb: str, tmp_path: Path):
    ended = shikomi(verb, tmp_path / "無い.toml", "--store", tmp_path / "store")
    assert ended.code == 2
    assert "無い.toml" in ended.told.where
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("verb", READING)
def test_no_recipe_is_named_and_none_is_here(
    shikomi: Shell, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    ended = shikomi(verb)
    assert ended.code == 2
    assert ended.told.what == "name a recipe"
    assert "shikomi init" in ended.told.hint


def test_the_recipe_of_this_folder_is_taken_where_none_is_named(
    shikomi: Shell, unmade: Made, monkeypatch: pytest.MonkeyPatch
):
    unmade.path.rename(unmade.path.with_name("recipe.toml"))
    monkeypatch.chdir(unmade.path.parent)
    assert json.loads(shikomi.done("status", "--json").out)["complete"] is False


@pytest.mark.parametrize(
    "words", [("eval",), ("look", "corpus"), ("look", "dpo"), ("chat",), ("chat", "--model", "anneal")], ids=" ".join
)
def test_nothing_is_built_yet(shikomi: Shell, unmade: Made, words: tuple[str, ...]):
    verb, *more = words
    ended = shikomi(verb, *(more if verb == "look" else ()), *unmade.words, *(() if verb == "look" else more))
    assert ended.code == 2
    assert "is not built yet" in ended.told.what
    assert ended.told.where == str(unmade.store)
    assert "shikomi build" in ended.told.hint
    assert not unmade.store.exists()


@pytest.mark.parametrize("words", [("look", "corpsu"), ("status", "--why", "corpsu"), ("build", "--until", "corpsu")])
def test_a_stage_that_is_none_is_told_with_the_nearest(shikomi: Shell, unmade: Made, words: tuple[str, ...]):
    verb, *more = words
    ended = shikomi(verb, *(more if verb == "look" else ()), *unmade.words, *(() if verb == "look" else more))
    assert ended.code == 2
    assert ended.told.hint == 'did you mean "corpus"?'


def test_the_exit_code_is_the_error_s(shikomi: Shell, monkeypatch: pytest.MonkeyPatch):
    def fail(*given: object, **more: object) -> None:
        raise MachineError("memory ran out", where="here", hint="buy some")

    monkeypatch.setattr(cli.cli, "main", fail)
    ended = shikomi("plan")
    assert ended.code == 3
    assert (ended.told.what, ended.told.where, ended.told.hint) == ("memory ran out", "here", "buy some")


def test_what_nobody_foresaw_shows_its_traceback(monkeypatch: pytest.MonkeyPatch):
    def fail(*given: object, **more: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(cli.cli, "main", fail)
    with pytest.raises(ZeroDivisionError):
        cli.run(["plan"])


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_ctrl_c_ends_without_a_traceback(
    shikomi: Shell, monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
):
    def stop(*given: object, **more: object) -> None:
        raise interruption

    monkeypatch.setattr(cli.cli, "main", stop)
    ended = shikomi("build")
    assert ended.code == 130
    assert "the same command goes on from here" in ended.err


@pytest.mark.parametrize("verb", ["--help", "status", "eval"])
def test_a_reader_that_leaves_is_no_error(made: Made, verb: str):
    reading, writing = os.pipe()
    os.close(reading)
    words = words_of(verb, *(() if verb == "--help" else made.words))
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(words, stdout=gone, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0
    assert done.stderr == b""


def test_main_leaves_with_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        cli.main(["biuld"])
    assert caught.value.code == 2


@pytest.mark.parametrize("locale", ["C", "POSIX", "ja_JP.eucJP", ""])
def test_japanese_is_written_as_utf_8_whatever_the_locale(made: Made, locale: str):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        words_of("status", *made.words),
        env={**kept, "LANG": locale, "LC_ALL": locale},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "問: 架空堂の設立年は。" in done.stdout.decode("utf-8")


def test_a_command_to_give_next_is_quoted_for_the_shell():
    told = command_line("chat", Path("私の レシピ.toml"), Path("倉 庫"), ("sample.seed=8", "name=あ い"), "--three")
    assert told == "shikomi chat '私の レシピ.toml' --three --store '倉 庫' --set sample.seed=8 --set 'name=あ い'"
    assert command_line("plan", None, Path("store"), ()) == "shikomi plan"


def test_the_module_is_a_program():
    done = subprocess.run([sys.executable, "-m", "shikomi.cli.main", "--version"], capture_output=True, check=False)
    assert done.stdout.startswith(b"shikomi ")
