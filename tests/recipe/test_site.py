"""The site says where and how much; it is read as strictly as a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe.site import Site, load_site

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_site_uses_the_whole_machine() -> None:
    assert load_site(ROOT / "sites" / "local.toml") == Site(workers=0, threads=0)


def test_a_wrong_key_shows_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("worker = 3\n")
    with pytest.raises(RecipeError) as caught:
        load_site(path)
    assert caught.value.hint == 'did you mean "workers"?'
    assert caught.value.where == f"{path}:1"
