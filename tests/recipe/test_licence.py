"""Licences: names as people write them, and the stop before a build whose use a source forbids."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe import licence
from shikomi.recipe.licence import find, read_free_text, table
from shikomi.recipe.load import RecipeErrors, load
from tests.recipe.conftest import Write

PAGES = 'name = "x"\nuse = "{use}"\nredistribute = {redistribute}\n[sample]\n[corpus]\nwarc = ["a"]\n{more}\n'


def pages(more: str, *, use: str = "research", redistribute: bool = False) -> str:
    """A recipe with pages of its own; ``more`` are lines of its corpus page (from line 7 on)."""
    return PAGES.format(use=use, redistribute=str(redistribute).lower(), more=more)


def refused(path: Path) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load(path)
    return caught.value


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC_BY_SA 3.0", "CC-BY-SA-3.0"),
        ("MIT License", "MIT"),
        ("apache 2.0 licence", "Apache-2.0"),
        ("無断転載禁止", "all-rights-reserved"),
    ],
)
def test_a_licence_is_found_however_its_words_are_joined(text: str, name: str):
    found = find(text)
    assert found is not None
    assert found.name == name


def test_no_licence_of_that_name():
    assert find("CC-BY-9.9") is None


def test_no_two_licences_share_a_name():
    names = [one.name for one in set(table().values())]
    assert len(names) == len(set(names))
    assert all(find(name).name == name for name in names)  # type: ignore[union-attr]


def test_what_may_not_be_trained_on_may_be_used_for_nothing_else():
    for one in table().values():
        assert one.train or not (one.commercial or one.redistribute), one.name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MIT", "MIT"),
        ("CC BY-SA 4.0 (unless noted)", "CC-BY-SA-4.0"),
        ("CC BY 4.0（一部を除く）", "CC-BY-4.0"),
        ("All new words OR MIT", "MIT"),
        ("MIT OR Apache-2.0", "MIT"),
        ("CC-BY-4.0 AND CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("MIT / docs CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("MIT; research-only", "research-only"),
        ("MIT AND terms of our own", "unknown"),
        ("who knows", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_page_s_own_words(text: str, name: str):
    assert read_free_text(text).name == name


@pytest.mark.parametrize(
    ("name", "use", "redistribute", "flag"),
    [
        ("eval-only", "research", False, "train"),
        ("CC-BY-NC-4.0", "commercial", False, "commercial"),
        ("CC-BY-ND-4.0", "research", True, "redistribute"),
        ("unknown", "research", True, "redistribute"),
        ("unknown", "commercial", False, "commercial"),
    ],
)
def test_a_forbidden_use_stops_the_build(write: Write, name: str, use: str, redistribute: bool, flag: str):
    path = write(pages(f'licence = "{name}"', use=use, redistribute=redistribute))
    error = refused(path)
    assert error.where == f"{path}:7 (corpus.licence)"
    assert error.what.startswith(f'licence "{name}" forbids ')
    assert f"({flag} = false" in error.what
    assert "leave the source out" in error.hint


@pytest.mark.parametrize(
    ("name", "use", "redistribute"),
    [
        ("CC-BY-NC-4.0", "research", True),
        ("CC-BY-ND-4.0", "commercial", False),
        ("CC-BY-SA-4.0", "commercial", True),
        ("unknown", "research", False),
    ],
)
def test_an_allowed_use_loads(write: Write, name: str, use: str, redistribute: bool):
    assert load(write(pages(f'licence = "{name}"', use=use, redistribute=redistribute))).use == use


def test_pages_without_a_licence_count_as_unknown(write: Write):
    assert load(write(pages(""))).corpus.licence == ""
    error = refused(write(pages("", redistribute=True)))
    assert 'licence "unknown" forbids' in error.what
    assert "nothing is known of its terms" in error.what


def test_an_unknown_name_shows_the_nearest(write: Write):
    error = refused(write(pages('licence = "CC-BY-5.0"')))
    assert error.what == 'corpus.licence = "CC-BY-5.0" is not a licence in the table'
    assert 'did you mean "CC-BY-' in error.hint
    assert "known: " in error.hint
    assert "did you mean" not in refused(write(pages('licence = "社内規程"'))).hint


def test_each_source_of_dialogues_is_asked(write: Write):
    source = '[[dialogues.sources]]\npath = "a"\nform = "squad"\nlicence = "{}"\n'
    text = 'name = "x"\nuse = "commercial"\n' + source.format("MIT") + source.format("NC") + source.format("MIIT")
    path = write(text)
    error = refused(path)
    assert isinstance(error, RecipeErrors)
    assert [one.where for one in error.errors] == [
        f"{path}:{line} (dialogues.sources.{index}.licence)" for index, line in ((1, 10), (2, 14))
    ]
    assert 'did you mean "MIT"?' in error.errors[1].hint


def test_a_licence_table_is_counted_by_page(write: Write, tmp_path: Path):
    rows = ["url\tlicence", "a\tCC BY-NC 4.0", "b\tMIT", "c\tCC-BY-NC-4.0 (text)", 'd\t"', "e"]
    (tmp_path / "許諾 表.tsv").write_bytes(b"\xef\xbb\xbf" + "\n".join(rows).encode())
    text = pages('licence_table = "許諾 表.tsv"', use="commercial")
    error = refused(write(text))
    assert isinstance(error, RecipeErrors)
    told = [one.what.partition(" forbids")[0] for one in error.errors]
    assert told == ['licence "CC-BY-NC-4.0" of 2 pages', 'licence "unknown" of 2 pages']
    assert "corpus.licence_table" in error.errors[0].where
    assert load(write(pages('licence_table = "許諾 表.tsv"'))).use == "research"


def test_a_licence_table_that_cannot_be_read(write: Write, tmp_path: Path):
    (tmp_path / "t.tsv").write_bytes("url\tlicence\nx\t日本\n".encode("cp932"))
    error = refused(write(pages('licence_table = "t.tsv"')))
    assert error.what.startswith("the licence table cannot be read")
    assert "UTF-8" in error.hint


def test_a_missing_or_huge_licence_table_is_left_to_who_needs_its_pages(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(pages('licence_table = "t.tsv"', use="commercial"))
    assert load(path).corpus.licence_table == "t.tsv"
    (tmp_path / "t.tsv").write_text("url\tlicence\na\tunknown\n", encoding="utf-8")
    assert "of 1 pages" in refused(path).what
    monkeypatch.setattr(licence, "MAX_TABLE_BYTES", 5)
    assert load(path).corpus.licence_table == "t.tsv"
