"""What is right by itself and impossible together is told with the key to change, and what to change it to."""

from __future__ import annotations

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe.load import RecipeErrors, load
from shikomi.recipe.schema import Recipe, conflicts
from tests.recipe.conftest import Write


def found(recipe: dict) -> list[tuple[str, str, str]]:
    """Each conflict: (key, what, hint)."""
    errors = conflicts(Recipe.model_validate({"name": "x", **recipe}))
    assert all(error.hint for error in errors)
    return [(error.where, error.what, error.hint) for error in errors]


def test_the_defaults_agree():
    assert found({}) == []


@pytest.mark.parametrize(
    ("recipe", "key", "what", "hint"),
    [
        ({"name": "a/b"}, "name", "cannot be the name of a file", "slashes"),
        ({"name": ".."}, "name", "cannot be the name of a file", "slashes"),
        ({"name": "  "}, "name", "cannot be the name of a file", "slashes"),
        ({"name": "𠮷" * 80}, "name", "cannot be the name of a file", "bytes"),
        ({"release": {"name": "org/model"}}, "release.name", "cannot be the name of a file", "slashes"),
        (
            {"sample": {"companies": 10, "eval_companies": 10}},
            "sample.eval_companies",
            "leaves none of 10 companies",
            "at most 9",
        ),
        ({"model": {"heads": 6, "kv_heads": 4}}, "model.kv_heads", "is not a multiple", "one of 1, 2, 3, 6"),
        ({"model": {"head_dim": 33}}, "model.head_dim", "is odd", "even"),
        (
            {"sft": {"sequence_tokens": 1024, "batch_tokens": 4096}},
            "sft.sequence_tokens",
            "longer than model.max_tokens = 512",
            "at most 512",
        ),
        ({"anneal": {"batch_tokens": 1000}}, "anneal.batch_tokens", "not a multiple", "the nearest multiple is 1024"),
        ({"pretrain": {"batch_tokens": 16}}, "pretrain.batch_tokens", "not a multiple", "the nearest multiple is 256"),
        ({"pretrain": {"tokens": 0}}, "pretrain.tokens", "trains nothing", "model.base"),
        (
            {"corpus": {"warc": ["a"], "licence": "MIT"}},
            "dialogues.sources",
            "dialogues of your own",
            "[[dialogues.sources]]",
        ),
    ],
)
def test_a_conflict_names_its_key(recipe: dict, key: str, what: str, hint: str):
    [(where, told, advice)] = found(recipe)
    assert where == key
    assert what in told
    assert hint in advice


def test_an_open_base_brings_its_own_shape_and_may_skip_pretraining():
    shape = {"base": "model", "heads": 6, "kv_heads": 4, "head_dim": 33, "max_tokens": 16}
    assert found({"model": shape, "pretrain": {"tokens": 0}}) == []


@pytest.mark.parametrize(
    "more", [{"sample": {}}, {"dialogues": {"sources": [{"path": "a", "form": "squad", "licence": "MIT"}]}}]
)
def test_pages_of_one_s_own_with_dialogues_agree(more: dict):
    assert found({"corpus": {"warc": ["a"], "licence": "MIT"}, **more}) == []


def test_pages_of_one_s_own_leave_the_sample_out():
    assert Recipe.model_validate({"name": "x", "corpus": {"warc": ["a"]}}).sample is None
    assert Recipe.model_validate({"name": "x", "corpus": {"warc": ["a"]}, "sample": {"seed": 3}}).sample is not None


def test_conflicts_are_told_with_line_and_key(write: Write):
    path = write('name = "x"\n[model]\nhead_dim = 33\n')
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert caught.value.where == f"{path}:3 (model.head_dim)"
    with pytest.raises(RecipeErrors) as several:
        load(path, ["pretrain.tokens=0", "sft.batch_tokens=100"])
    assert [error.where for error in several.value.errors] == [
        f"{path}:3 (model.head_dim)",
        "--set sft.batch_tokens=100 (sft.batch_tokens)",
        "--set pretrain.tokens=0 (pretrain.tokens)",
    ]


def test_a_conflict_of_a_default_names_the_file(write: Write):
    path = write('name = "x"\nmodel.max_tokens = 128')
    with pytest.raises(RecipeErrors) as caught:
        load(path)
    assert [error.where for error in caught.value.errors] == [
        f"{path} ({stage}.sequence_tokens)" for stage in ("pretrain", "anneal", "sft")
    ]
