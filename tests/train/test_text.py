"""From recipe pages to rows: mixtures of token folders, what they refuse before the first step, what was seen."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shikomi.data.tokens import TokenShards
from shikomi.errors import DataError, RecipeError
from shikomi.io import write_json
from shikomi.recipe.mixture import MixtureSource
from shikomi.recipe.train import AnnealPage, TrainPage
from shikomi.train.batches import CrawlRows
from shikomi.train.mixture import Line
from shikomi.train.text import anneal_rows, pretrain_rows, row_batches

SMALL = {"sequence_tokens": 16, "batch_tokens": 64}


class Codec:
    """A tokenizer of 100 tokens."""

    vocab_size, eos_id, pad_id = 100, 0, 1

    def dialogue(self, messages):
        return [5, 6, 7, 8], [0, 0, 1, 1]


def shards(folder, first: int, tokens: int, vocab_size: int = 100, tokenizer: str = "a"):
    """A tokens folder whose every id is ``first`` or above, so that its rows can be told apart."""
    folder.mkdir(parents=True)
    ids = (first + np.arange(tokens) % 7).astype("<u2")
    ids.tofile(folder / "train.bin")
    np.array([0, tokens], dtype="<u8").tofile(folder / "train.offsets.bin")
    counts = {"tokens": tokens, "documents": 1, "bytes": tokens, "characters": tokens}
    index = {"vocab_size": vocab_size, "dtype": "uint16", "tokenizer": tokenizer, "train": counts, "heldout": counts}
    write_json(folder / "index.json", index)
    return folder


@pytest.fixture
def folders(tmp_path):
    return {
        "corpus": shards(tmp_path / "corpus", 10, 1000),
        "b1": shards(tmp_path / "b" / "1", 30, 400),
        "b2": shards(tmp_path / "b" / "2", 40, 300),
    }


def mixture(**second):
    sources = [MixtureSource(name="crawl", weight=3.0)]
    return [*sources, MixtureSource(name="b", tokens="b/*", licence="CC0-1.0", **{"weight": 1.0, **second})]


def read(folders, page):
    return pretrain_rows(page, folders["corpus"], Codec(), 100, {"b": [folders["b1"], folders["b2"]]})


def test_without_a_mixture_rows_are_those_of_the_corpus(folders):
    page = TrainPage(tokens=640, seed=4, **SMALL)
    plain = CrawlRows(TokenShards(folders["corpus"], "train"), 16, 0, 4)
    rows = read(folders, page)
    assert all((rows.row(n).tokens_T == plain.row(n).tokens_T).all() for n in range(40))


def test_a_mixture_reads_each_folder_at_its_weight_and_says_what_was_seen(folders):
    page = TrainPage(tokens=640, mixture=mixture(), **SMALL)
    batches = row_batches(read(folders, page), page)
    micros = [micro for step in range(10) for micro in batches.step(step)]
    tokens = np.concatenate([micro.tokens_BT.numpy() for micro in micros])
    assert len(tokens) == 40
    from_b = (tokens >= 30).all(axis=1)
    assert from_b.sum() == 10
    seen = batches.seen(10)
    assert {name: one["rows"] for name, one in seen.items()} == {"crawl": 30, "b": 10}
    assert seen["b"]["epochs"] == pytest.approx(10 / ((700 - 1) // 16 - 1), abs=1e-3)


class Whole:
    """Token ids that are their own positions."""

    tokens = Line([np.arange(400), np.arange(400, 411), np.arange(411, 700)])


def test_every_window_of_a_pass_over_several_folders_comes_once():
    source = CrawlRows(Whole(), 16, eos_id=-1, seed=3)
    for number in (0, 1, 5):
        rows = [source.row(number * source.per_pass + place) for place in range(source.per_pass)]
        starts = sorted(int(row.tokens_T[0]) for row in rows)
        assert starts == list(range(starts[0], starts[0] + 16 * source.per_pass, 16))
        assert all((np.diff(row.tokens_T) == 1).all() and (row.targets_T - row.tokens_T == 1).all() for row in rows)


def test_a_line_of_folders_reads_across_its_borders():
    line = Line([np.arange(5), np.arange(5, 6), np.arange(6, 20)])
    assert len(line) == 20
    assert line[3:9].tolist() == [3, 4, 5, 6, 7, 8]
    assert line[18:40].tolist() == [18, 19]
    assert line[7:7].tolist() == []


def test_what_is_skipped_is_neither_read_nor_counted(folders):
    page = TrainPage(tokens=640, mixture=mixture(), skip=["3-4", "rows 1-2"], **SMALL)
    plain = row_batches(read(folders, page.model_copy(update={"skip": []})), page.model_copy(update={"skip": []}))
    batches = row_batches(read(folders, page), page)
    assert [batches.position(step, 0) for step in range(4)] == [2, 6, 18, 22]
    assert (batches.row(2, 0).tokens_T == plain.rows.row(18).tokens_T).all()
    assert sum(one["rows"] for one in batches.seen(10).values()) == 40


def test_an_epoch_cap_that_runs_out_is_said_with_what_would_fit(folders):
    page = TrainPage(tokens=6400, mixture=mixture(max_epochs=2.0), **SMALL)
    with pytest.raises(RecipeError, match=r'"b" would be read 2\.38 times, more than its max') as caught:
        read(folders, page)
    assert caught.value.where == "pretrain.mixture"
    assert "tokens = 5376 fits" in caught.value.hint
    assert "max_epochs = 2.39" in caught.value.hint
    fits = page.model_copy(update={"tokens": 5376})
    read(folders, fits)
    with pytest.raises(RecipeError):
        read(folders, page.model_copy(update={"tokens": 5376 + 64}))


def test_a_source_that_ends_early_stays_within_its_cap(folders):
    ends = mixture(max_epochs=2.0, schedule=[{"after": "50%", "weight": 0.0}])
    batches = row_batches(read(folders, TrainPage(tokens=6400, mixture=ends, **SMALL)), TrainPage(tokens=6400, **SMALL))
    assert batches.seen(100)["b"]["rows"] == 50


@pytest.mark.parametrize(
    ("told", "what"),
    [({"vocab_size": 90}, "tokens of a vocabulary of 90, the tokenizer has 100"), ({"tokenizer": "b"}, "another")],
)
def test_tokens_of_another_tokenizer_are_refused(folders, tmp_path, told, what):
    folders["b1"] = shards(tmp_path / "else", 30, 400, **told)
    with pytest.raises(DataError, match=what) as caught:
        read(folders, TrainPage(tokens=640, mixture=mixture(), **SMALL))
    assert caught.value.where.endswith("index.json")
    assert caught.value.hint


def test_a_folder_too_small_for_a_window_names_its_source(folders, tmp_path):
    folders["b1"], folders["b2"] = shards(tmp_path / "c" / "1", 30, 9), shards(tmp_path / "c" / "2", 30, 9)
    with pytest.raises(DataError, match="18 training tokens are fewer") as caught:
        read(folders, TrainPage(tokens=640, mixture=mixture(), **SMALL))
    assert caught.value.where == 'mixture source "b"'


def test_anneal_mixes_dialogues_into_the_mixture(folders, tmp_path):
    talk = {"id": "1", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}
    (tmp_path / "dialogues.jsonl").write_text(json.dumps(talk) + "\n", encoding="utf-8")
    page = AnnealPage(tokens=640, mixture=mixture(max_epochs=0.13), dialogue_share=0.5, **SMALL)
    outside = {"b": [folders["b1"], folders["b2"]]}
    rows, _ = anneal_rows(page, folders["corpus"], tmp_path, Codec(), 100, outside)
    assert rows.counts(40) == {"crawl": 15, "b": 5, "dialogues": 20}
    assert {rows.row(index).source for index in range(40)} == {"crawl", "b", "dialogues"}
    with pytest.raises(RecipeError, match='"b" would be read'):
        anneal_rows(page.model_copy(update={"tokens": 960}), folders["corpus"], tmp_path, Codec(), 100, outside)
