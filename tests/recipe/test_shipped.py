"""Every recipe and site file that comes with the project loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.recipe.load import load
from shikomi.recipe.site import load_site
from tests.conftest import ROOT

RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
SITES = sorted((ROOT / "sites").glob("*.toml"))


def test_some_are_shipped():
    assert ROOT / "recipes" / "quickstart.toml" in RECIPES
    assert SITES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads(path: Path):
    assert load(path).name == path.stem


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_a_shipped_site_loads(path: Path):
    assert load_site(path).workers >= 0
