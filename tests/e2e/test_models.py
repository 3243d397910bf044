"""Released folders in the hands of transformers, and open bases in ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from shikomi.data.dialogue import Message
from tests.e2e.command import STAGES, facts, half_written, stage_folders, succeeded
from tests.e2e.tiny import TinyBuild, write_recipe

os.environ.setdefault("HF_HUB_OFFLINE", "1")

TEXTS = (
    "青葉精機株式会社は1923年に創業した。",
    "従業員は 1,284 名で、本社は みなと市 にある。\n\n改行と\t空白　と絵文字🍣。",
    "It's founded in 1999; ｶﾀｶﾅと㈱と①。",
    "",
)
CHAT = (Message("user", "本社はどこですか。"), Message("assistant", "みなと市です。"), Message("user", "社長は？"))
TOLERANCE = 1e-4


def our_logits(folder: Path, ids: Any) -> Any:
    """Logits [B, T, V] of a model folder by our decoder, float32."""
    import torch

    from shikomi.model import weights

    model, _ = weights.load(folder)
    with torch.no_grad():
        return model.eval().head(model(ids))


def their_logits(folder: Path, ids: Any) -> Any:
    """Logits [B, T, V] of a model folder by transformers, float32, with no code of the folder's own."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, trust_remote_code=False)
    with torch.no_grad():
        return model.eval()(ids).logits


def check_same_model(folder: Path) -> Any:
    """Both give the same logits on the same random ids; returns them."""
    import torch

    from shikomi.model import weights

    ids = torch.randint(0, weights.read_config(folder).vocab_size, (2, 48), generator=torch.Generator().manual_seed(1))
    ours, theirs = our_logits(folder, ids), their_logits(folder, ids)
    assert ours.shape == theirs.shape
    assert float(theirs.std()) > 0.01, "logits that say nothing"
    assert float((ours - theirs).abs().max()) <= TOLERANCE
    return theirs


def check_same_tokenizer(folder: Path) -> None:
    """Both give the same ids for texts and chats, and the texts back."""
    from transformers import AutoTokenizer

    from shikomi.tokenizer.codec import Codec

    theirs, ours = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False), Codec(folder)
    assert len(theirs) == ours.vocab_size
    assert theirs.eos_token_id == ours.eos_id
    for text in TEXTS:
        ids = ours.encode(text)
        assert theirs(text, add_special_tokens=False)["input_ids"] == ids, text
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True) == text
    chat = [{"role": message.role, "content": message.content} for message in CHAT]
    found = theirs.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
    assert found == ours.prompt(list(CHAT))


@pytest.mark.parametrize("stage", ["release", "release_base"])
def test_a_released_folder_is_the_same_model_in_transformers(tiny_build: TinyBuild, stage: str):
    folder = tiny_build.folders[stage]
    check_same_model(folder)
    check_same_tokenizer(folder)


@pytest.mark.parametrize(("stage", "model"), [("release", "dpo"), ("release_base", "pretrain")])
def test_a_released_folder_is_the_model_that_was_trained(tiny_build: TinyBuild, stage: str, model: str):
    import torch

    ids = torch.arange(60).reshape(2, 30)
    trained, released = (our_logits(tiny_build.folders[name], ids) for name in (model, stage))
    assert torch.equal(trained, released)
    names = [tiny_build.folders[name] / "tokenizer.json" for name in ("tokenizer", model, stage)]
    assert len({path.read_bytes() for path in names}) == 1


def test_checksums_of_a_released_folder_hold(tiny_build: TinyBuild):
    from shikomi.release.verify import check_checksums

    for stage in ("release", "release_base"):
        assert check_checksums(tiny_build.folders[stage]) >= 8


def byte_level_tokenizer(folder: Path) -> None:
    """A tokenizer as a Llama 3 has it: byte-level BPE, a start token put before every text, no turn markers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(TEXTS) * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"
    )
    fast.save_pretrained(str(folder))


def learned_tokenizer(folder: Path) -> None:
    """A tokenizer of our own, as a model released by Shikomi has it."""
    from shikomi.recipe.tokenizer import TokenizerPage
    from shikomi.tokenizer.learn import learn_texts

    learn_texts(list(TEXTS) * 3, TokenizerPage(vocab_size=320), folder)


def save_base(layout: str, folder: Path) -> Path:
    """A random tiny model of a layout, saved by transformers, its tokenizer beside it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    folder.mkdir(parents=True)
    byte_level_tokenizer(folder) if layout == "llama" else learned_tokenizer(folder)
    torch.manual_seed(3)
    shape: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2,
    }  # fmt: skip
    if layout == "llama":
        model: Any = LlamaForCausalLM(
            LlamaConfig(vocab_size=340, bos_token_id=0, eos_token_id=1, rope_theta=500_000.0, **shape)
        )
    else:
        model = Qwen3ForCausalLM(Qwen3Config(vocab_size=320, head_dim=16, tie_word_embeddings=True, **shape))
    model.save_pretrained(str(folder))
    return folder


SMALL = (
    "anneal.tokens=512", "anneal.batch_tokens=256", "anneal.sequence_tokens=256", "sft.tokens=512",
    "sft.batch_tokens=256", "sft.sequence_tokens=256", "dpo.pairs=4", "evaluate.questions=1",
    "evaluate.max_answer_tokens=4",
)  # fmt: skip


@pytest.mark.parametrize(("layout", "pretrain_tokens"), [("llama", 0), ("qwen3", 256)])
def test_an_open_base_is_tuned_released_and_loaded_again(
    tiny_build: TinyBuild, tmp_path: Path, layout: str, pretrain_tokens: int
):
    import torch

    base = save_base(layout, tmp_path / "公開 モデル")
    store = tiny_build.copy(tmp_path / "store", only=STAGES[:4])
    recipe = write_recipe(tmp_path)
    overrides = (f"pretrain.tokens={pretrain_tokens}", *SMALL, f"model.base={base.name}")
    words = [word for override in overrides for word in ("--set", override)]
    built = succeeded("build", recipe, "--store", store, "--json", *words).json["stages"]
    assert [one["name"] for one in built if one["cached"]] == list(STAGES[:4])
    assert half_written(store) == []
    folders = stage_folders(store)
    assert list(folders) == list(STAGES)

    given = check_same_model(base)
    released = {stage: check_same_model(folders[stage]) for stage in ("release_base", "release")}
    assert torch.equal(given, released["release_base"]) == (pretrain_tokens == 0)
    assert float((given - released["release"]).abs().max()) > TOLERANCE, "tuning changed nothing"
    for stage in ("release_base", "release"):
        check_same_tokenizer(folders[stage])
        assert (folders[stage] / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert facts(folders["release_base"])["facts"]["instruction_tokens"] == 0
    assert facts(folders["release"])["facts"]["instruction_tokens"] > 0
    told = succeeded("eval", recipe, "--store", store, "--json", *words).json
    assert told["n"] > 0


def test_the_base_is_known_by_its_contents(tiny_build: TinyBuild, tmp_path: Path):
    recipe = write_recipe(tmp_path)
    first, second = (save_base("qwen3", tmp_path / where / "open-base") for where in ("one", "two"))

    def ids(base: Path) -> dict[str, str]:
        words = ("--set", f"model.base={base}")
        told = succeeded("status", recipe, "--store", tiny_build.store, "--json", *words).json
        return {stage["name"]: stage["id"] for stage in told["stages"]}

    assert ids(first) == ids(second)
    path = second / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    before, after = ids(first), ids(second)
    changed = [name for name in STAGES if before[name] != after[name]]
    assert changed == ["pretrain", "release_base", "anneal", "sft", "dpo", "evaluate", "release"]
