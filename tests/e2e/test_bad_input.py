"""What a user can get wrong, through the real command line: the exit code, and what, where and hint."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus.pages import Response, html_page, write_warc
from tests.e2e.command import Ended, contents, half_written, shikomi, succeeded
from tests.e2e.tiny import RECIPE, TinyBuild, write_recipe

OWN_PAGES = ("--set", "corpus.licence=CC0-1.0")
"""The licence of pages that are not the sample's."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a Japanese name and spaces."""
    folder = tmp_path / "仕込み の 場所"
    folder.mkdir()
    return folder


def build(recipe: Path, *words: object) -> Ended:
    """Build into a store beside the recipe."""
    return shikomi("build", recipe, "--store", recipe.parent / "倉 庫", *words)


def english_pages() -> Iterator[Response]:
    """Pages with plenty of text, none of it Japanese."""
    words = ("market", "report", "product", "company", "region", "every", "sells", "well", "country", "year")
    for number in range(12):
        draw = random.Random(number)
        text = "\n".join(" ".join(draw.choices(words, k=80)).capitalize() + "." for _ in range(6))
        yield Response(f"https://example.com/{number}", html_page(text, title="A report").encode())


def test_a_file_that_is_no_warc(place: Path):
    path = place / "取得 した頁.warc.gz"
    path.write_text("これはWARCではありません。\n" * 20, encoding="utf-8")
    ended = build(write_recipe(place), "--set", f"corpus.warc={path}", *OWN_PAGES, "--until", "corpus")
    assert ended.code == 1
    assert ended.told.what == "not a WARC file"
    assert ended.told.where == str(path)
    assert "corpus.warc takes WARC files" in ended.told.hint
    assert not list((place / "倉 庫").glob("corpus/*"))


def test_a_warc_that_is_not_there(place: Path):
    ended = build(write_recipe(place), "--set", "corpus.warc=無い*.warc.gz", *OWN_PAGES)
    assert ended.code == 2
    assert ended.told.what == '"無い*.warc.gz" finds no file'
    assert ended.told.where == "corpus.warc"
    assert str(place) in ended.told.hint
    assert not (place / "倉 庫").exists()


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_gzip_cut_in_mid_record_is_counted_and_the_build_goes_on(tiny_build: TinyBuild, place: Path, share: float):
    whole = (tiny_build.folders["crawl"] / "warc/crawl-00000.warc.gz").read_bytes()
    responses = [at for at in range(len(whole)) if whole.startswith(b"\x1f\x8b\x08", at)]
    start = responses[round(len(responses) * share) // 3 * 3 + 2]  # every page is request, response, metadata
    cut = place / "cut.warc.gz"
    cut.write_bytes(whole[: start + 200])
    recipe = write_recipe(place)
    words = ("--set", f"corpus.warc={cut}", *OWN_PAGES)
    ended = build(recipe, *words, "--until", "tokenizer", "--set", "tokenizer.vocab_size=330")
    assert ended.code == 0, ended.err
    told = succeeded("look", "corpus", recipe, "--store", place / "倉 庫", "--json", *words).json
    before = succeeded("look", "corpus", tiny_build.recipe, "--store", tiny_build.store, "--json").json
    assert told["dropped_by_reason"]["damaged_record"] == 1
    assert told["read"] == told["kept"] + sum(told["dropped_by_reason"].values())
    assert 0 < told["kept"] < before["kept"]
    assert told["read"] < before["read"]


def test_no_page_kept(place: Path):
    warc = write_warc(place / "english.warc.gz", list(english_pages()))
    ended = build(write_recipe(place), "--set", f"corpus.warc={warc}", *OWN_PAGES, "--until", "tokens")
    assert ended.code == 1
    assert ended.told.what == "no page was kept: read 12, kept 0: not_japanese 12"
    assert str(warc) in ended.told.where
    assert "Japanese" in ended.told.hint
    assert not list((place / "倉 庫").glob("corpus/*"))


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("tokns = 1000", "pretrain.tokens"),
        ("batch_token = 128", "pretrain.batch_tokens"),
        ("sequence_token = 64", "pretrain.sequence_tokens"),
    ],
)
def test_an_unknown_key_shows_its_line_and_the_nearest_name(place: Path, wrong: str, near: str):
    recipe = place / "打ち 間違い.toml"
    recipe.write_text(RECIPE.replace("[pretrain]", f"[pretrain]\n{wrong}"), encoding="utf-8")
    line = recipe.read_text(encoding="utf-8").split("\n").index(wrong) + 1
    ended = build(recipe)
    assert ended.code == 2
    assert ended.told.what == f'unknown key "pretrain.{wrong.split()[0]}"'
    assert ended.told.where == f"{recipe}:{line}"
    assert ended.told.hint == f'did you mean "{near}"?'
    assert not (place / "倉 庫").exists()


def test_an_unknown_key_on_the_command_line(place: Path):
    ended = build(write_recipe(place), "--set", "sample.sead=8")
    assert ended.code == 2
    assert ended.told.where == "--set sample.sead=8"
    assert ended.told.hint == 'did you mean "sample.seed"?'


def test_a_vocabulary_larger_than_the_corpus_supports(tiny_build: TinyBuild, place: Path):
    store = tiny_build.copy(place / "倉 庫", only=("crawl", "corpus"))
    recipe = write_recipe(place)
    ended = build(recipe, "--set", "tokenizer.vocab_size=60k", "--until", "tokenizer")
    assert ended.code == 1
    assert ended.told.what.startswith("vocab_size 60000 is larger than the corpus supports: ")
    assert ended.told.where == "tokenizer.vocab_size"
    possible = int(ended.told.hint.split("set tokenizer.vocab_size to ")[1].split()[0])
    assert not list(store.glob("tokenizer/*"))
    # The hint is right: exactly so many are possible.
    assert build(recipe, "--set", f"tokenizer.vocab_size={possible}", "--until", "tokenizer").code == 0
    assert build(recipe, "--set", f"tokenizer.vocab_size={possible + 1}", "--until", "tokenizer").code == 1


GOOD = {"messages": [{"role": "user", "content": "本社は？"}, {"role": "assistant", "content": "東京です。"}]}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"title": "題", "body": "文"}', "line is not a dialogue: its keys are title, body"),
        ("[1, 2]", "line is not a dialogue: expected an object, found list"),
        ('{"messages": "本社は？"}', "line is not a dialogue: its turns are not a list"),
        ('{"messages": [{"content": "本社は？"}]}', 'line is not a dialogue: turn 1 has no "role" and "content"'),
        (
            '{"messages": [{"role": "user", "content": 1}, {"role": "assistant", "content": "はい"}]}',
            "line is not a dialogue: a turn's content is int, not text",
        ),
        ('{"messages": ', "line is not JSON: "),
    ],
)
def test_a_line_that_is_no_dialogue(tiny_build: TinyBuild, place: Path, line: str, what: str):
    store = tiny_build.copy(place / "倉 庫", before="dialogues")
    path = place / "対話 集.jsonl"
    path.write_text(f"{json.dumps(GOOD, ensure_ascii=False)}\n\n{line}\n", encoding="utf-8")
    source = f'dialogues.sources=[{{path = "{path}", form = "messages", licence = "CC0-1.0"}}]'
    ended = build(write_recipe(place), "--set", source, "--until", "dialogues")
    assert ended.code == 1
    assert ended.told.what.startswith(what)
    assert ended.told.where == f"{path}:3"
    assert not list(store.glob("dialogues/*"))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("instruct/rakuda_v1_questions.jsonl", "alpaca"),
        ("instruct/ja-vicuna-qa_questions.jsonl", "messages"),
        ("nlu/JaQuAD/jaquad_dev_0000.json", "squad"),
    ],
)
def test_a_file_for_evaluation_only_is_refused(
    tiny_build: TinyBuild, real_data: Path, place: Path, name: str, form: str
):
    store = tiny_build.copy(place / "倉 庫", before="dialogues")
    renamed = place / f"my-training-data{Path(name).suffix}"
    renamed.write_bytes((real_data / name).read_bytes())
    source = f'dialogues.sources=[{{path = "{renamed}", form = "{form}", licence = "CC-BY-4.0"}}]'
    ended = build(write_recipe(place), "--set", source, "--until", "dialogues")
    assert ended.code == 1
    assert "is for evaluation only" in ended.told.what
    assert ended.told.where == str(renamed)
    assert not list(store.glob("dialogues/*"))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("corpus.licence=CC-BY-NC-4.0", 'use="commercial"'), 'licence "CC-BY-NC-4.0" forbids commercial use'),
        (("corpus.licence=unknown", "redistribute=true"), 'licence "unknown" forbids handing on the weights'),
    ],
)
def test_a_licence_that_forbids_the_use_stops_before_anything_is_built(place: Path, words: tuple[str, ...], what: str):
    recipe = write_recipe(place)
    overrides = [word for override in words for word in ("--set", override)]
    for verb in ("plan", "build"):
        ended = shikomi(verb, recipe, "--store", place / "倉 庫", *overrides)
        assert ended.code == 2
        assert ended.told.what.startswith(what)
        assert "corpus.licence" in ended.told.where
    assert not (place / "倉 庫").exists()


def test_a_licence_in_the_file_is_told_with_its_line(place: Path):
    recipe = place / "商用.toml"
    wrong = 'licence = "CC-BY-NC-4.0"'
    text = RECIPE.replace('licence = "synthetic"', wrong).replace("[sample]", 'use = "commercial"\n[sample]')
    recipe.write_text(text, encoding="utf-8")
    line = text.split("\n").index(wrong) + 1
    ended = build(recipe)
    assert ended.code == 2
    assert ended.told.where == f"{recipe}:{line} (corpus.licence)"
    assert not (place / "倉 庫").exists()


def test_a_recipe_that_is_not_there(place: Path):
    write_recipe(place, "会社の モデル.toml")
    ended = build(place / "会社のモデル.toml")
    assert ended.code == 2
    assert ended.told.what == "there is no such recipe"
    assert ended.told.where == str(place / "会社のモデル.toml")
    assert str(place / "会社の モデル.toml") in ended.told.hint


def test_a_folder_for_a_recipe(place: Path):
    write_recipe(place / "recipes")
    ended = build(place / "recipes")
    assert ended.code == 2
    assert ended.told.what == "expected a recipe, found a folder"
    assert str(place / "recipes/tiny.toml") in ended.told.hint


def test_an_empty_recipe(place: Path):
    recipe = place / "empty.toml"
    recipe.write_bytes(b"")
    ended = build(recipe)
    assert ended.code == 2
    assert ended.told.what == "name is missing"
    assert ended.told.where == str(recipe)
    assert not (place / "倉 庫").exists()


def test_a_recipe_that_is_no_toml(place: Path):
    recipe = place / "壊れた.toml"
    recipe.write_text('name = "x"\n[sample\n', encoding="utf-8")
    ended = build(recipe)
    assert ended.code == 2
    assert ended.told.what.startswith("not TOML: ")
    assert ended.told.where == f"{recipe}:2"


@pytest.mark.parametrize(
    ("override", "what", "hint"),
    [
        ("sample.companies=many", 'sample.companies = "many" has the wrong type', "expected a whole number"),
        ("corpus.trim_lines=3", "corpus.trim_lines = 3 has the wrong type", "expected true or false"),
        ("sample=3", "sample = 3 has the wrong type", "expected a table"),
        ("model.layers=0", "model.layers = 0 is out of range", "at least 1"),
        (
            "model.layout=qwen",
            'model.layout = "qwen" is not allowed',
            'did you mean "qwen3"? one of: qwen3, llama, mistral, qwen2',
        ),
    ],
)
def test_a_value_of_the_wrong_type(place: Path, override: str, what: str, hint: str):
    ended = build(write_recipe(place), "--set", override)
    assert ended.code == 2
    assert ended.told.what == what
    assert ended.told.where == f"--set {override}"
    assert ended.told.hint == hint


def test_a_stage_that_is_none(place: Path):
    ended = build(write_recipe(place), "--until", "pretrian")
    assert ended.code == 2
    assert ended.told.what == 'this build has no stage "pretrian"'
    assert ended.told.hint == 'did you mean "pretrain"?'
    assert not (place / "倉 庫").exists()


def test_names_in_japanese_with_spaces(second_build: TinyBuild, tiny_build: TinyBuild):
    """A recipe called 小さな レシピ.toml, named "小さな 試作", in a store called 仕込み の 倉."""
    assert second_build.recipe.name == "小さな レシピ.toml"
    assert half_written(second_build.store) == []
    report = second_build.store / "reports" / "小さな 試作.html"
    assert f"report: {report}\n" in second_build.ended.err
    chat = next(line for line in second_build.ended.err.splitlines() if line.startswith("chat:"))
    assert "'小さな レシピ.toml' --store '仕込み の 倉'" in chat
    told = succeeded("status", second_build.recipe, "--store", second_build.store, "--json").json
    assert told["complete"]
    assert Path(told["report_path"]) == report
    release = "release"
    assert contents(second_build.folders[release]) == contents(tiny_build.folders[release])
