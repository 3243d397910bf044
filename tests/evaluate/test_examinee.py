"""A model folder as an examinee: likelihoods against the plain formula, answers, windows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from shikomi.data.dialogue import Message, Question, write_rows
from shikomi.data.tokens import TokenShards
from shikomi.errors import DataError
from shikomi.evaluate.answers import heldout_documents
from shikomi.evaluate.examinee import LoadedModel, windows
from shikomi.evaluate.run import evaluate
from shikomi.io import read_json
from shikomi.model import weights
from shikomi.model.config import from_page
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.evaluate import EvaluatePage
from shikomi.recipe.model import ModelPage
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.tokenizer.codec import Codec
from shikomi.tokenizer.encode import encode_texts
from shikomi.tokenizer.learn import learn_texts

SHAPE = ModelPage(hidden_size=32, layers=2, heads=2, kv_heads=1, head_dim=16, intermediate_size=48, max_tokens=96)
TOWNS = ["京都市", "札幌市", "福岡市", "仙台市", "金沢市"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A tokenizer, tokens and two random models that differ."""
    folder = tmp_path_factory.mktemp("exam")
    page = TokenizerPage(vocab_size=330, heldout_share=0.2)
    texts = [
        f"第{n}号。架空の会社{n}番は{TOWNS[n % 5]}にあり、{1950 + n}年に生まれた。" * (1 + n % 4) for n in range(60)
    ]
    for name in ("tokenizer", "tokens"):
        (folder / name).mkdir()
    learn_texts(texts, page, folder / "tokenizer")
    encode_texts(page, [(f"d{n}", text) for n, text in enumerate(texts)], folder / "tokenizer", folder / "tokens")
    for seed, name in ((1, "base"), (2, "dpo")):
        model = Transformer(from_page(SHAPE, Codec(folder / "tokenizer").vocab_size))
        initialise(model, seed)
        weights.save(model, folder / name, folder / "tokenizer")
    return folder


@pytest.fixture
def examinee(world) -> LoadedModel:
    return LoadedModel.open(world / "base")


def plain_nats(model: Transformer, ids: list[int]) -> list[float]:
    """-log p of every id but the first, by the textbook formula."""
    with torch.no_grad():
        logits = model.head(model(torch.tensor([ids[:-1]])))[0]
    rows = torch.log_softmax(logits.double(), dim=-1)
    return [-float(rows[place, id]) for place, id in enumerate(ids[1:])]


@pytest.mark.parametrize("length", [2, 3, 16, 17, 18, 25, 40])
def test_windows_count_every_id_once_and_give_it_context(length):
    ids = list(range(length))
    counted = []
    for text in windows(ids, 16):
        assert len(text.ids) == len(text.counts) <= 17
        for place, counts in enumerate(text.counts):
            if counts:
                counted.append(text.ids[place])
                assert place >= min(text.ids[place], 8)
    assert counted == ids[1:]


def test_bits_of_short_documents_are_those_of_the_plain_formula(world, examinee):
    shards = TokenShards(world / "tokens", "heldout")
    documents = [shards.document(index).tolist()[:60] for index in range(shards.num_documents)]
    found = examinee.document_bits(documents, 96)
    for ids, bits in zip(documents, found, strict=True):
        wanted = sum(plain_nats(examinee.model, [examinee.codec.eos_id, *ids])) / math.log(2)
        assert bits == pytest.approx(wanted, rel=1e-5)


def test_long_documents_are_scored_window_by_window(examinee):
    codec = examinee.codec
    ids = codec.encode("架空の会社は京都市にあり、札幌市にもある。" * 8)[:150]
    (found,) = examinee.document_bits([ids], 32)
    whole = [codec.eos_id, *ids]
    nats, done = 0.0, 1
    while done < len(whole):
        start = 0 if done == 1 else done - 16
        end = min(start + 33, len(whole))
        nats += sum(plain_nats(examinee.model, whole[start:end])[done - start - 1 :])
        done = end
    assert found == pytest.approx(nats / math.log(2), rel=1e-5)
    # A context longer than the model's own is cut down to it.
    assert examinee.document_bits([ids], 10_000) == examinee.document_bits([ids], SHAPE.max_tokens)


def test_pairs_are_compared_on_the_last_answer_alone(examinee):
    prompt = [Message("user", "本社は。"), Message("assistant", "京都市です。"), Message("user", "では設立は。")]
    answers = ["1987年です。", "知らない。"]
    for answer, (found, tokens) in zip(answers, examinee.pair_log_probs(prompt, answers), strict=True):
        ids, _ = examinee.codec.dialogue([*prompt, Message("assistant", answer)])
        start = len(examinee.codec.prompt(prompt))
        last = len(ids) - list(reversed(ids)).index(examinee.codec.turn_end_id)
        assert tokens == last - start
        assert -found == pytest.approx(sum(plain_nats(examinee.model, ids[:last])[start - 1 :]), rel=1e-5)


def test_a_pair_longer_than_the_context_loses_its_beginning(examinee):
    prompt = [Message("user", "京都市と札幌市と福岡市の会社について。" * 20)]
    (near,) = examinee.pair_log_probs(prompt, ["はい。"])
    assert math.isfinite(near[0])
    assert near[1] == len(examinee.codec.encode("はい。")) + 1
    (long,) = examinee.pair_log_probs([Message("user", "会社。")], ["京都市です。" * 60])
    assert long[1] < SHAPE.max_tokens


def test_bytes_are_those_of_the_text(world, examinee):
    shards = TokenShards(world / "tokens", "heldout")
    documents = [shards.document(index).tolist() for index in range(shards.num_documents)]
    assert sum(map(examinee.document_bytes, documents)) == shards.bytes


def test_held_out_documents_are_whole_and_drawn_by_seed(world):
    everything = heldout_documents(world / "tokens", 10**9, 5)
    shards = TokenShards(world / "tokens", "heldout")
    assert sum(map(len, everything)) == shards.num_tokens
    some = heldout_documents(world / "tokens", 100, 5)
    assert some == everything[: len(some)]
    assert sum(map(len, some[:-1])) < 100 <= sum(map(len, some))
    assert heldout_documents(world / "tokens", 10**9, 6) != everything


def test_the_whole_evaluation_on_random_models(world, tmp_path):
    dialogues, outs = tmp_path / "dialogues", [tmp_path / "a", tmp_path / "b"]
    dialogues.mkdir()
    rows = [
        Question(f"q{n}", f"会社{n}番はどこ。", TOWNS[n % 5], subject=f"会社{n}番", field="city", seen_form=n % 2 == 0)
        for n in range(8)
    ]
    rows.append(Question("p", "やあ", "はい。", "preference", extra={"chosen": "はい。", "rejected": "いいえ。"}))
    write_rows(dialogues / "questions.jsonl", rows)
    models = {"base": world / "base", "dpo": world / "dpo"}
    page = EvaluatePage(resamples=200, bits_tokens=400, window_tokens=64)
    for out in outs:
        out.mkdir()
        facts = evaluate(page, models, dialogues, world / "tokens", out)
    assert facts["seen_forms"] == 0.0
    # A random model gives every token about the same chance: log2(vocabulary) bits each.
    heldout, examinee = heldout_documents(world / "tokens", 400, page.seed), LoadedModel.open(world / "dpo")
    uniform = sum(map(len, heldout)) * math.log2(330) / sum(map(examinee.document_bytes, heldout))
    assert facts["bits_per_byte"] == pytest.approx(uniform, rel=0.1)
    scores = read_json(outs[0] / "scores.json")
    base, tuned = (scores["models"][name]["bits_per_byte"] for name in models)
    assert base["value"] != tuned["value"]
    assert base["low"] < base["value"] < base["high"]
    assert (outs[0] / "scores.json").read_bytes() == (outs[1] / "scores.json").read_bytes()


def test_a_folder_without_a_model_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="not a model folder"):
        LoadedModel.open(tmp_path)
