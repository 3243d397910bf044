"""A recipe to start from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shikomi.recipe.load import load
from shikomi.recipe.schema import Recipe
from tests.cli.shell import Shell


@pytest.mark.parametrize("name", ["start", "私の 最初の レシピ", 'quo"te', "back\\slash"])
def test_a_recipe_is_written_that_can_be_planned(shikomi: Shell, tmp_path: Path, name: str):
    ended = shikomi.done("init", tmp_path / name)
    path = tmp_path / name / "recipe.toml"
    assert ended.out == f"{path}\n"
    assert "shikomi plan" in ended.err
    assert "shikomi build" in ended.err
    assert load(path).name == name
    told = json.loads(shikomi.done("plan", path, "--store", tmp_path / "store", "--json").out)
    assert told["recipe"] == name
    assert 0 < told["low"] < told["high"]


def test_every_table_of_a_recipe_is_in_it(shikomi: Shell, tmp_path: Path):
    shikomi.done("init", tmp_path)
    text = (tmp_path / "recipe.toml").read_text(encoding="utf-8")
    tables = set(Recipe.model_fields) - {"name", "use", "redistribute", "dialogues"}
    assert len(tables) == 10
    assert [table for table in sorted(tables) if f"\n[{table}]" not in text] == []
    assert "\n# [[dialogues.sources]]" in text


def test_a_name_longer_than_a_recipe_takes_is_cut(shikomi: Shell, tmp_path: Path):
    shikomi.done("init", tmp_path / ("n" * 120))
    assert load(tmp_path / ("n" * 120) / "recipe.toml").name == "n" * 80


def test_a_recipe_that_is_there_is_kept(shikomi: Shell, tmp_path: Path):
    (tmp_path / "recipe.toml").write_text("mine")
    ended = shikomi("init", tmp_path)
    assert ended.code == 2
    assert ended.told.what == "there is a recipe already"
    assert (tmp_path / "recipe.toml").read_text() == "mine"


def test_a_file_for_a_folder(shikomi: Shell, tmp_path: Path):
    (tmp_path / "file").write_text("")
    ended = shikomi("init", tmp_path / "file")
    assert ended.code == 2
    assert ended.told.where == str(tmp_path / "file")
