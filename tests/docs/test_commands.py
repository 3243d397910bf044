"""Every command a document shows exists: make targets, verbs, their options, and the recipes they name."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest

from shikomi.cli.main import VERBS
from tests.docs.conftest import PAGES, ROOT, Command, name, shell_commands

SHOWN = [command for page in PAGES for command in shell_commands(page)]
MADE = [command for command in SHOWN if command.words[:1] == ["make"]]
RUN = [command for command in SHOWN if command.words and command.words[0].endswith("shikomi")]


def test_the_documents_show_commands():
    assert {command.page for command in MADE} >= {"README.md", "README.en.md", "CONTRIBUTING.md"}
    assert {command.words[1] for command in RUN} == set(VERBS)


@pytest.mark.parametrize("command", MADE, ids=str)
def test_make_targets_exist(command: Command, targets: set[str]):
    asked = [word for word in command.words[1:] if "=" not in word]
    assert asked
    assert set(asked) <= targets


@pytest.mark.parametrize("command", RUN, ids=str)
def test_verbs_and_options_exist(command: Command):
    verb, *rest = command.words[1:]
    found = importlib.import_module(f"shikomi.cli.{verb}_verb").command
    options = {name for item in found.params if isinstance(item, click.Option) for name in item.opts} | {"--help"}
    assert {word for word in rest if word.startswith("--")} <= options


@pytest.mark.parametrize("command", RUN, ids=str)
def test_recipes_named_by_a_document_are_shipped(command: Command):
    for word in command.words:
        if word.startswith("recipes/"):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("readme", ["README.md", "README.en.md"])
def test_the_two_commands_are_in_both_readmes(readme: str):
    lines = [" ".join(command.words) for command in shell_commands(ROOT / readme)]
    assert lines[:2] == ["make setup", "make quickstart"]


def test_both_readmes_show_the_same_commands():
    japanese, english = ([c.words for c in shell_commands(ROOT / file)] for file in ("README.md", "README.en.md"))
    assert japanese == english


@pytest.mark.parametrize("page", [p for p in PAGES if p.name.endswith(".en.md") and p.name != "README.en.md"], ids=name)
def test_a_guide_shows_the_same_commands_in_both_languages(page):
    def bare(found: list[Command]) -> list[list[str]]:
        return [
            [word for word in command.words if not word.endswith((".toml", "モデル", "-model"))] for command in found
        ]

    assert bare(shell_commands(page)) == bare(shell_commands(page.with_name(page.name.replace(".en.md", ".md"))))


def test_help_lists_every_verb_and_loads_no_torch():
    script = (
        "import sys; from shikomi.cli.main import run; code = run(['--help']);"
        "assert not {'torch', 'transformers', 'ray'} & set(sys.modules); sys.exit(code)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    for verb in VERBS:
        assert f"\n  {verb} " in shown.stdout
