"""Stretches of next-token training: pretrain on crawl text alone, anneal with dialogues mixed in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from shikomi.compute.torchrun import is_main
from shikomi.data.dialogue import Message, read_dialogues
from shikomi.data.tokens import TokenShards
from shikomi.errors import DataError, RecipeError
from shikomi.io import read_json, write_json
from shikomi.log import Progress, silent
from shikomi.model import lora, weights
from shikomi.model.config import from_page
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import ONE_PROCESS, TrainingSite
from shikomi.recipe.model import ModelPage
from shikomi.recipe.train import AnnealPage, TrainPage
from shikomi.train.batches import CrawlRows, DialogueRows, MixedRows, RowBatches, Rows
from shikomi.train.loop import FitSpec, fit
from shikomi.train.objective import NextToken

TIMES = ("tokens_per_second", "checkpoint_seconds", "mfu", "peak_flops", "peak_basis")
"""Facts that differ from run to run: they stay out of ``summary.json``."""


class Codec(Protocol):
    """What training needs of a tokenizer (``shikomi.tokenizer.codec.Codec`` is one)."""

    vocab_size: int
    eos_id: int
    pad_id: int

    def dialogue(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Ids of a dialogue, and a mask that is 1 on what SFT trains on."""
        ...


def pretrain(
    page: TrainPage, shape: ModelPage, base: Path | None, tokens: Path, tokenizer: Path, codec: Codec, out: Path, *,
    site: TrainingSite = ONE_PROCESS, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Train the unflavoured base on crawl text alone: from scratch, or from the open base in folder ``base``.

    Raises:
        RecipeError: sequences longer than the model's context.
        DataError: too few tokens, or a base that cannot be read or has another vocabulary.
    """
    if base is None:
        model = Transformer(from_page(shape, codec.vocab_size))
        initialise(model, page.seed)
    else:
        model, _ = weights.load(base)
    check_lengths(page.sequence_tokens, model, "pretrain")
    lora.adapt(model, page.lora, page.seed)
    rows = CrawlRows(training_tokens(tokens, model, codec), page.sequence_tokens, codec.eos_id, page.seed)
    facts = run_rows(model, rows, page, out, site, progress)
    return finish(model, tokenizer, out, facts, before=None, crawl_share=1.0, dialogue_share=0.0)


def anneal(
    page: AnnealPage, before: Path, tokens: Path, dialogues: Path, tokenizer: Path, codec: Codec, out: Path, *,
    site: TrainingSite = ONE_PROCESS, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Go on from the base with tuning dialogues mixed into replayed crawl text; the loss covers every token."""
    model, _ = weights.load(before)
    check_lengths(page.sequence_tokens, model, "anneal")
    lora.adapt(model, page.lora, page.seed)
    crawl = CrawlRows(training_tokens(tokens, model, codec), page.sequence_tokens, codec.eos_id, page.seed)
    talk = dialogue_rows(dialogues, codec, page.sequence_tokens, page.seed, answers_only=False)
    facts = run_rows(model, MixedRows(crawl, talk, page.dialogue_share), page, out, site, progress)
    facts |= {"dialogues": len(talk.dialogues), "dialogues_too_long": talk.too_long}
    return finish(model, tokenizer, out, facts, before, 1 - page.dialogue_share, page.dialogue_share)


def training_tokens(folder: Path, model: Transformer, codec: Codec) -> TokenShards:
    """The training split of a folder of token shards.

    Raises:
        DataError: its ids are those of another vocabulary than the tokenizer's, or the model has no rows for them.
    """
    shards, rows = TokenShards(folder, "train"), model.config.vocab_size
    if shards.vocab_size != codec.vocab_size:
        raise DataError(
            f"tokens of a vocabulary of {shards.vocab_size}, the tokenizer has {codec.vocab_size}",
            where=str(folder / "index.json"),
            hint="encode the corpus anew with this tokenizer",
        )
    if shards.vocab_size > rows:
        raise DataError(
            f"tokens of a vocabulary of {shards.vocab_size}, the model has rows for {rows}",
            where=str(folder / "index.json"),
            hint="encode the corpus with the model's own tokenizer",
        )
    return shards


def dialogue_rows(folder: Path, codec: Codec, sequence_tokens: int, seed: int, *, answers_only: bool) -> DialogueRows:
    """Encode ``dialogues.jsonl`` of a folder into packed rows."""
    encoded = [codec.dialogue(dialogue.messages) for dialogue in read_dialogues(folder / "dialogues.jsonl")]
    return DialogueRows(encoded, sequence_tokens, codec.pad_id, seed, answers_only=answers_only)


def check_lengths(sequence_tokens: int, model: Transformer, stage: str) -> None:
    """Refuse sequences that the model has no positions for.

    Raises:
        RecipeError: longer than the model's context.
    """
    if sequence_tokens > model.config.max_tokens:
        raise RecipeError(
            f"{stage}.sequence_tokens = {sequence_tokens} is longer than the model's context",
            where=f"{stage}.sequence_tokens",
            hint=f"at most {model.config.max_tokens}",
        )


def run_rows(
    model: Transformer, rows: Rows, page: Any, out: Path, site: TrainingSite, progress: Progress
) -> dict[str, Any]:
    """Fit next-token loss over rows as a page with tokens, batch_tokens and sequence_tokens asks."""
    per_step = page.batch_tokens // page.sequence_tokens
    steps = math.ceil(page.tokens / page.batch_tokens)
    batches = RowBatches(rows, per_step, page.micro_batch_sequences)
    spec = FitSpec(steps, page.optim, page.checkpoint_steps)
    facts: dict[str, Any] = fit(model, NextToken(page.optim.z_loss), batches, spec, out, site=site, progress=progress)
    flops = model.config.flops_per_token(page.sequence_tokens) * facts["positions"]
    return facts | {"flops": flops, "flops_per_token": model.config.flops_per_token(page.sequence_tokens)}


def finish(
    model: Transformer,
    tokenizer: Path,
    out: Path,
    facts: dict[str, Any],
    before: Path | None,
    crawl_share: float,
    dialogue_share: float,
) -> dict[str, Any]:
    """Write the model folder and ``summary.json``: what this model has seen since its first weights.

    Of several ranks the main one writes; all return the same facts.
    """
    earlier = read_json(before / "summary.json") if before is not None else {}
    positions = facts["positions"]
    summary = {
        "parameters": model.config.parameters,
        "crawl_tokens": earlier.get("crawl_tokens", 0) + round(positions * crawl_share),
        "instruction_tokens": earlier.get("instruction_tokens", 0) + round(positions * dialogue_share),
        "flops": earlier.get("flops", 0) + facts.get("flops", 0),
        "stage": {name: value for name, value in facts.items() if name not in TIMES},
    }
    if is_main():
        weights.save(model, out, tokenizer)
        write_json(out / "summary.json", summary)
    return {**facts, **{name: value for name, value in summary.items() if name != "stage"}}
