"""Open models in and out: every layout and switch against transformers' own classes, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from shikomi.errors import DataError
from shikomi.model import transformer as ours_module
from shikomi.model import weights
from shikomi.model.answers import Options
from shikomi.model.config_json import from_hugging_face
from shikomi.model.generate import Generator
from shikomi.model.transformer import Transformer

transformers = pytest.importorskip("transformers")

SHAPE: dict[str, Any] = {
    "vocab_size": 90, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
QWEN_WINDOW = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"head_dim": 16, "tie_word_embeddings": True}),
    "llama-llama3": ("Llama", {"rope_parameters": LLAMA3, "rms_norm_eps": 1e-5}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5}}),
    "llama-dynamic": ("Llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
    "llama-yarn": ("Llama", {"rope_parameters": YARN | {"beta_fast": 16.0, "mscale": 0.7, "mscale_all_dim": 1.0}}),
    "llama-biased": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 8}),
    "mistral-window": ("Mistral", {"sliding_window": 5}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    "qwen2-window": ("Qwen2", QWEN_WINDOW),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3-yarn": ("Qwen3", {"head_dim": 16, "rope_parameters": YARN | {"truncate": False}}),
    "qwen3-window-biased": ("Qwen3", {"head_dim": 8, "attention_bias": True, **QWEN_WINDOW}),
}


def theirs_of(case: str) -> Any:
    """A random model of transformers; norms and biases are drawn too, so that a forgotten one shows."""
    kind, changes = CASES[case]
    if transformers.__version__ < "5" and (rope := changes.get("rope_parameters")):  # the older spelling
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        scaled = rope["rope_type"] != "default"
        changes = changes | {"rope_theta": rope["rope_theta"], "rope_scaling": scaling if scaled else None}
    config = getattr(transformers, f"{kind}Config")(**SHAPE | changes)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            base = 1.0 if parameter.ndim == 1 and parameter.mean() == 1 else 0.0
            parameter.copy_(base + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def tokens() -> torch.Tensor:
    return torch.randint(0, 90, (2, 23), generator=torch.Generator().manual_seed(1))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.head(model(tokens())) if isinstance(model, Transformer) else model(tokens()).logits


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text('{"added_tokens": []}')
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


@pytest.fixture
def plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The elementwise parts as transformers writes them, instead of ours for processors."""

    def norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))

    def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-second, first), dim=-1) * sin

    monkeypatch.setattr(ours_module, "rms_norm", norm)
    monkeypatch.setattr(ours_module, "rotate", rotate)
    monkeypatch.setattr(ours_module, "gated", lambda gate, up: F.silu(gate) * up)


@pytest.mark.parametrize("case", CASES)
def test_logits_are_equal_to_the_last_bit_where_the_arithmetic_is_the_same(case, tmp_path, plain_kernels):
    theirs = theirs_of(case)
    theirs.save_pretrained(tmp_path / "m")
    ours, config = weights.load(tmp_path / "m")
    assert torch.equal(logits(ours), logits(theirs))
    assert sum(parameter.numel() for parameter in ours.parameters()) == config.parameters


@pytest.mark.parametrize("case", CASES)
def test_our_kernels_for_processors_differ_by_rounding_alone(case, tmp_path):
    theirs = theirs_of(case)
    theirs.save_pretrained(tmp_path / "m")
    ours, _ = weights.load(tmp_path / "m")
    expected = logits(theirs)
    assert (logits(ours) - expected).abs().max() <= 2e-6 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_in_out_and_in_again_changes_no_bit(case, dtype, tokenizer, tmp_path):
    theirs = theirs_of(case).to(dtype)
    theirs.save_pretrained(tmp_path / "a")
    ours, config = weights.load(tmp_path / "a", dtype=None)
    weights.save(ours, tmp_path / "b", tokenizer)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "b", dtype="auto").eval()
    assert type(again) is type(theirs)
    mine, their = again.state_dict(), theirs.state_dict()
    assert mine.keys() == their.keys()
    assert all(torch.equal(mine[name], value) and mine[name].dtype == dtype for name, value in their.items())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "a", dtype="auto").eval()
    assert torch.equal(logits(again), logits(theirs))
    once_more, read = weights.load(tmp_path / "b", dtype=None)
    assert read == config
    weights.save(once_more, tmp_path / "c", tokenizer)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


@pytest.mark.parametrize("case", CASES)
def test_every_field_of_the_config_is_kept_and_rope_is_spelled_both_ways(case, tokenizer, tmp_path):
    theirs = theirs_of(case)
    theirs.save_pretrained(tmp_path / "a")
    path = tmp_path / "a" / "config.json"
    raw = json.loads(path.read_text()) | {"unknown_to_us": {"x": [1]}, "transformers_version": "4.40.0"}
    path.write_text(json.dumps(raw))
    model, config = weights.load(tmp_path / "a")
    weights.save(model, tmp_path / "b", tokenizer)
    written = json.loads((tmp_path / "b" / "config.json").read_text())
    assert {name: written.get(name) for name in raw if name != "head_dim"} == {
        name: value for name, value in raw.items() if name != "head_dim"
    }
    assert written["rope_theta"] == written["rope_parameters"]["rope_theta"] == config.rope_theta
    scaling = written.get("rope_scaling") or {"rope_type": "default"}
    assert {**scaling, "rope_theta": config.rope_theta} == written["rope_parameters"]
    # What transformers 4 wrote: its spelling alone.
    old = {name: value for name, value in written.items() if name != "rope_parameters"}
    assert from_hugging_face(old, "x") == config
    kind = scaling.pop("rope_type")
    old["rope_scaling"] = {"type": kind, **scaling} if scaling else None
    assert from_hugging_face(old, "x") == config


@pytest.mark.parametrize("case", CASES)
def test_greedy_answers_are_those_of_transformers(case, tmp_path):
    theirs = theirs_of(case)
    theirs.save_pretrained(tmp_path / "m")
    ours, _ = weights.load(tmp_path / "m")
    prompts = [[5, 6, 7], list(range(1, 13))]
    answers = Generator(ours, []).generate(prompts, Options(max_tokens=20))
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt])
        reference = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False, pad_token_id=0
        )
        assert answer.ids == reference[0, len(prompt) :].tolist()


def test_shards_in_and_out_are_the_same_model(tokenizer, tmp_path):
    theirs = theirs_of("qwen3")
    theirs.save_pretrained(tmp_path / "a", max_shard_size="20KB")
    assert len(list((tmp_path / "a").glob("*.safetensors"))) > 2
    model, _ = weights.load(tmp_path / "a")
    weights.save(model, tmp_path / "b", tokenizer, shard_bytes=20_000)
    index = json.loads((tmp_path / "b" / "model.safetensors.index.json").read_text())
    shards = sorted((tmp_path / "b").glob("*.safetensors"))
    assert sorted(set(index["weight_map"].values())) == [path.name for path in shards]
    assert all(path.stat().st_size < 25_000 for path in shards)
    assert index["metadata"]["total_size"] == sum(4 * value.numel() for value in model.state_dict().values())
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "b").eval()
    assert torch.equal(logits(again), logits(theirs))
    weights.save(model, tmp_path / "b", tokenizer)
    whole, _ = weights.load(tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), model.parameters(), strict=True))
    assert not (tmp_path / "b" / "model.safetensors.index.json").exists()


def test_tensors_that_follow_from_the_config_may_be_there(tmp_path):
    theirs = theirs_of("llama")
    theirs.save_pretrained(tmp_path / "m")
    tensors = weights.load_tensors(tmp_path / "m" / "model.safetensors")
    tensors |= {"lm_head.weight": torch.ones(90, 32), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}
    weights.save_tensors(tmp_path / "m" / "model.safetensors", tensors)
    assert (logits(weights.load(tmp_path / "m")[0]) - logits(theirs)).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("damage", "message", "hint"),
    [
        ("bin", "weights not found", "pytorch_model.bin is not read"),
        ("outside", "leaves the folder", "beside itself"),
        ("no-map", "weight_map is missing", "copy"),
        ("lost-shard", "weights not found", "copy the folder again"),
        ("cut", "cannot be read", "cut off"),
        ("shape", "config.json says", ""),
        ("extra", "unexpected in the weights", ""),
        ("missing", "is missing from the weights", ""),
    ],
)
def test_damaged_folders_are_told_before_anything_is_trained(damage, message, hint, tmp_path):
    folder = tmp_path / "m"
    theirs_of("mistral").save_pretrained(folder, max_shard_size="20KB")
    index = folder / "model.safetensors.index.json"
    shard = sorted(folder.glob("*.safetensors"))[0]
    raw = json.loads(index.read_text())
    if damage == "bin":
        for path in folder.glob("model*"):
            path.unlink()
        (folder / "pytorch_model.bin").write_bytes(b"x")
    elif damage == "outside":
        raw["weight_map"]["lm_head.weight"] = "../other.safetensors"
        index.write_text(json.dumps(raw))
    elif damage == "no-map":
        index.write_text("[]")
    elif damage == "lost-shard":
        shard.unlink()
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-7])
    else:
        tensors = weights.load_tensors(shard)
        name = min(tensors)
        change = {"shape": {name: torch.ones(3)}, "extra": {"odd.weight": torch.ones(3)}, "missing": {}}[damage]
        rest = tensors if damage == "extra" else {other: tensors[other] for other in tensors if other != name}
        weights.save_tensors(shard, rest | change)
    with pytest.raises(DataError, match=message) as told:
        weights.load(folder)
    assert told.value.where.startswith(str(folder))
    assert hint in told.value.hint
