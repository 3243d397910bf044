"""Stretches of next-token training: pretrain on crawl text alone, anneal with dialogues mixed in."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from shikomi.compute.mesh import open_world
from shikomi.compute.torchrun import is_main
from shikomi.errors import RecipeError
from shikomi.io import read_json, write_json
from shikomi.log import Progress, silent
from shikomi.model import lora, weights
from shikomi.model.config import ModelConfig, from_page
from shikomi.model.context import check_sequences
from shikomi.model.transformer import Transformer, drawn, initialise
from shikomi.recipe.mesh import ONE_PROCESS, TrainingSite
from shikomi.recipe.model import ModelPage
from shikomi.recipe.train import AnnealPage, TrainPage
from shikomi.train.ahead import Ahead
from shikomi.train.batches import Sources
from shikomi.train.loop import FirstWeights, FitSpec, fit
from shikomi.train.memory import check_memory
from shikomi.train.objective import NextToken
from shikomi.train.pipelined import check_stages
from shikomi.train.text import Codec, Folders, anneal_rows, num_steps, pretrain_rows, row_batches

TIMES = ("tokens_per_second", "checkpoint_seconds", "mfu", "peak_flops", "peak_basis")
"""Facts that differ from run to run: they stay out of ``summary.json``."""


def pretrain(
    page: TrainPage, shape: ModelPage, base: Path | None, tokens: Path, tokenizer: Path, codec: Codec, out: Path, *,
    folders: Folders = MappingProxyType({}), site: TrainingSite = ONE_PROCESS, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Train the unflavoured base on crawl text alone: from scratch, or from the open base in folder ``base``.

    Args:
        folders: token folders of the mixture's outside sources, by name.

    Raises:
        RecipeError: sequences longer than the model's context, or a source read more often than it may.
        DataError: too few tokens, or a base that cannot be read or has another vocabulary.
        MachineError: more memory than there is.
    """
    config = from_page(shape, codec.vocab_size) if base is None else weights.read_config(base)
    check_stage(config, page, "pretrain", site, scratch=base is None)
    model, source = begin(config, base, page, site)
    rows = pretrain_rows(page, tokens, codec, model.config.vocab_size, folders)
    facts = run_rows(model, rows, page, out, site, progress, source)
    return finish(model, tokenizer, out, facts, before=None, crawl_share=1.0, dialogue_share=0.0)


def anneal(
    page: AnnealPage, before: Path, tokens: Path, dialogues: Path, tokenizer: Path, codec: Codec, out: Path, *,
    folders: Folders = MappingProxyType({}), site: TrainingSite = ONE_PROCESS, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Go on from the base with tuning dialogues mixed into replayed crawl text; the loss covers every token."""
    config = weights.read_config(before)
    check_stage(config, page, "anneal", site)
    model, source = begin(config, before, page, site)
    rows, talk = anneal_rows(page, tokens, dialogues, codec, model.config.vocab_size, folders)
    facts = run_rows(model, rows, page, out, site, progress, source)
    facts |= {"dialogues": len(talk.dialogues), "dialogues_too_long": talk.too_long}
    return finish(model, tokenizer, out, facts, before, 1 - page.dialogue_share, page.dialogue_share)


def begin(
    config: ModelConfig, base: Path | None, page: Any, site: TrainingSite
) -> tuple[Transformer, FirstWeights | None]:
    """The model that a stage begins with: drawn from ``page.seed``, or that of folder ``base``, adapted as it asks.

    Where several ranks share it, it is made without memory, and comes with what gives its weights one by one.

    Raises:
        UsageError, MachineError: the ranks do not make the site's mesh, or do not meet.
        DataError: a base that cannot be read.
    """
    shared = open_world(site.mesh).size > 1 and page.lora is None
    if shared:
        with torch.device("meta"):
            model, whole = Transformer(config), Transformer(config)
        # The model is laid out in place; names and shapes of its weights are those of another one.
        return model, lambda: drawn(whole, page.seed) if base is None else weights.stored(base, whole)
    if base is None:
        model = Transformer(config)
        initialise(model, page.seed)
    else:
        model, _ = weights.load(base)
    lora.adapt(model, page.lora, page.seed)
    return model, None


def check_stage(config: ModelConfig, page: Any, stage: str, site: TrainingSite, *, scratch: bool = False) -> None:
    """Refuse what cannot be trained here, before a weight is drawn or read.

    Args:
        config: the model's shape.
        page: the stage's, with tokens, batch_tokens and sequence_tokens.
        stage: its name in the recipe.
        scratch: whether the recipe says how large the model is.

    Raises:
        RecipeError: sequences longer than the model's context, or that the mesh cannot cut; fewer layers than stages.
        MachineError: more memory than there is.
    """
    if page.sequence_tokens > config.max_tokens:
        raise RecipeError(
            f"{stage}.sequence_tokens = {page.sequence_tokens} is longer than the model's context",
            where=f"{stage}.sequence_tokens",
            hint=f"at most {config.max_tokens}",
        )
    check_sequences(page.sequence_tokens, site.mesh.context)
    check_stages(config, site)
    if page.tokens:
        check_memory(
            config, stage, page.optim, site,
            rows=page.micro_batch_sequences, step_rows=page.batch_tokens // page.sequence_tokens,
            sequence_tokens=page.sequence_tokens, lora=page.lora, scratch=scratch,
        )  # fmt: skip


def run_rows(
    model: Transformer, rows: Sources, page: Any, out: Path, site: TrainingSite, progress: Progress,
    source: FirstWeights | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Fit next-token loss over rows as a page with tokens, batch_tokens and sequence_tokens asks."""
    steps, flops = num_steps(page), model.config.flops_per_token(page.sequence_tokens)
    batches = row_batches(rows, page)
    spec = FitSpec(steps, page.optim, page.checkpoint_steps, flops_per_token=flops)
    objective = NextToken(page.optim.z_loss)
    with Ahead(batches, steps) as ahead:
        facts: dict[str, Any] = fit(
            model, objective, ahead, spec, out, site=site, weights=source, progress=progress
        )  # fmt: skip
    sources = {
        name: {"tokens": round(seen["rows"] * page.sequence_tokens), "epochs": seen["epochs"]}
        for name, seen in batches.seen(steps).items()
    }
    return facts | {"flops": flops * facts["positions"], "flops_per_token": flops, "sources": sources}


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

    Of several ranks the main one writes; all return the same facts. Adapters are merged into the weights, and stand by
    themselves in ``adapter/`` beside them.
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
        if lora.adapters(model):
            lora.save_adapter(model, out / "adapter", before.name if before is not None else None)
            lora.merge(model)
        weights.save(model, out, tokenizer)
        write_json(out / "summary.json", summary)
    return {**facts, **{name: value for name, value in summary.items() if name != "stage"}}
