"""Loading a recipe: what is right is read, what is wrong is told with line, what is allowed and the nearest name."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe.load import RecipeErrors, load
from shikomi.recipe.schema import Recipe

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str, *overrides: str) -> list[RecipeError]:
    """What loading a text complains of."""
    with pytest.raises(RecipeError) as caught:
        load(write(folder, text), overrides)
    assert caught.value.exit_code == 2
    return list(getattr(caught.value, "errors", (caught.value,)))


def mistake(folder: Path, text: str, *overrides: str) -> RecipeError:
    found = mistakes(folder, text, *overrides)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "recipes").glob("*.toml")))
def test_shipped_recipes_load(name: str) -> None:
    assert load(ROOT / "recipes" / name).name == name.removesuffix(".toml")


def test_an_empty_recipe_is_the_sample_with_defaults(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, 'name = "x"'))
    assert recipe == Recipe(name="x")
    assert recipe.sample is not None
    assert recipe.synthetic


def test_pages_of_ones_own_take_no_sample(tmp_path: Path) -> None:
    source = '[[dialogues.sources]]\npath = "d.jsonl"\nform = "messages"\nlicence = "MIT"\n'
    recipe = load(write(tmp_path, f'name = "x"\n[corpus]\nwarc = ["a.warc.gz"]\n{source}'))
    assert recipe.sample is None
    assert not recipe.synthetic


def test_a_japanese_name_with_spaces_and_a_byte_order_mark(tmp_path: Path) -> None:
    folder = tmp_path / "仕込み 一番"
    folder.mkdir()
    path = folder / "レシピ 二.toml"
    path.write_bytes('\ufeffname = "商社 モデル"\r\n[sample]\r\nseed = 3\r\n'.encode())
    recipe = load(path)
    assert recipe.name == "商社 モデル"
    assert recipe.sample is not None
    assert recipe.sample.seed == 3


def test_an_unknown_key_shows_the_nearest_and_its_line(tmp_path: Path) -> None:
    error = mistake(tmp_path, 'name = "x"\n\n[pretrain]\ntokns = "1M"\n')
    assert error.what == 'unknown key "pretrain.tokns"'
    assert error.where == f"{tmp_path / 'recipe.toml'}:4"
    assert error.hint == 'did you mean "pretrain.tokens"?'


def test_an_unknown_table_shows_the_nearest(tmp_path: Path) -> None:
    error = mistake(tmp_path, 'name = "x"\n[modle]\nheads = 4\n')
    assert error.what == 'unknown table "modle"'
    assert error.hint == 'did you mean "model"?'


def test_a_key_of_another_table_shows_that_table(tmp_path: Path) -> None:
    error = mistake(tmp_path, 'name = "x"\n[model]\nvocab_size = 4096\n')
    assert 'did you mean "tokenizer.vocab_size"?' in error.hint


def test_a_key_like_none_shows_what_is_allowed(tmp_path: Path) -> None:
    error = mistake(tmp_path, 'name = "x"\n[sample]\nzzzzzz = 1\n')
    assert error.hint.startswith("allowed here: seed, companies")


def test_a_key_inside_an_array_of_tables_has_its_line(tmp_path: Path) -> None:
    text = (
        'name = "x"\n[[dialogues.sources]]\npath = "a"\nform = "squad"\nlicence = "MIT"\n'
        '[[dialogues.sources]]\npath = "b"\nform = "sqad"\nlicence = "MIT"\n'
    )
    error = mistake(tmp_path, text)
    assert error.where.endswith(":8")
    assert error.what == 'dialogues.sources.1.form = "sqad" is not allowed'
    assert error.hint.startswith('did you mean "squad"? one of: messages')


def test_several_mistakes_are_told_together_in_the_order_of_their_lines(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path, 'nme = "x"\nname = "y"\n[sft]\ntokens = "1Q"\n[model]\nheads = "six"\n[sample]\nseed = 1.5\n'
    )
    assert [error.where.rpartition(":")[2] for error in found] == ["1", "4", "6", "8"]
    assert "expected a count such as" in found[1].what
    assert found[2].hint == "expected a whole number"


def test_several_mistakes_survive_a_trip_between_processes() -> None:
    errors = RecipeErrors([RecipeError("a", where="b", hint="c"), RecipeError("d")])
    assert str(pickle.loads(pickle.dumps(errors))) == str(errors)
    assert "b" in str(errors)
    assert "d" in str(errors)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("heads = true", "expected a whole number"),
        ('rope_theta = "high"', "expected a number"),
        ("base = 3", 'expected text in quotes, such as "x"'),
        ("tie_embeddings = 1", "expected true or false"),
        ("heads = 0", "at least 1"),
        ("rope_theta = 0.0", "more than 0"),
        ("rope_theta = nan", "expected a finite number"),
        ("head_dim = {a = 1}", "expected a whole number"),
    ],
)
def test_wrong_types_and_ranges_say_what_is_allowed(tmp_path: Path, line: str, hint: str) -> None:
    error = mistake(tmp_path, f'name = "x"\n[model]\n{line}\n')
    assert error.hint.startswith(hint)
    assert error.where.endswith(":3")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('name = "x"\nmodel = 3\n', "model = 3 has the wrong type"),
        ('name = "x"\n[corpus]\nwarc = "a"\n', 'corpus.warc = "a" has the wrong type'),
        ('name = "x"\n[sft]\nreplay_share = 1.0\n', "sft.replay_share = 1.0 is out of range"),
        ('name = "x"\n[corpus.copies]\njaccard = 2\n', "corpus.copies.jaccard = 2 is out of range"),
        ("name = 1979-05-27\n", "name = 1979-05-27 has the wrong type"),
        ('name = ""\n', 'name = "": String should have at least 1 character'),
        (f'name = "x"\n[sft]\ntokens = "{"9" * 200}x"\n', "sft.tokens: expected a count"),
    ],
)
def test_what_was_found_is_shown(tmp_path: Path, text: str, what: str) -> None:
    assert mistake(tmp_path, text).what.startswith(what)


def test_a_missing_key_is_asked_for(tmp_path: Path) -> None:
    assert mistake(tmp_path, "[model]\nheads = 6\n").what == "name is missing"
    found = mistakes(tmp_path, 'name = "x"\n[[dialogues.sources]]\npath = "a"\n')
    assert [error.what for error in found] == [
        "dialogues.sources.0.form is missing",
        "dialogues.sources.0.licence is missing",
    ]
    assert found[0].where.endswith(":2")
    assert found[0].hint == "add the line form = …"


@pytest.mark.parametrize(
    ("text", "line"),
    [('name = "x"\nmodel = \n', 2), ("name = [1,\n", 2), ('name = "x"\nname = "y"\n', 2), ("名前 = 1", 1)],
)
def test_what_is_no_toml_has_its_line(tmp_path: Path, text: str, line: int) -> None:
    error = mistake(tmp_path, text)
    assert error.what.startswith("not TOML")
    assert error.where == f"{tmp_path / 'recipe.toml'}:{line}"


@pytest.mark.parametrize("text", [f"a = {'[' * 20_000}", f"a = {'9' * 10_000}"])
def test_absurd_toml_is_an_error_not_a_crash(tmp_path: Path, text: str) -> None:
    assert mistake(tmp_path, text).what.startswith("not TOML")


def test_a_missing_file_shows_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, 'name = "x"', "quickstart.toml")
    with pytest.raises(RecipeError) as caught:
        load(tmp_path / "quikstart.toml")
    assert str(tmp_path / "quickstart.toml") in caught.value.hint


def test_a_missing_file_where_there_is_none_shows_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match="no such recipe") as caught:
        load(tmp_path / "gone" / "x.toml")
    assert "shikomi init" in caught.value.hint


def test_a_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 'name = "x"')
    with pytest.raises(RecipeError, match="found a folder") as caught:
        load(tmp_path)
    assert "recipe.toml" in caught.value.hint


def test_a_file_in_shift_jis_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes('name = "x"\n# 日本語\n'.encode("shift_jis"))
    with pytest.raises(RecipeError, match="not UTF-8") as caught:
        load(tmp_path / "x.toml")
    assert caught.value.where.endswith("x.toml:2")


def test_a_file_one_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, 'name = "x"')

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")  # root may read every file: chmod would not do

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(RecipeError, match="cannot be read"):
        load(path)


def test_overrides_take_the_place_of_values(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "x"\n[sample]\nseed = 1\n')
    recipe = load(path, ["sample.seed=9", "pretrain.tokens=2M", 'release.description="a=b"', "sft.optim.rate=1e-4"])
    assert recipe.sample is not None
    assert recipe.sample.seed == 9
    assert recipe.pretrain.tokens == 2_000_000
    assert recipe.release.description == "a=b"
    assert recipe.sft.optim.rate == 1e-4
    assert load(path, ["sample.seed=9", "sample.seed=3"]).sample == load(path, ["sample.seed=3"]).sample


def test_an_override_reaches_into_lists(tmp_path: Path) -> None:
    text = 'name = "x"\n[[dialogues.sources]]\npath = "a"\nform = "squad"\nlicence = "MIT"\n'
    assert load(write(tmp_path, text), ["dialogues.sources.0.path=b"]).dialogues.sources[0].path == "b"


def test_text_that_looks_like_a_number_is_taken_as_text_where_text_is_wanted(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, 'name = "x"'), ["release.name=2024", "name=1e3"])
    assert recipe.release.name == "2024"
    assert recipe.name == "1e3"


def test_one_value_stands_for_a_list_of_one(tmp_path: Path) -> None:
    recipe = load(write(tmp_path, 'name = "x"\n[sample]\n'), ["corpus.warc=/data/日本 語/*.warc.gz"])
    assert recipe.corpus.warc == ["/data/日本 語/*.warc.gz"]
    assert recipe.sample is not None


def test_paths_of_overrides_start_at_the_current_folder_if_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.warc").write_text("")
    path = write(tmp_path, 'name = "x"\n[sample]\n')
    monkeypatch.chdir(tmp_path / "here")
    recipe = load(path, ['corpus.warc=["a.warc", "*.warc", "there.warc"]'])
    here = str(tmp_path / "here")
    assert recipe.corpus.warc == [f"{here}/a.warc", f"{here}/*.warc", "there.warc"]


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("sample.seed", '"sample.seed" sets nothing'),
        ("=3", '"=3" sets nothing'),
        ("sample..seed=3", '"sample..seed=3" sets nothing'),
        ("name.x=3", '"name.x=3": there is no table to set it in'),
        ("dialogues.sources.4.path=x", '"dialogues.sources.4.path=x": the list has 1 items, counted from 0'),
    ],
)
def test_an_override_that_cannot_be_placed(tmp_path: Path, override: str, what: str) -> None:
    text = 'name = "x"\n[[dialogues.sources]]\npath = "a"\nform = "squad"\nlicence = "MIT"\n'
    error = mistake(tmp_path, text, override)
    assert error.what == what
    assert error.where == "--set"


def test_a_wrong_override_is_named_as_the_place(tmp_path: Path) -> None:
    error = mistake(tmp_path, 'name = "x"\n[sample]\nseed = 1\n', "sample.sead=2")
    assert error.where == "--set sample.sead=2"
    assert error.hint == 'did you mean "sample.seed"?'
    error = mistake(tmp_path, 'name = "x"\n[model]\nkv_heads = 2\n', "model.heads=5")
    assert error.where.endswith("recipe.toml:3 (model.kv_heads)")
