"""``look batch``: exactly what is trained on, at any position, with what is learned from marked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shikomi.cli.look_batch import batch_text
from shikomi.data.dialogue import Dialogue, Message, write_rows
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.tokenizer.codec import Codec
from shikomi.tokenizer.encode import encode_texts
from shikomi.tokenizer.learn import learn_texts
from shikomi.train.text import anneal_rows, pretrain_rows, row_batches, sft_rows
from tests.cli.shell import Made
from tests.e2e.tiny import write_recipe

TEXTS = [f"第{n}号の記録です。架空の会社{n}番は京都市にあり、{1950 + n}年に生まれました。" * 3 for n in range(60)]


def publish(build, stage, write):
    step = build.step(stage)
    out = build.store.begin(stage, build.id(step))
    write(out)
    told = {"facts": {}, "seconds": 1.0, "cpu_seconds": 1.0, "peak_mb": 1, "machine": {}}
    return build.store.publish(stage, build.id(step), {**build.described(step), **told})


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Made:
    """The tiny recipe with tokenizer, tokens and dialogues of a few sentences."""
    folder = tmp_path_factory.mktemp("look batch")
    made = Made(write_recipe(folder), folder / "store")
    _, build = made.open()
    page = TokenizerPage(vocab_size=320)
    tokenizer = publish(build, "tokenizer", lambda out: learn_texts(TEXTS, page, out))
    rows = [(f"d{n}", text) for n, text in enumerate(TEXTS)]
    publish(build, "tokens", lambda out: encode_texts(page, rows, tokenizer, out))
    ask = Message("user", "会社3番はどこにありますか。")
    talk = [Dialogue(str(n), (ask, Message("assistant", f"京都市{n}です。"))) for n in range(12)]
    publish(build, "dialogues", lambda out: write_rows(out / "dialogues.jsonl", talk))
    return made


def look(shikomi, world, *more):
    return json.loads(shikomi.done("look", "batch", *world.words, "--json", *more).out)


def trained_on(world, stage):
    """The batches of the training stage itself."""
    recipe, build = world.open()
    folders = {name: build.folder(build.step(name)) for name in ("tokenizer", "tokens", "dialogues")}
    codec, page = Codec(folders["tokenizer"]), getattr(recipe, stage)
    if stage == "pretrain":
        return row_batches(pretrain_rows(page, folders["tokens"], codec, codec.vocab_size, {}), page)
    make = anneal_rows if stage == "anneal" else sft_rows
    more = ({},) if stage == "anneal" else ()
    rows, _ = make(page, folders["tokens"], folders["dialogues"], codec, codec.vocab_size, *more)
    return row_batches(rows, page)


@pytest.mark.parametrize("stage", ["pretrain", "anneal", "sft"])
@pytest.mark.parametrize(("step", "row"), [(1, 1), (2, 2), (9, 1)])
def test_what_is_shown_is_what_is_trained_on(shikomi, world, stage, step, row):
    told = look(shikomi, world, "--stage", stage, "--step", step, "--row", row)
    batch = trained_on(world, stage).step(step - 1)[0]
    shown, learned = [], []
    for document in told["documents"]:
        parts = [(id, part["learned"]) for part in document["parts"] for id in part["ids"]]
        # The target of a document's last position is shown too if it is learned from.
        shown += [id for id, _ in parts][: document["tokens"]]
        learned += [id for id, is_learned in parts if is_learned]
    assert shown == batch.tokens_BT[row - 1].tolist()
    weights = batch.weights_BT[row - 1].numpy() > 0
    assert learned == batch.targets_BT[row - 1].numpy()[weights].tolist()
    assert told["learned_tokens"] == int(weights.sum()) == sum(d["learned_tokens"] for d in told["documents"])
    assert len(told["documents"]) == len(np.unique(batch.documents_BT[row - 1].numpy()))
    assert told["position"] == (step - 1) * 2 + row


def test_sft_learns_from_answers_alone_and_shows_the_turns(shikomi, world):
    told = look(shikomi, world, "--stage", "sft", "--step", 1, "--row", 1)
    assert told["source"] in ("dialogues", "corpus")
    rows = [
        look(shikomi, world, "--stage", "sft", "--step", step, "--row", row) for step in (1, 2, 3) for row in (1, 2)
    ]
    talk = next(one for one in rows if one["source"] == "dialogues")
    parts = talk["documents"][0]["parts"]
    assert not parts[0]["learned"]
    assert "会社3番はどこにありますか。" in parts[0]["text"]
    assert parts[1]["learned"]
    assert parts[1]["text"].startswith("京都市")
    assert any(document["padding"] for document in talk["documents"])
    text = batch_text(talk)
    assert "⟦京都市" in text
    assert "padding ──" in text


def test_the_text_has_no_colour_where_none_is_wanted(shikomi, world):
    ended = shikomi.done("look", "batch", *world.words, "--step", 2)
    assert "\x1b" not in ended.out
    assert ended.out.startswith("pretrain step 2, row 1 (row 3 of its order) from corpus: 64 tokens")
    assert "── document 1: " in ended.out


def test_control_characters_of_a_document_never_reach_the_terminal():
    part = {"learned": True, "ids": [1], "text": "a\x1b[31m\x9b\u202e\r赤"}
    document = {"tokens": 1, "learned_tokens": 1, "padding": False, "parts": [part]}
    told = {"stage": "sft", "step": 1, "row": 1, "position": 1, "source": "x", "tokens": 1, "learned_tokens": 1}
    text = batch_text({**told, "documents": [document]})
    assert "a␛[31m␍赤" in text
    assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(text)


def test_a_step_or_row_that_is_not_there_is_said(shikomi, world):
    for words, what in ((("--step", 13), "--step 13: pretrain has 12"), (("--row", 3), "--row 3: pretrain has 2")):
        ended = shikomi("look", "batch", *world.words, *words)
        assert ended.code == 2
        assert what in ended.err
        assert "hint: from 1 to" in ended.err


def test_a_stage_that_is_needed_and_not_built_is_said(shikomi, tmp_path):
    made = Made(write_recipe(tmp_path), tmp_path / "store")
    ended = shikomi("look", "batch", *made.words)
    assert ended.code == 2
    assert "stage tokenizer is not built yet" in ended.err
