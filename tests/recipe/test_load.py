"""Reading a recipe: strict, and every mistake told with its line, what is allowed, and the nearest spelling."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe.load import RecipeErrors, load, read_text
from tests.conftest import ROOT
from tests.recipe.conftest import Write


def refused(path: Path, *overrides: str) -> RecipeError:
    """The error that loading ends in; it is worth a non-zero exit code and three lines."""
    with pytest.raises(RecipeError) as caught:
        load(path, overrides)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_least_recipe_is_a_name(write: Write):
    recipe = load(write('name = "最小"'))
    assert recipe.name == "最小"
    assert recipe.synthetic
    assert recipe.sample is not None
    assert recipe.sample.companies == 132


def test_values_keep_their_units(write: Write):
    recipe = load(
        write('name = "x"\n[pretrain]\ntokens = "2.5M"\nbatch_tokens = 4_096\n[tokenizer]\nvocab_size = "4k"')
    )
    assert recipe.pretrain.tokens == 2_500_000
    assert recipe.pretrain.batch_tokens == 4096
    assert recipe.tokenizer.vocab_size == 4000


def test_a_recipe_does_not_change_after_loading(write: Write):
    recipe = load(write('name = "x"'))
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "y"


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        ('name = "x"\n\n[pretrain]\ntoken = 5', 4, 'unknown key "pretrain.token"', 'did you mean "pretrain.tokens"?'),
        ('name = "x"\n[pretrian]\n', 2, 'unknown table "pretrian"', 'did you mean "pretrain"?'),
        ('name = "x"\nvocab_size = 4096', 2, 'unknown key "vocab_size"', 'did you mean "tokenizer.vocab_size"?'),
        ('name = "x"\n[model]\nzzz = 1', 3, 'unknown key "model.zzz"', "allowed here: base, params, layout"),
        ('name = "x"\nzzz = 1', 2, 'unknown key "zzz"', "allowed at the top: name, use"),
        (
            'name = "x"\n[pretrain.optim]\nwarmup = 1.0',
            3,
            'unknown key "pretrain.optim.warmup"',
            'did you mean "pretrain.optim.warmup_share"?',
        ),
        (
            'name = "x"\n[[dialogues.sources]]\npath = "a"\nform = "squad"\nlicense = "MIT"\nlicence = "MIT"',
            5,
            'unknown key "dialogues.sources.0.license"',
            'did you mean "dialogues.sources.0.licence"?',
        ),
    ],
)
def test_an_unknown_key_has_its_line_and_the_nearest_name(write: Write, text: str, line: int, what: str, hint: str):
    path = write(text)
    error = refused(path)
    assert error.what == what
    assert error.where == f"{path}:{line}"
    assert hint in error.hint


@pytest.mark.parametrize(
    ("table", "line", "what", "hint"),
    [
        ("sample", 'seed = "7"', 'sample.seed = "7" has the wrong type', "a whole number"),
        ("sample", "seed = 7.5", "sample.seed = 7.5 has the wrong type", "a whole number"),
        ("sample", "seed = true", "sample.seed = true has the wrong type", "a whole number"),
        ("corpus", "trim_lines = 1", "corpus.trim_lines = 1 has the wrong type", "true or false"),
        ("corpus", "warc = 'a.warc.gz'", 'corpus.warc = "a.warc.gz" has the wrong type', "a list"),
        ("corpus", "rules = 3", "corpus.rules = 3 has the wrong type", "a table"),
        ("corpus", "licence = 4", "corpus.licence = 4 has the wrong type", "text in quotes"),
        ("corpus", "licence = {}", "corpus.licence = a table has the wrong type", "text in quotes"),
        ("corpus", "licence = 2026-01-01", "corpus.licence = 2026-01-01 has the wrong type", "text in quotes"),
        ("dpo", 'beta = "x"', 'dpo.beta = "x" has the wrong type', "a number"),
        ("dpo", "beta = nan", "dpo.beta = NaN has the wrong type", "a finite number"),
        ("pretrain", 'tokens = "4 lots"', "pretrain.tokens: expected a count", ""),
        ("pretrain", 'tokens = "1.5"', 'pretrain.tokens: "1.5" is not a whole number', ""),
        ("sample", "companies = 7", "sample.companies = 7 is out of range", "at least 8"),
        ("sample", "companies = 2001", "sample.companies = 2001 is out of range", "at most 2000"),
        ("anneal", "dialogue_share = 0.0", "anneal.dialogue_share = 0.0 is out of range", "more than 0"),
        ("anneal", "dialogue_share = 1.0", "anneal.dialogue_share = 1.0 is out of range", "less than 1"),
        ("model", 'layout = "qwen"', 'model.layout = "qwen" is not allowed', 'did you mean "qwen3"? one of: qwen3'),
        ("model", 'layout = "xyz"', 'model.layout = "xyz" is not allowed', "one of: qwen3, llama"),
        ("release", 'name = ""', 'release.name = "": ', ""),
    ],
)  # fmt: skip
def test_a_wrong_value_says_what_is_allowed(write: Write, table: str, line: str, what: str, hint: str):
    path = write(f'name = "x"\n\n[{table}]\n{line}\n')
    error = refused(path)
    assert error.what.startswith(what)
    assert error.where == f"{path}:4"
    assert hint in error.hint


def test_a_long_value_is_cut_in_the_message(write: Write):
    error = refused(write(f'name = "x"\nuse = "{"長" * 200}"'))
    assert len(error.what) < 120
    assert "..." in error.what


def test_what_is_missing_is_named(write: Write):
    path = write('name = "x"\n[[dialogues.sources]]\npath = "a"\nlicence = "MIT"')
    error = refused(path)
    assert error.what == "dialogues.sources.0.form is missing"
    assert error.where == f"{path}:2"
    assert error.hint == "add the line form = …"


def test_an_empty_file_lacks_its_name(write: Write):
    path = write("")
    error = refused(path)
    assert error.what == "name is missing"
    assert error.where == str(path)


def test_several_mistakes_are_told_together_in_the_order_of_their_lines(write: Write):
    path = write('name = 3\n[model]\nlayres = 2\n[sample]\nseed = "x"\n')
    error = refused(path, "dpo.pears=3")
    assert isinstance(error, RecipeErrors)
    assert [one.where for one in error.errors] == [f"{path}:1", f"{path}:3", f"{path}:5", "--set dpo.pears=3"]
    assert str(error).count("hint: ") == 4
    assert error.what == "4 mistakes in the recipe"
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)


def test_a_missing_file_shows_near_names(write: Write, tmp_path: Path):
    there = write('name = "x"')
    error = refused(tmp_path / "私の レピシ.toml")
    assert error.what == "there is no such recipe"
    assert error.hint == f"there is {there}"


def test_a_missing_file_where_nothing_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert "shikomi init" in refused(tmp_path / "x.toml").hint
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "まったく別.toml").write_text('name = "x"', encoding="utf-8")
    assert "まったく別.toml" in refused(tmp_path / "x.toml").hint


def test_a_folder_shows_the_recipes_in_it(write: Write, tmp_path: Path):
    there = write('name = "x"')
    error = refused(tmp_path)
    assert error.what == "expected a recipe, found a folder"
    assert str(there) in error.hint


def test_a_file_below_a_file_is_told(write: Write):
    error = refused(write('name = "x"') / "y.toml")
    assert error.what.startswith("the recipe cannot be read")


def test_other_encodings_are_told_with_their_line(tmp_path: Path):
    path = tmp_path / "a.toml"
    path.write_bytes('# x\nname = "日本"\n'.encode("cp932"))
    error = refused(path)
    assert error.what == "the recipe is not UTF-8"
    assert error.where == f"{path}:2"


def test_a_byte_order_mark_and_other_line_ends_are_accepted(tmp_path: Path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf" + 'name = "日本"\r\n[model]\r\nlayres = 1\r\n'.encode())
    assert read_text(path).startswith("name")
    assert refused(path).where == f"{path}:3"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name = x", 1),
        ('name = "x"\nname = "y"', 2),
        ('name = "x"\n[model', 2),
        ('name = "x"\n\nuse = ', 3),
        ('name = "x"\n[model]\n[model]', 3),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(write: Write, text: str, line: int):
    path = write(text)
    error = refused(path)
    assert error.what.startswith("not TOML: ")
    assert error.where == f"{path}:{line}"
    assert "KEY = VALUE" in error.hint


def test_toml_that_its_reader_gives_up_on_is_told(write: Write):
    assert refused(write("x = " + "[" * 5000)).what.startswith("not TOML: ")
    assert refused(write("x = " + "1" * 5000)).what.startswith("not TOML: ")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ('corpus.domain=[{name="b"}]', "corpus.domain"),
        ('corpus.common_crawl={snapshot="X", parts="a"}', "corpus.common_crawl.parts"),
        ("pretrain.tokens=abc", "pretrain.tokens"),
    ],
)
def test_a_value_that_its_field_refuses_is_told_with_where_to_read_more(override: str, key: str):
    error = refused(ROOT / "recipes" / "quickstart.toml", override)
    assert error.where == f"--set {override}"
    assert error.hint == f"docs/reference says what {key} takes"
