"""The tiny build, made once for the whole run through the real command line."""

from __future__ import annotations

import pytest

from tests.e2e.command import succeeded
from tests.e2e.tiny import TinyBuild, write_recipe


@pytest.fixture(scope="session")
def tiny_build(tmp_path_factory: pytest.TempPathFactory) -> TinyBuild:
    """The tiny recipe, built straight through by one process a stage."""
    folder = tmp_path_factory.mktemp("tiny")
    recipe, store = write_recipe(folder), folder / "store"
    return TinyBuild(recipe, store, succeeded("build", recipe, "--store", store, "--workers", 1))


@pytest.fixture(scope="session")
def second_build(tmp_path_factory: pytest.TempPathFactory) -> TinyBuild:
    """The same recipe under another name in another store, built by two processes a stage. Both names are Japanese
    with spaces, and the store is named relative to the current folder."""
    folder = tmp_path_factory.mktemp("二度目 の試作")
    recipe = write_recipe(folder, "小さな レシピ.toml")
    ended = succeeded("build", recipe.name, "--store", "仕込み の 倉", "--workers", 2, cwd=folder)
    return TinyBuild(recipe, folder / "仕込み の 倉", ended)
