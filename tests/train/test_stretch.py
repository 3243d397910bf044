"""The stretches end to end on a small corpus: base, anneal, SFT, DPO; and an open base from outside."""

from __future__ import annotations

import json
import shutil

import pytest

from shikomi.data.dialogue import Dialogue, Message, Preference, write_rows
from shikomi.errors import DataError, MachineError, RecipeError
from shikomi.io import read_json, write_json
from shikomi.model import weights
from shikomi.recipe.dial import resolve
from shikomi.recipe.lora import LoraPage
from shikomi.recipe.mesh import TrainingSite
from shikomi.recipe.model import ModelPage
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.recipe.train import AnnealPage, TrainPage
from shikomi.recipe.tune import DpoPage, SftPage
from shikomi.tokenizer.codec import Codec
from shikomi.tokenizer.encode import encode_texts
from shikomi.tokenizer.learn import learn_texts
from shikomi.train.stretch import anneal, pretrain
from shikomi.tune.dpo import dpo
from shikomi.tune.sft import sft

SHAPE = ModelPage(hidden_size=32, layers=1, heads=2, kv_heads=1, head_dim=16, intermediate_size=48, max_tokens=64)
SMALL = {"sequence_tokens": 64, "batch_tokens": 256, "checkpoint_steps": 3}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Tokenizer, tokens and dialogues made of a few sentences."""
    folder = tmp_path_factory.mktemp("world")
    towns = ["京都市", "札幌市", "福岡市", "仙台市", "金沢市"]
    texts = [
        f"第{n}号の記録です。架空の会社{n}番は{towns[n % 5]}にあり、{1950 + n}年に生まれました。" * 3 for n in range(60)
    ]
    page = TokenizerPage(vocab_size=340)
    for name in ("tokenizer", "tokens", "dialogues"):
        (folder / name).mkdir()
    learn_texts(texts, page, folder / "tokenizer")
    rows = [(f"d{n}", text) for n, text in enumerate(texts)]
    encode_texts(page, rows, folder / "tokenizer", folder / "tokens")
    ask = [Message("user", "会社3番はどこにありますか。")]
    talk = [Dialogue(str(n), (*ask, Message("assistant", towns[n % 5] + "です。"))) for n in range(12)]
    write_rows(folder / "dialogues" / "dialogues.jsonl", talk)
    pairs = [Preference(str(n), tuple(ask), towns[n % 5] + "です。", towns[n % 5] + "だよ。") for n in range(6)]
    write_rows(folder / "dialogues" / "preferences.jsonl", pairs)
    return folder


def test_four_stages_follow_one_another(world, tmp_path):
    tokens, tokenizer, dialogues = world / "tokens", world / "tokenizer", world / "dialogues"
    codec = Codec(tokenizer)
    outs = {name: tmp_path / name for name in ("pretrain", "anneal", "sft", "dpo")}
    for out in outs.values():
        out.mkdir()
    told = []
    facts = pretrain(
        TrainPage(tokens=3000, **SMALL), SHAPE, None, tokens, tokenizer, codec, outs["pretrain"],
        progress=lambda done, total, unit, note="": told.append((done, total, unit)),
    )  # fmt: skip
    assert facts["final_loss"] < facts["first_loss"]
    assert told[-1] == (12, 12, "steps")
    summary = read_json(outs["pretrain"] / "summary.json")
    assert summary["instruction_tokens"] == 0
    assert summary["crawl_tokens"] == 3072
    anneal(AnnealPage(tokens=1024, **SMALL), outs["pretrain"], tokens, dialogues, tokenizer, codec, outs["anneal"])
    sft(SftPage(tokens=1024, **SMALL), outs["anneal"], tokens, dialogues, tokenizer, codec, outs["sft"])
    facts = dpo(DpoPage(pairs=12, batch_pairs=4), outs["sft"], dialogues, tokenizer, codec, outs["dpo"])
    assert facts["pairs_distinct"] == 6
    summary = read_json(outs["dpo"] / "summary.json")
    assert summary["crawl_tokens"] == 3072 + 512 + round(1024 * 0.2)
    assert summary["instruction_tokens"] > 1024
    before = {name: (outs[name] / "model.safetensors").read_bytes() for name in outs}
    assert len(set(before.values())) == 4
    rows = [json.loads(line) for line in (outs["dpo"] / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert {"margin", "accuracy", "chosen_logp"} <= rows[0].keys()


def test_an_open_base_is_taken_as_it_is_and_its_copy_is_exact(world, tmp_path):
    codec = Codec(world / "tokenizer")
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    pretrain(TrainPage(tokens=512, **SMALL), SHAPE, None, world / "tokens", world / "tokenizer", codec, first)
    page = TrainPage(tokens=0, **SMALL)
    facts = pretrain(page, SHAPE, first, world / "tokens", world / "tokenizer", codec, second)
    assert facts["steps"] == 0
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    loaded, config = weights.load(second)
    assert config.hidden_size == 32
    assert loaded.config.layout == "qwen3"


def test_what_cannot_fit_is_said_first(world, tmp_path):
    codec = Codec(world / "tokenizer")
    long = TrainPage(tokens=512, sequence_tokens=128, batch_tokens=256)
    with pytest.raises(RecipeError, match="longer than the model's context"):
        pretrain(long, SHAPE, None, world / "tokens", world / "tokenizer", codec, tmp_path)
    tiny = ModelPage(**{**SHAPE.model_dump(), "max_tokens": 16})
    pretrain(
        TrainPage(tokens=64, sequence_tokens=16, batch_tokens=64), tiny, None, world / "tokens", world / "tokenizer",
        codec, tmp_path,
    )  # fmt: skip
    out = tmp_path / "dpo"
    out.mkdir()
    with pytest.raises(DataError, match="none of 6 preference pairs fits into 16 tokens"):
        dpo(DpoPage(pairs=4), tmp_path, world / "dialogues", world / "tokenizer", codec, out)


def test_adapters_are_trained_alone_and_end_in_the_weights(world, tmp_path):
    tokens, tokenizer, dialogues = world / "tokens", world / "tokenizer", world / "dialogues"
    codec, adapters = Codec(tokenizer), LoraPage(rank=4, targets=["q_proj", "up_proj"])
    outs = {name: tmp_path / name for name in ("pretrain", "sft", "dpo")}
    for out in outs.values():
        out.mkdir()
    pretrain(TrainPage(tokens=512, **SMALL), SHAPE, None, tokens, tokenizer, codec, outs["pretrain"])
    page = SftPage(tokens=1024, lora=adapters, **SMALL)
    facts = sft(page, outs["pretrain"], tokens, dialogues, tokenizer, codec, outs["sft"])
    assert facts["final_loss"] < facts["first_loss"]
    facts = dpo(
        DpoPage(pairs=12, batch_pairs=4, lora=adapters), outs["sft"], dialogues, tokenizer, codec, outs["dpo"],
        site=TrainingSite(precision="float32"),
    )  # fmt: skip
    # The reference is the model without adapters: at first the margin is zero.
    rows = [json.loads(line) for line in (outs["dpo"] / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    for before, after in (("pretrain", "sft"), ("sft", "dpo")):
        old, new = (weights.load_tensors(outs[name] / "model.safetensors") for name in (before, after))
        adapter = weights.load_tensors(outs[after] / "adapter" / "adapter_model.safetensors")
        assert read_json(outs[after] / "adapter" / "adapter_config.json")["base_model_name_or_path"] == before
        assert old.keys() == new.keys()
        changed = {name for name in old if not old[name].equal(new[name])}
        assert changed == {f"model.layers.0.{name}.weight" for name in ("self_attn.q_proj", "mlp.up_proj")}
        for name in changed:
            stem = "base_model.model." + name.removesuffix(".weight")
            product = adapter[f"{stem}.lora_B.weight"] @ adapter[f"{stem}.lora_A.weight"]
            assert new[name].sub(old[name]).allclose(32.0 / 4 * product, atol=1e-6)


def test_a_model_larger_than_memory_is_refused_before_a_weight_is_drawn(world, tmp_path):
    codec = Codec(world / "tokenizer")
    shape = resolve(ModelPage.model_validate({"params": "90B"}), codec.vocab_size)
    page = TrainPage(tokens=4096, sequence_tokens=1024, batch_tokens=4096)
    with pytest.raises(MachineError, match=r"pretrain is .* larger than this machine's memory") as told:
        pretrain(page, shape, None, world / "tokens", world / "tokenizer", codec, tmp_path)
    assert "parameters 3" in told.value.what  # 360 GB of weights
    assert 'model.params = "' in told.value.hint
    assert str(told.value).count("\n") == 2


def test_tokens_of_another_vocabulary_are_refused(world, tmp_path):
    tokens = tmp_path / "tokens"
    shutil.copytree(world / "tokens", tokens)
    index = read_json(tokens / "index.json")
    codec = Codec(world / "tokenizer")
    write_json(tokens / "index.json", index | {"vocab_size": codec.vocab_size + 1})
    page = TrainPage(tokens=512, **SMALL)
    with pytest.raises(DataError, match=f"vocabulary of {codec.vocab_size + 1}, the tokenizer has"):
        pretrain(page, SHAPE, None, tokens, world / "tokenizer", codec, tmp_path)
    base = tmp_path / "base"
    base.mkdir()
    pretrain(TrainPage(tokens=0, **SMALL), SHAPE, None, world / "tokens", world / "tokenizer", codec, base)
    tensors = weights.load_tensors(base / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:300]
    weights.save_tensors(base / "model.safetensors", tensors)
    write_json(base / "config.json", read_json(base / "config.json") | {"vocab_size": 300})
    with pytest.raises(DataError, match="the model has rows for 300") as told:
        pretrain(page, SHAPE, base, world / "tokens", world / "tokenizer", codec, tmp_path)
    assert told.value.hint == "encode the corpus with the model's own tokenizer"
