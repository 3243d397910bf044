"""What is right by itself and impossible together."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.recipe.load import load
from shikomi.recipe.model import ModelPage
from shikomi.recipe.sample import SamplePage
from shikomi.recipe.schema import Recipe, conflicts
from shikomi.recipe.train import AnnealPage, TrainPage
from shikomi.recipe.tune import SftPage


@pytest.mark.parametrize(
    ("pages", "key", "hint"),
    [
        ({"model": ModelPage(heads=6, kv_heads=4)}, "model.kv_heads", "one of 1, 2, 3, 6"),
        ({"model": ModelPage(head_dim=33)}, "model.head_dim", "an even one"),
        ({"model": ModelPage(max_tokens=128)}, "pretrain.sequence_tokens", "at most 128"),
        ({"anneal": AnnealPage(batch_tokens=1000)}, "anneal.batch_tokens", "the nearest multiple is 1024"),
        ({"sft": SftPage(batch_tokens=100)}, "sft.batch_tokens", "the nearest multiple is 256"),
        ({"pretrain": TrainPage(tokens=0)}, "pretrain.tokens", "model.base"),
        ({"sample": SamplePage(companies=10, eval_companies=10)}, "sample.eval_companies", "at most 9"),
        ({"name": "a/b"}, "name", "leave slashes out"),
        ({"name": ".."}, "name", "leave slashes out"),
    ],
)
def test_conflicts_name_the_key_and_the_way_out(pages: dict, key: str, hint: str) -> None:
    found = conflicts(Recipe(**{"name": "x", **pages}))
    assert found[0].where == key
    assert hint in found[0].hint


def test_defaults_do_not_conflict() -> None:
    assert conflicts(Recipe(name="x")) == []


def test_the_shape_of_an_open_base_is_not_judged() -> None:
    page = ModelPage(base="folder", heads=5, kv_heads=2, max_tokens=16)
    assert conflicts(Recipe(name="x", model=page, pretrain=TrainPage(tokens=0))) == []


def test_pages_of_ones_own_need_dialogues(tmp_path: Path) -> None:
    from shikomi.recipe.corpus import CorpusPage

    found = conflicts(Recipe(name="x", corpus=CorpusPage(warc=["a"])))
    assert [error.where for error in found] == ["dialogues.sources"]
    assert conflicts(Recipe(name="x", corpus=CorpusPage(warc=["a"]), sample=SamplePage())) == []


def test_paths_and_sizes_in_memory_are_no_part_of_identity(tmp_path: Path) -> None:
    recipe = load(Path(__file__).resolve().parents[2] / "recipes" / "real-pages.toml")
    assert "warc" not in recipe.corpus.identity()
    assert "licence_table" not in recipe.corpus.identity()
    assert "micro_batch_sequences" not in recipe.pretrain.identity()
    assert "path" not in recipe.dialogues.identity()["sources"][0]
    assert recipe.pretrain.identity()["optim"]["rate"] == recipe.pretrain.optim.rate
