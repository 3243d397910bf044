"""A released folder: loads with no custom code, computes what we compute, keeps its bytes, refuses what is damaged."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import torch

from shikomi.errors import DataError
from shikomi.model import weights
from shikomi.recipe.release import ReleasePage
from shikomi.release import bundle as bundling
from shikomi.release.bundle import bundle
from shikomi.release.verify import check_checksums
from shikomi.tokenizer.codec import Codec

PAGE = ReleasePage(name="試作モデル", description="A model for tests.")
FILES = {
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "README.md", "LICENSE", "SHA256SUMS", "reproduce.json",
}  # fmt: skip


def release(model: Path, out: Path, provenance: dict, page: ReleasePage = PAGE) -> dict:
    out.mkdir(exist_ok=True)
    return bundle(page, model, out, provenance=provenance)


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_transformers_computes_the_same_logits(model_folder: Path, tmp_path: Path, provenance: dict) -> None:
    from transformers import AutoModelForCausalLM

    release(model_folder, tmp_path / "out", provenance)
    theirs, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ours, _ = weights.load(model_folder)
    ids = torch.randint(0, 320, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.eval()(ids).logits
        found = ours.head(ours(ids))
    assert expected.std() > 0.1
    assert (found - expected).abs().max() < 1e-4


def test_transformers_loads_the_same_tokenizer(model_folder: Path, tmp_path: Path, provenance: dict) -> None:
    from transformers import AutoTokenizer

    release(model_folder, tmp_path / "out", provenance)
    codec = Codec(model_folder)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in ("青葉精機は？", "  space  runs\n\n", "1234 👍🏽 ｶﾞ", "", "未知の漢字 鬱"):
        assert theirs(text, add_special_tokens=False)["input_ids"] == codec.encode(text)
    assert theirs.model_max_length == 64
    assert (theirs.eos_token_id, theirs.pad_token_id) == (codec.eos_id, codec.pad_id)
    talk = [{"role": "user", "content": "本社は？"}]
    from shikomi.data.dialogue import Message

    asked = theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
    assert asked == codec.prompt([Message("user", "本社は？")])


def test_generation_ends_at_the_end_of_a_turn(model_folder: Path, tmp_path: Path, provenance: dict) -> None:
    from transformers import GenerationConfig

    release(model_folder, tmp_path / "out", provenance)
    codec = Codec(model_folder)
    found = GenerationConfig.from_pretrained(tmp_path / "out")
    assert found.eos_token_id == [codec.eos_id, codec.turn_end_id]
    assert found.pad_token_id == codec.pad_id
    assert codec.pad_id not in [codec.eos_id, codec.turn_end_id]


def test_config_says_everything_in_both_spellings(model_folder: Path, tmp_path: Path, provenance: dict) -> None:
    release(model_folder, tmp_path / "out", provenance)
    config = read(tmp_path / "out" / "config.json")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 25_000.0
    assert config["dtype"] == config["torch_dtype"] == "float32"
    assert config["eos_token_id"] == Codec(model_folder).eos_id
    assert config["bos_token_id"] is None
    assert config["architectures"] in (["Qwen3ForCausalLM"], ["LlamaForCausalLM"])
    settings = read(tmp_path / "out" / "tokenizer_config.json")
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert settings["model_max_length"] == 64


def test_half_precision_is_named(own_model: Path, tmp_path: Path, provenance: dict) -> None:
    tensors = {name: value.bfloat16() for name, value in weights.load_tensors(own_model / "model.safetensors").items()}
    weights.save_tensors(own_model / "model.safetensors", tensors)
    release(own_model, tmp_path / "out", provenance)
    assert read(tmp_path / "out" / "config.json")["dtype"] == "bfloat16"


def test_the_folder_is_complete_and_its_checksums_hold(model_folder: Path, tmp_path: Path, provenance: dict) -> None:
    facts = release(model_folder, tmp_path / "out", provenance)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES == set(facts["files"])
    assert check_checksums(tmp_path / "out") == len(FILES) - 1
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    subprocess.run(command, cwd=tmp_path / "out", check=True, capture_output=True)
    whole = hashlib.sha256((tmp_path / "out" / "model.safetensors").read_bytes()).hexdigest()
    assert whole == hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
    assert facts["releasable"]
    assert facts["instruction_tokens"] == 0


def test_two_releases_are_equal_byte_by_byte(model_folder: Path, tmp_path: Path, provenance: dict) -> None:
    for name in ("here", "あちら"):
        release(model_folder, tmp_path / name, provenance)
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "あちら" / path.name).read_bytes(), path.name
        assert str(tmp_path).encode() not in path.read_bytes()


def test_a_second_attempt_over_a_first_one_is_the_same(model_folder: Path, tmp_path: Path, provenance: dict) -> None:
    release(model_folder, tmp_path / "out", provenance)
    sums = (tmp_path / "out" / "SHA256SUMS").read_bytes()
    (tmp_path / "out" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "out" / "SHA256SUMS").unlink()
    release(model_folder, tmp_path / "out", provenance)
    assert (tmp_path / "out" / "SHA256SUMS").read_bytes() == sums


def test_large_weights_are_written_in_shards(
    model_folder: Path, tmp_path: Path, provenance: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(bundling, "SHARD_BYTES", 50_000)
    facts = release(model_folder, tmp_path / "out", provenance)
    shards = sorted((tmp_path / "out").glob("model-*.safetensors"))
    assert len(shards) > 1
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert all(path.stat().st_size < 55_000 for path in shards)
    index = read(tmp_path / "out" / "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == facts["weight_bytes"]
    assert set(index["weight_map"].values()) == {path.name for path in shards}
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ours, _ = weights.load(tmp_path / "out")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert (theirs(ids).logits - ours.head(ours(ids))).abs().max() < 1e-4
    monkeypatch.undo()
    release(tmp_path / "out", tmp_path / "again", provenance)
    assert (tmp_path / "again" / "model.safetensors").exists()
    assert len(weights.load_tensors(tmp_path / "again" / "model.safetensors")) == len(index["weight_map"])


@pytest.mark.parametrize("keep", [0, 4, 200, 0.5, -1])
def test_weights_cut_off_are_refused(own_model: Path, tmp_path: Path, provenance: dict, keep: float) -> None:
    path = own_model / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)] if isinstance(keep, float) else whole[:keep])
    with pytest.raises(DataError, match="weights cannot be read") as caught:
        release(own_model, tmp_path / "out", provenance)
    assert caught.value.where == str(path)
    assert not (tmp_path / "out" / "SHA256SUMS").exists()


def test_a_damaged_header_is_refused(own_model: Path, tmp_path: Path, provenance: dict) -> None:
    path = own_model / "model.safetensors"
    whole = bytearray(path.read_bytes())
    whole[12:16] = b"\xff\xff\xff\xff"
    path.write_bytes(whole)
    with pytest.raises(DataError, match="weights cannot be read"):
        release(own_model, tmp_path / "out", provenance)


def test_values_that_are_no_numbers_are_refused(own_model: Path, tmp_path: Path, provenance: dict) -> None:
    tensors = weights.load_tensors(own_model / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    weights.save_tensors(own_model / "model.safetensors", tensors)
    with pytest.raises(DataError, match=r"tensor model\.norm\.weight holds values that are no numbers"):
        release(own_model, tmp_path / "out", provenance)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), r"model\.norm\.weight is missing from"),
        (lambda tensors: tensors.update({"extra": torch.zeros(2)}), "extra is unexpected in"),
        (
            lambda tensors: tensors.update({"model.norm.weight": torch.zeros(5)}),
            r"shape \[5\], config.json says \[32\]",
        ),
    ],
)
def test_weights_that_are_not_the_architecture_are_refused(
    own_model: Path, tmp_path: Path, provenance: dict, change, words: str
) -> None:
    tensors = weights.load_tensors(own_model / "model.safetensors")
    change(tensors)
    weights.save_tensors(own_model / "model.safetensors", tensors)
    with pytest.raises(DataError, match=words):
        release(own_model, tmp_path / "out", provenance)


def test_a_tied_head_that_was_saved_is_left_out(own_model: Path, tmp_path: Path, provenance: dict) -> None:
    tensors = weights.load_tensors(own_model / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    weights.save_tensors(own_model / "model.safetensors", tensors)
    release(own_model, tmp_path / "out", provenance)
    assert "lm_head.weight" not in weights.load_tensors(tmp_path / "out" / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.json", None, "config.json is missing"),
        ("config.json", "[1]", "config.json is not an object"),
        ("config.json", "{", "not a JSON document"),
        ("model.safetensors", None, "weights not found"),
        ("model.safetensors.index.json", "{}", "names no usable file"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "../a.safetensors"}}', "names no usable file"),
        ("tokenizer.json", None, "tokenizer.json is missing"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    own_model: Path, tmp_path: Path, provenance: dict, name: str, text: str | None, words: str
) -> None:
    if text is None:
        (own_model / name).unlink()
    else:
        (own_model / name).write_text(text)
    with pytest.raises(DataError, match=words):
        release(own_model, tmp_path / "out", provenance)


def test_a_tokenizer_larger_than_the_model_is_refused(own_model: Path, tmp_path: Path, provenance: dict) -> None:
    config = read(own_model / "config.json")
    (own_model / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))
    with pytest.raises(DataError, match="the tokenizer has 320 tokens, the model rows for 300"):
        release(own_model, tmp_path / "out", provenance)


def test_a_base_that_saw_instructions_is_no_unflavoured_base(own_model: Path, tmp_path: Path, provenance: dict) -> None:
    provenance["model"]["facts"]["instruction_tokens"] = 7
    with pytest.raises(DataError, match="has seen 7 instruction tokens"):
        release(own_model, tmp_path / "out", provenance)


def test_pairs_on_evaluation_prompts_forbid_the_release(own_model: Path, tmp_path: Path, provenance: dict) -> None:
    dialogues = {"mechanics_only": True, "eval_only_prompts": {"vicuna": 296}, "dialogues": 3, "preferences": 248}
    provenance |= {"unflavoured": False, "dialogues": {"id": "d1", "facts": dialogues}}
    facts = release(own_model, tmp_path / "out", provenance)
    assert not facts["releasable"]
    assert "vicuna" in facts["hindrances"][0]
    assert "must not be released" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "no licence is granted" in (tmp_path / "out" / "LICENSE").read_text(encoding="utf-8")


def test_reproduce_names_every_stage(own_model: Path, tmp_path: Path, provenance: dict) -> None:
    release(own_model, tmp_path / "out", provenance | {"recipe": {"sample": {"seed": 7}}})
    found = read(tmp_path / "out" / "reproduce.json")
    assert found["stages"] == {"corpus": "c0ffee", "model": "ba5e", "tokens": "70ce25"}
    assert found["recipe"] == {"sample": {"seed": 7}}
    assert found["seen"]["instruction_tokens"] == 0
    assert set(found["versions"]) == {"shikomi", "torch", "tokenizers", "safetensors"}


def test_counts_come_from_the_model_folder_without_a_manifest(own_model: Path, tmp_path: Path) -> None:
    facts = release(own_model, tmp_path / "out", {"unflavoured": True})
    assert facts["instruction_tokens"] == 0
    assert "123,456" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_an_unknown_package_has_no_version() -> None:
    assert bundling._version("no-such-package-here") == "unknown"


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_an_open_base_is_released_and_loads_again(
    family: str, tmp_path: Path, tokenizer_folder: Path, provenance: dict
) -> None:
    import shutil

    import transformers

    shape = {
        "vocab_size": 336, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}, "rope_theta": 5000.0,
    }  # fmt: skip
    kinds = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    }
    torch.manual_seed(2)
    theirs = kinds[family][1](kinds[family][0](**shape)).eval()
    theirs.save_pretrained(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer_folder / name, tmp_path / "base" / name)
    facts = release(tmp_path / "base", tmp_path / "out", provenance | {"base_model": "someone/tiny"})
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ours, _ = weights.load(tmp_path / "out")
    ids = torch.arange(30)[None]
    with torch.no_grad():
        expected = theirs(ids).logits
        assert (again(ids).logits - expected).abs().max() < 1e-5
        assert (ours.head(ours(ids)) - expected).abs().max() < 1e-4
    assert facts["parameters"] == theirs.num_parameters()
    config = read(tmp_path / "out" / "config.json")
    assert (config["rope_theta"], config["bos_token_id"], config["vocab_size"]) == (5000.0, None, 336)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert 'base_model: "someone/tiny"' in card
    assert "its own card's matter" in card
