"""Licences: what each allows, how names are recognised, and how a source that forbids the use stops a build."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe import licence as licence_module
from shikomi.recipe.licence import find, licence_errors, read_free_text, table
from shikomi.recipe.load import load
from shikomi.recipe.schema import Recipe


@pytest.mark.parametrize(
    ("name", "train", "commercial", "redistribute", "share_alike"),
    [
        ("CC-BY-4.0", True, True, True, False),
        ("CC-BY-SA-3.0", True, True, True, True),
        ("CC0-1.0", True, True, True, False),
        ("CC-BY-NC-4.0", True, False, True, False),
        ("CC-BY-NC-SA-4.0", True, False, True, True),
        ("CC-BY-ND-4.0", True, True, False, False),
        ("GPL-3.0", True, True, True, True),
        ("GFDL-1.3", True, True, True, True),
        ("MIT", True, True, True, False),
        ("synthetic", True, True, True, False),
        ("public-domain", True, True, True, False),
        ("unknown", True, False, False, False),
        ("eval-only", False, False, False, False),
    ],
)
def test_flags(name: str, train: bool, commercial: bool, redistribute: bool, share_alike: bool) -> None:
    found = find(name)
    assert found is not None
    assert (found.train, found.commercial, found.redistribute, found.share_alike) == (
        train, commercial, redistribute, share_alike,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("cc by 4.0", "CC-BY-4.0"), ("CC_BY_SA_4.0", "CC-BY-SA-4.0"), ("Apache License 2.0", "Apache-2.0"),
        ("bsd", "BSD-3-Clause"), ("MIT License", "MIT"), ("公共データ利用規約", "PDL-1.0"), ("GPLv3", "GPL-3.0"),
    ],
)  # fmt: skip
def test_names_are_recognised_however_their_words_are_joined(written: str, name: str) -> None:
    found = find(written)
    assert found is not None
    assert found.name == name


def test_no_two_licences_share_a_name() -> None:
    names = [licence.name for licence in table().values()]
    assert len(table()) == len(set(table()))
    assert all(find(name) == table()[licence_module._folded(name)] for name in names)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC BY 4.0 (LICENSE + page footer)", "CC-BY-4.0"),
        ("MIT OR Apache-2.0 (LICENSE files)", "MIT"),
        ("GPL-3.0 (COPYING; project manual)", "GPL-3.0"),
        ("BSD-3 (LICENSE) / docs CC BY-NC 4.0", "CC-BY-NC-4.0"),
        ("MIT AND CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("a licence of their own", "unknown"),
        ("MIT AND something", "unknown"),
        ("", "unknown"),
    ],
)
def test_what_pages_say_of_themselves(text: str, name: str) -> None:
    assert read_free_text(text).name == name


def recipe_text(*, use: str = "research", redistribute: bool = False, corpus: str = "MIT", source: str = "MIT") -> str:
    return (
        f'name = "x"\nuse = "{use}"\nredistribute = {str(redistribute).lower()}\n[sample]\n'
        f'[corpus]\nlicence = "{corpus}"\n'
        f'[[dialogues.sources]]\npath = "d.jsonl"\nform = "messages"\nlicence = "{source}"\n'
    )


def refused(tmp_path: Path, text: str) -> RecipeError:
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load(tmp_path / "r.toml")
    return caught.value


def test_a_licence_that_forbids_the_use_stops_the_load(tmp_path: Path) -> None:
    error = refused(tmp_path, recipe_text(use="commercial", source="CC-BY-NC-4.0"))
    assert '"CC-BY-NC-4.0" forbids commercial use (commercial = false; non-commercial)' in error.what
    assert 'use = "commercial"' in error.what
    assert error.where.endswith("r.toml:10 (dialogues.sources.0.licence)")


def test_weights_that_may_not_be_handed_on(tmp_path: Path) -> None:
    error = refused(tmp_path, recipe_text(redistribute=True, corpus="unknown"))
    assert "forbids handing on the weights (redistribute = false" in error.what
    assert "corpus.licence" in error.where


def test_what_is_for_evaluation_only_trains_nothing(tmp_path: Path) -> None:
    error = refused(tmp_path, recipe_text(source="eval-only"))
    assert "(train = false" in error.what
    assert "only be used to evaluate" in error.hint


def test_an_unknown_licence_shows_the_nearest(tmp_path: Path) -> None:
    error = refused(tmp_path, recipe_text(source="CC-BY-4.1"))
    assert error.hint.startswith('did you mean "CC-BY-4.0"?')


def test_allowed_uses_load(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(recipe_text(use="commercial", redistribute=True, corpus="CC-BY-4.0", source="CC-BY-SA-4.0"))
    assert load(path).use == "commercial"
    path.write_text(recipe_text(corpus="unknown", source="CC-BY-NC-4.0"))
    assert load(path).use == "research"


def with_table(tmp_path: Path, text: str, **more: object) -> list[RecipeError]:
    (tmp_path / "table.tsv").write_bytes(text.encode("utf-8"))
    pages = {"corpus": {"warc": ["a"], "licence_table": "table.tsv"}, "sample": {}}
    return licence_errors(Recipe.model_validate({"name": "x", **pages, **more}), tmp_path)


def test_licences_of_single_pages_count(tmp_path: Path) -> None:
    text = "url\tlicence\nhttp://a\tCC BY 4.0 (footer)\nhttp://b\tCC BY-NC 4.0\nhttp://c\tCC BY-NC 4.0\n"
    assert with_table(tmp_path, text) == []
    found = with_table(tmp_path, text, use="commercial")
    assert len(found) == 1
    assert '"CC-BY-NC-4.0" of 2 pages forbids commercial use' in found[0].what
    assert found[0].where == "corpus.licence_table"


def test_pages_whose_licence_nobody_knows_are_not_handed_on(tmp_path: Path) -> None:
    found = with_table(tmp_path, "url\tlicence\nhttp://a\tsomething\nhttp://b\t\n", redistribute=True)
    assert '"unknown" of 2 pages' in found[0].what


def test_a_table_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_bytes("url\tlicence\nhttp://a\t日本\n".encode("shift_jis"))
    pages = {"corpus": {"warc": ["a"], "licence_table": "table.tsv"}, "sample": {}}
    found = licence_errors(Recipe.model_validate({"name": "x", **pages}), tmp_path)
    assert "cannot be read" in found[0].what


def test_pages_of_ones_own_without_any_licence_are_unknown(tmp_path: Path) -> None:
    recipe = Recipe.model_validate({"name": "x", "redistribute": True, "sample": {}, "corpus": {"warc": ["a"]}})
    assert [error.where for error in licence_errors(recipe, tmp_path)] == ["corpus.licence"]
