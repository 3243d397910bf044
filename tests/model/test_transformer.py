"""The decoder against transformers' own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from shikomi.errors import DataError, RecipeError
from shikomi.model import weights
from shikomi.model.config import ModelConfig, from_page
from shikomi.model.config_json import from_hugging_face, to_hugging_face
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.model import ModelPage

SHAPES = [
    ModelConfig("qwen3", 97, 32, 2, 4, 2, 8, 48, 64),
    ModelConfig("llama", 97, 32, 3, 4, 4, 8, 40, 64, rope_theta=500_000.0, tie_embeddings=False, rms_eps=1e-5),
    ModelConfig("qwen3", 101, 24, 1, 2, 1, 16, 32, 64, tie_embeddings=False),
    ModelConfig("mistral", 97, 32, 3, 4, 2, 8, 48, 64, sliding_window=5),
    ModelConfig("qwen2", 97, 32, 3, 4, 2, 8, 48, 64, qkv_bias=True, sliding_window=4, full_layers=(0,)),
]


def make(config: ModelConfig, seed: int = 3) -> Transformer:
    model = Transformer(config)
    initialise(model, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Norm weights other than 1, so that a forgotten one shows; larger weights, so that attention matters.
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
            else:
                parameter.mul_(8)
    return model


@pytest.fixture
def tokenizer(tmp_path):
    """The two files a model folder needs of its tokenizer."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    added = [{"id": 0, "content": "<|endoftext|>"}, {"id": 1, "content": "<|pad|>"}]
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}))
    return folder


@pytest.mark.parametrize("config", SHAPES)
def test_transformers_loads_the_folder_and_gives_the_same_logits(config, tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = make(config)
    weights.save(model, tmp_path / "m", tokenizer)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32).eval()
    tokens = torch.randint(0, config.vocab_size, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = (model.head(model(tokens)) - theirs(tokens).logits).abs().max()
    assert difference <= 1e-4
    assert sum(p.numel() for p in model.parameters()) == config.parameters


@pytest.mark.parametrize("kind", ["LlamaForCausalLM", "Qwen3ForCausalLM"])
def test_a_model_saved_by_transformers_loads_here_with_the_same_logits(kind, tmp_path):
    transformers = pytest.importorskip("transformers")
    config_class = getattr(transformers, kind.replace("ForCausalLM", "Config"))
    raw = config_class(
        vocab_size=90, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = getattr(transformers, kind)(raw).eval()
    theirs.save_pretrained(tmp_path / "b")
    ours, config = weights.load(tmp_path / "b")
    tokens = torch.randint(0, 90, (2, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert (ours.head(ours(tokens)) - theirs(tokens).logits).abs().max() <= 1e-4
    assert config.layout == kind[:5].lower()


@pytest.mark.parametrize("config", SHAPES)
def test_round_trip_is_bit_exact(config, tokenizer, tmp_path):
    model = make(config)
    weights.save(model, tmp_path / "a", tokenizer)
    again, read = weights.load(tmp_path / "a")
    weights.save(again, tmp_path / "b", tokenizer)
    assert read == config
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_fill_up_the_vocabulary_change_nothing(tied, tokenizer, tmp_path):
    plain = ModelConfig("llama", 97, 32, 1, 4, 2, 8, 48, 64, tie_embeddings=tied)
    padded = replace(plain, vocab_multiple=64)
    models = []
    for config in (plain, padded):
        models.append(Transformer(config))
        initialise(models[-1], 7)
    tokens = torch.randint(0, 97, (2, 12), generator=torch.Generator().manual_seed(5))
    logits = [model.head(model(tokens)) for model in models]
    assert models[1].model.embed_tokens.weight.shape == (128, 32)
    assert torch.equal(*logits)
    for model, out in zip(models, logits, strict=True):
        out.logsumexp(-1).sum().backward()
        weights.save(model, tmp_path / str(model.config.vocab_multiple), tokenizer)
    gradients = [model.model.embed_tokens.weight.grad for model in models]
    assert torch.equal(gradients[0], gradients[1][:97])
    assert not gradients[1][97:].any()
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "64" / name).read_bytes()


def test_flops_count_the_head_and_half_the_attention_square():
    config = SHAPES[0]
    matmul = sum(p.numel() for n, p in Transformer(config).named_parameters() if p.ndim == 2)
    assert config.matmul_parameters == matmul
    assert config.flops_per_token(10) == 6 * matmul + 6 * 2 * 4 * 8 * 10


def test_page_to_config_and_back():
    config = from_page(ModelPage(), 4096)
    assert from_hugging_face(to_hugging_face(config, eos_id=0, pad_id=1), "x") == config
    with pytest.raises(RecipeError, match="not a multiple"):
        from_page(ModelPage(heads=5, kv_heads=2), 100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mixtral"}, "architecture 'mixtral'"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "rope type 'longrope'"),
        ({"rope_parameters": {"rope_type": "yarn"}}, r"rope_parameters\.factor"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "one for each kind of layer"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_a_config_that_would_change_the_arithmetic_is_refused(change, message):
    raw = to_hugging_face(SHAPES[0], eos_id=0, pad_id=1) | change
    raw = {name: value for name, value in raw.items() if value is not None}
    with pytest.raises(DataError, match=message):
        from_hugging_face(raw, "config.json")


def test_damaged_folders_are_told_in_words(tokenizer, tmp_path):
    with pytest.raises(DataError, match=r"config\.json is missing"):
        weights.load(tmp_path)
    weights.save(make(SHAPES[0]), tmp_path / "m", tokenizer)
    path = tmp_path / "m" / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        weights.load(tmp_path / "m")
    path.unlink()
    with pytest.raises(DataError, match="weights not found"):
        weights.load(tmp_path / "m")
    tensors = dict(make(SHAPES[0]).state_dict())
    tensors.pop("model.norm.weight")
    weights.save_tensors(path, tensors)
    with pytest.raises(DataError, match=r"model\.norm\.weight is missing from"):
        weights.load(tmp_path / "m")
    tensors = dict(make(SHAPES[0]).state_dict()) | {"model.norm.weight": torch.ones(5)}
    weights.save_tensors(path, tensors)
    with pytest.raises(DataError, match="has shape"):
        weights.load(tmp_path / "m")


def test_sharded_weights_load(tokenizer, tmp_path):
    model = make(SHAPES[1])
    weights.save(model, tmp_path / "m", tokenizer)
    tensors = dict(model.state_dict())
    names = sorted(tensors)
    half = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, members in half.items():
        weights.save_tensors(tmp_path / "m" / file, {name: tensors[name] for name in members})
    (tmp_path / "m" / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, members in half.items() for name in members}}
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps(index))
    again, _ = weights.load(tmp_path / "m")
    assert all(torch.equal(again.state_dict()[name], tensors[name]) for name in names)
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "../x.safetensors"}}))
    with pytest.raises(DataError, match="leaves the folder"):
        weights.load(tmp_path / "m")
