"""Outside token folders are inputs of the stages that read them: known by content, found by path or glob."""

from __future__ import annotations

import shutil

import pytest

from shikomi.build import steps
from shikomi.errors import RecipeError
from shikomi.flow.runner import Build
from shikomi.flow.store import Store
from shikomi.recipe.load import load

RECIPE = """
name = "x"
[[STAGE.mixture]]
name = "crawl"
[[STAGE.mixture]]
name = "a"
tokens = "a/*"
licence = "CC0-1.0"
[[STAGE.mixture]]
name = "b"
tokens = "b"
licence = "CC0-1.0"
"""


def tokens(folder, content: str):
    folder.mkdir(parents=True)
    for name in ("index.json", "train.bin", "train.offsets.bin"):
        (folder / name).write_text(content + name, encoding="utf-8")


@pytest.fixture
def place(tmp_path):
    for name in ("a/1", "a/2", "b"):
        tokens(tmp_path / "data" / name, name)
    return tmp_path / "data"


def identities(place, stage="pretrain") -> dict[str, str]:
    path = place / "recipe.toml"
    path.write_text(RECIPE.replace("STAGE", stage), encoding="utf-8")
    build = Build(steps(load(path), place), Store(place.parent / "store"))
    return {step.name: build.id(step) for step in build.steps}


@pytest.mark.parametrize(("stage", "before"), [("pretrain", "tokens"), ("anneal", "pretrain")])
def test_content_counts_and_place_does_not(place, tmp_path, stage, before):
    first = identities(place, stage)
    moved = tmp_path / "elsewhere"
    shutil.copytree(place, moved)
    assert identities(moved, stage) == first
    (moved / "a" / "2" / "train.bin").write_text("other", encoding="utf-8")
    second = identities(moved, stage)
    assert second[before] == first[before]
    assert second[stage] != first[stage]


def test_which_source_a_folder_belongs_to_counts(place):
    first = identities(place)
    shutil.move(place / "b", place / "c")
    shutil.move(place / "a" / "2", place / "b")
    shutil.move(place / "c", place / "a" / "2")
    assert identities(place)["pretrain"] != first["pretrain"]


def test_a_glob_that_finds_no_tokens_names_its_key(place):
    shutil.rmtree(place / "b")
    with pytest.raises(RecipeError, match='"b" finds no tokens folder') as caught:
        identities(place)
    assert caught.value.where == "pretrain.mixture.tokens"
    assert "relative paths start at" in caught.value.hint
