"""``--set KEY=VALUE``: TOML or plain text, put in the place of the file's value."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe.load import load
from tests.recipe.conftest import Write

SOURCES = 'name = "x"\n[[dialogues.sources]]\npath = "a"\nform = "squad"\nlicence = "MIT"\n'


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("sample.seed=8", "sample.seed", 8),
        ("sample.seed = 8", "sample.seed", 8),
        ("pretrain.tokens=2M", "pretrain.tokens", 2_000_000),
        ('pretrain.tokens="2M"', "pretrain.tokens", 2_000_000),
        ("name=新しい 名前", "name", "新しい 名前"),
        ("name=a=b", "name", "a=b"),
        ("name=3", "name", "3"),
        ("name=1.10", "name", "1.10"),
        ("release.description=2026-01-01", "release.description", "2026-01-01"),
        ("redistribute=true", "redistribute", True),
        ("dpo.beta=0.2", "dpo.beta", 0.2),
        ("dpo.beta=1", "dpo.beta", 1.0),
        ("pretrain.optim.rate=0.5", "pretrain.optim.rate", 0.5),
        ("corpus.rules={min_letters = 3}", "corpus.rules.min_letters", 3.0),
        ("name=x\ny = 3", "name", "x\ny = 3"),
    ],
)
def test_an_override_replaces_the_file_s_value(write: Write, override: str, key: str, expected: object):
    found: object = load(write('name = "x"\n[sample]\nseed = 1'), [override])
    for part in key.split("."):
        found = getattr(found, part)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("value", ['["a", "b.warc.gz"]', "a"])
def test_one_plain_value_stands_for_a_list_of_one(write: Write, value: str):
    recipe = load(write(SOURCES + '[corpus]\nlicence = "MIT"'), [f"corpus.warc={value}"])
    assert recipe.corpus.warc == (["a", "b.warc.gz"] if value != "a" else ["a"])
    assert not recipe.synthetic


def test_an_item_of_a_list_can_be_set(write: Write):
    recipe = load(write(SOURCES), ["dialogues.sources.0.path=b", "dialogues.sources.0.limit=5"])
    assert recipe.dialogues.sources[0].path == "b"
    assert recipe.dialogues.sources[0].limit == 5


def test_the_last_of_two_overrides_counts(write: Write):
    assert load(write('name = "x"'), ["sample.seed=1", "sample={seed = 2}", "sample.seed=3"]).sample.seed == 3  # type: ignore[union-attr]


def test_paths_start_at_the_current_folder_if_something_is_there(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(SOURCES)
    here = tmp_path / "ここ"
    here.mkdir()
    (here / "対 話.jsonl").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(here)
    assert load(path, ["dialogues.sources.0.path=対 話.jsonl"]).dialogues.sources[0].path == str(here / "対 話.jsonl")
    assert load(path, ["dialogues.sources.0.path=*.jsonl"]).dialogues.sources[0].path == str(here / "*.jsonl")
    assert load(path, ["dialogues.sources.0.path=ない.jsonl"]).dialogues.sources[0].path == "ない.jsonl"
    assert load(path, ["corpus.licence=MIT", 'corpus.warc=["対 話.jsonl"]']).corpus.warc == [str(here / "対 話.jsonl")]
    (here / "7").mkdir()
    assert load(path, ["model.base=7"]).model.base == str(here / "7")


@pytest.mark.parametrize(
    ("override", "what", "hint"),
    [
        ("sample.sed=3", 'unknown key "sample.sed"', 'did you mean "sample.seed"?'),
        ("sample.seed=x", 'sample.seed = "x" has the wrong type', "a whole number"),
        ("sample.seed", '"sample.seed" sets nothing', "--set KEY=VALUE"),
        ("=3", '"=3" sets nothing', "--set KEY=VALUE"),
        ("sample..seed=3", '"sample..seed=3" sets nothing', "--set KEY=VALUE"),
        ("dialogues.sources.4.path=x", "the list has 1 items, counted from 0", ""),
        ("dialogues.sources.x=3", "the list has 1 items, counted from 0", ""),
        ("name.x=3", "there is no table to set it in", ""),
        ("name={a = 1}", "name = a table has the wrong type", "text in quotes"),
        ("sample=3", "sample = 3 has the wrong type", "a table"),
    ],
)
def test_a_wrong_override_is_named(write: Write, override: str, what: str, hint: str):
    with pytest.raises(RecipeError) as caught:
        load(write(SOURCES), [override])
    assert what in caught.value.what
    assert caught.value.where.startswith("--set")
    assert hint in caught.value.hint


def test_a_number_where_a_name_belongs_is_an_unknown_key(write: Write):
    with pytest.raises(RecipeError) as caught:
        load(write('name = "x"'), ["sample.0=3"])
    assert "sample.0" in str(caught.value)


def test_a_mistake_in_the_file_that_an_override_replaces_is_gone(write: Write):
    path = write('name = "x"\n[sample]\nseed = "wrong"')
    assert load(path, ["sample.seed=4"]).sample.seed == 4  # type: ignore[union-attr]
