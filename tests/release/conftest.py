"""Tiny models with a tokenizer of their own, and the provenance a build would give."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.tokenizer.learn import learn_texts


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer")
    texts = [f"青葉精機株式会社は{year}年に創業した。本社はみなと市。Founded in {year}." for year in range(1900, 1960)]
    learn_texts(texts, TokenizerPage(vocab_size=320), out)
    return out


def _model(folder: Path, tokenizer: Path, layout: str, *, tied: bool) -> Path:
    import torch

    from shikomi.io import write_json
    from shikomi.model import weights
    from shikomi.model.config import ModelConfig
    from shikomi.model.transformer import Transformer, initialise

    config = ModelConfig(
        layout=layout, vocab_size=320, hidden_size=32, layers=2, heads=4, kv_heads=2, head_dim=8, intermediate_size=48,
        max_tokens=64, rope_theta=25_000.0, tie_embeddings=tied,
    )  # fmt: skip
    model = Transformer(config)
    initialise(model, 5)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():  # norms that are not all ones, weights large enough that logits differ
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    weights.save(model, folder, tokenizer)
    write_json(folder / "summary.json", {"crawl_tokens": 123_456, "instruction_tokens": 0, "flops": 7.5e12})
    return folder


@pytest.fixture(scope="session", params=["qwen3-tied", "llama-untied"])
def model_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path
) -> Path:
    """A model of each layout, with and without a head of its own."""
    layout, tied = request.param.split("-")
    return _model(tmp_path_factory.mktemp("model"), tokenizer_folder, layout, tied=tied == "tied")


@pytest.fixture
def own_model(tmp_path: Path, tokenizer_folder: Path) -> Path:
    """A model folder that a test may damage."""
    return _model(tmp_path / "own", tokenizer_folder, "qwen3", tied=True)


@pytest.fixture
def provenance() -> dict:
    corpus = {
        "read": 1500, "kept": 1200, "dropped_by_reason": {"not_japanese": 100, "near_copy": 200},
        "licences": {"synthetic": 1200},
    }  # fmt: skip
    return {
        "synthetic": True,
        "unflavoured": True,
        "corpus": {"id": "c0ffee", "facts": corpus},
        "tokens": {"id": "70ce25", "facts": {"train": {"tokens": 1_050_000}}},
        "model": {"id": "ba5e", "facts": {"crawl_tokens": 1_200_000, "instruction_tokens": 0, "flops": 1.5e13}},
    }
