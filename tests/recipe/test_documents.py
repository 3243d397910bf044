"""The page of a source of documents."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from shikomi.documents.passage import KINDS, Limits
from shikomi.errors import RecipeError
from shikomi.recipe.documents import DocumentsPage
from shikomi.recipe.load import load
from tests.conftest import ROOT

SOURCE = {"name": "社内", "path": ["docs"], "licence": "unknown"}


def test_kinds_are_those_that_can_be_read_and_limits_those_of_the_reader():
    kinds = get_args(DocumentsPage.model_fields["kind"].annotation)
    assert set(kinds) == {"auto", *KINDS}
    page, limits = DocumentsPage(**SOURCE), Limits()
    assert (page.max_file_bytes, page.max_characters) == (limits.file_bytes, limits.characters)
    assert (page.max_pages, page.max_time) == (limits.pages, limits.cpu_seconds)


def test_where_files_lie_is_no_part_of_what_is_built():
    page = DocumentsPage(**SOURCE)
    assert page.identity() == DocumentsPage(**{**SOURCE, "path": ["elsewhere"]}).identity()
    assert page.identity() != DocumentsPage(**{**SOURCE, "join": "passage"}).identity()


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": "two words"}, {"name": "a/b"}, {"name": "A"}, {"path": []}, {"licence": ""},
     {"kind": "doc"}, {"date": "May"}, {"date": "2024-13-01x"}, {"text": ""}, {"max_time": "0s"}, {"max_pages": 0}],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        DocumentsPage(**{**SOURCE, **wrong})


def test_a_licence_that_forbids_the_use_stops_the_build(tmp_path):
    path = tmp_path / "recipe.toml"
    text = (ROOT / "recipes" / "quickstart.toml").read_text(encoding="utf-8")
    (tmp_path / "docs").mkdir()
    table = '[[corpus.documents]]\nname = "社内"\npath = ["docs"]\nlicence = "{}"\n'
    wanted = text.replace('use = "research"', 'use = "commercial"')
    path.write_text(f"{wanted}\n{table.format('CC-BY-NC-4.0')}", encoding="utf-8")
    with pytest.raises(RecipeError) as told:
        load(path)
    assert "recipe.toml" in told.value.where
    assert 'licence "CC-BY-NC-4.0" forbids commercial use' in told.value.what
    path.write_text(f"{text}\n{table.format('no-such')}", encoding="utf-8")
    with pytest.raises(RecipeError, match="not a licence in the table"):
        load(path)
