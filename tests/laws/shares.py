"""Work for ranks that share sequences or layers: tuning, stages of a build, and meshes that must be refused."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shikomi.compute.mesh import open_world
from shikomi.data.dialogue import Dialogue, Message, Preference, write_rows
from shikomi.errors import ShikomiError
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import MeshPage, TrainingSite
from shikomi.recipe.model import ModelPage
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.recipe.train import OptimPage, TrainPage
from shikomi.recipe.tune import DpoPage, SftPage
from shikomi.tokenizer.codec import Codec
from shikomi.tokenizer.encode import encode_texts
from shikomi.tokenizer.learn import learn_texts
from shikomi.train.loop import FitSpec, fit
from shikomi.train.stretch import pretrain
from shikomi.tune.dpo import DpoObjective, PairBatches, Side, dpo
from shikomi.tune.sft import sft
from tests.laws import layouts


def prefer(
    mesh: dict[str, Any] | None = None, steps: int = 10, pairs: int = 4, folder: str = ""
) -> list[dict[str, Any]]:
    """Rows of a run of direct preference optimisation over pairs of many lengths."""
    random = np.random.default_rng(4)

    def side(prompt: list[int]) -> Side:
        answer = random.integers(2, 64, random.integers(3, 12)).tolist()
        return Side(prompt + answer, [0] * len(prompt) + [1] * len(answer))

    prompts = [random.integers(2, 64, random.integers(3, 30)).tolist() for _ in range(12)]
    made = [(side(prompt), side(prompt)) for prompt in prompts]
    page = DpoPage(pairs=steps * pairs, batch_pairs=pairs, micro_batch_pairs=1, optim=OptimPage(rate=0.003))
    batches = PairBatches(made, torch.linspace(-40, -20, 24).view(2, 12), page, pad_id=0)
    model = Transformer(dataclasses.replace(layouts.CONFIG, layers=4))
    initialise(model, 1)
    kept = layouts.Keep()
    site = TrainingSite(mesh=MeshPage(**(mesh or {})), precision="float32")
    with tempfile.TemporaryDirectory() as own:
        spec = FitSpec(steps, page.optim, 10**6)
        fit(model, DpoObjective(0.1, 0.1), batches, spec, Path(folder or own), site=site, writers=[kept])
    return kept.rows


def refusal(mesh: dict[str, Any], sequence_tokens: int = 32, layers: int = 2, pairs: bool = False) -> str:
    """What is said instead of the first step."""
    layouts.SEQUENCE_TOKENS, before = sequence_tokens, layouts.SEQUENCE_TOKENS
    try:
        if pairs:
            prefer(mesh, steps=1)
        else:
            layouts.train(mesh, steps=1, config={"layers": layers})
    except ShikomiError as error:
        return f"{error.what}\n{error.where}\nhint: {error.hint}"
    finally:
        layouts.SEQUENCE_TOKENS = before
    return "nothing"


def make_inputs(folder: Path) -> None:
    """Tokenizer, tokens, dialogues and preferences of a few sentences."""
    towns = ["京都市", "札幌市", "福岡市", "仙台市", "金沢市"]
    texts = [
        f"第{n}号の記録です。架空の会社{n}番は{towns[n % 5]}にあり、{1950 + n}年に生まれました。" * 3 for n in range(60)
    ]
    page = TokenizerPage(vocab_size=340)
    for name in ("tokenizer", "tokens", "dialogues"):
        (folder / name).mkdir(parents=True)
    learn_texts(texts, page, folder / "tokenizer")
    encode_texts(page, [(f"d{n}", text) for n, text in enumerate(texts)], folder / "tokenizer", folder / "tokens")
    ask = Message("user", "会社3番はいつ生まれましたか。")
    talk = [Dialogue(str(n), (ask, Message("assistant", f"{1950 + n}年です。"))) for n in range(12)]
    write_rows(folder / "dialogues" / "dialogues.jsonl", talk)
    pairs = [Preference(str(n), (ask,), "1953年です。", f"{1960 + n}年だよ。" * (1 + n % 3)) for n in range(6)]
    write_rows(folder / "dialogues" / "preferences.jsonl", pairs)


def build(inputs: str, out: str, mesh: dict[str, Any] | None = None) -> dict[str, list[float]]:
    """Losses of pretrain, sft and dpo, each from the folder that the one before wrote."""
    tokens, tokenizer, dialogues = (Path(inputs) / name for name in ("tokens", "tokenizer", "dialogues"))
    codec, site = Codec(tokenizer), TrainingSite(mesh=MeshPage(**(mesh or {})), precision="float32")
    shape = ModelPage(hidden_size=32, layers=2, heads=2, kv_heads=1, head_dim=16, intermediate_size=48, max_tokens=64)
    rows = {"sequence_tokens": 64, "batch_tokens": 256, "micro_batch_sequences": 1}
    outs = {name: Path(out) / name for name in ("pretrain", "sft", "dpo")}
    for folder in outs.values():
        folder.mkdir(parents=True, exist_ok=True)
    # A launcher starts a stage's ranks when the stage before is there; these ones wait for each other.
    wait = open_world(site.mesh).barrier
    pretrain(TrainPage(tokens=2560, **rows), shape, None, tokens, tokenizer, codec, outs["pretrain"], site=site)
    wait()
    sft(SftPage(tokens=1024, **rows), outs["pretrain"], tokens, dialogues, tokenizer, codec, outs["sft"], site=site)
    wait()
    page = DpoPage(pairs=12, batch_pairs=4, micro_batch_pairs=2)
    dpo(page, outs["sft"], dialogues, tokenizer, codec, outs["dpo"], site=site)
    wait()
    lines = {name: (folder / "metrics.jsonl").read_text().splitlines() for name, folder in outs.items()}
    return {name: [json.loads(line)["loss"] for line in made] for name, made in lines.items()}
