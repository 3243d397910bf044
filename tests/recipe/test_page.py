"""Pages: what enters an identity, and site files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from shikomi.errors import RecipeError
from shikomi.flow.identity import canonical
from shikomi.recipe.page import WHEN_GIVEN, WHERE_ONLY, Count, Page, Seconds
from shikomi.recipe.schema import PATHS, Recipe
from shikomi.recipe.site import Site, load_site
from tests.recipe.conftest import Write


class Inner(Page):
    path: str = Field(default="", json_schema_extra=WHERE_ONLY)
    size: Count = Field(default=1, json_schema_extra={"other": 1})


class Outer(Page):
    inner: Inner = Inner()
    several: list[Inner] = []
    named: dict[str, Inner] = {}
    pause: Seconds = "90s"  # type: ignore[assignment]
    folder: str = Field(default="", json_schema_extra=WHERE_ONLY)


def test_identity_leaves_out_where_work_is_done():
    inner = Inner(path="/a", size="2k")  # type: ignore[arg-type]
    page = Outer(inner=inner, several=[inner], named={"x": inner}, folder="/b")
    told = {"size": 2000}
    assert page.identity() == {"inner": told, "several": [told], "named": {"x": told}, "pause": 90.0}
    assert page.identity() == Outer(inner=Inner(size=2000), several=[Inner(size=2000)], named={"x": inner}).identity()


def test_a_field_that_came_later_counts_once_it_is_given():
    class Later(Inner):
        knob: int = Field(default=3, json_schema_extra=WHEN_GIVEN)

    assert Later().identity() == Later(knob=3).identity() == Inner().identity()
    assert Later(knob=4).identity() == {"size": 1, "knob": 4}


def test_pages_are_closed_frozen_and_strict():
    for wrong in ({"folder": 3}, {"no": 1}, {"pause": 90}, {"inner": {"size": 1.5}}):
        with pytest.raises(ValidationError):
            Outer.model_validate(wrong)


def pages(page: Page, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Page]]:
    inner = [(name, getattr(page, name)) for name in type(page).model_fields]
    below = [pages(value, (*path, name)) for name, value in inner if isinstance(value, Page)]
    return [(path, page), *(found for one in below for found in one)]


def test_every_page_of_the_recipe_has_stable_bytes_and_no_path_in_them():
    source = {"path": "/where", "form": "squad", "licence": "MIT"}
    recipe = Recipe.model_validate(
        {
            "name": "x",
            "sample": {},
            "corpus": {"warc": ["/where"], "licence_table": "/where"},
            "model": {"base": "/where"},
            "dialogues": {"sources": [source]},
        }
    )
    found = pages(recipe)
    assert len(found) > 12
    assert b"/where" not in canonical(recipe.identity())
    assert {key[0] for key in PATHS} == {"corpus", "model", "dialogues", "pretrain", "anneal"}


def test_a_site_says_how_much_of_a_machine_is_used(write: Write):
    assert load_site(write("workers = 2")) == Site(workers=2, threads=0)
    path = write("workers = 2\nthread = 1")
    with pytest.raises(RecipeError) as caught:
        load_site(path)
    assert caught.value.what == 'unknown key "thread"'
    assert caught.value.where == f"{path}:2"
    assert caught.value.hint == 'did you mean "threads"?'


def test_a_missing_site_is_told(tmp_path: Path):
    with pytest.raises(RecipeError) as caught:
        load_site(tmp_path / "なし.toml")
    assert caught.value.what == "there is no such site"
    assert caught.value.where == str(tmp_path / "なし.toml")
