"""Supervised fine-tuning: next-token loss on assistant turns, with crawl replay against forgetting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shikomi.log import Progress, silent
from shikomi.model import weights
from shikomi.recipe.mesh import ONE_PROCESS, TrainingSite
from shikomi.recipe.tune import SftPage
from shikomi.train.stretch import begin, check_stage, finish, run_rows
from shikomi.train.text import Codec, sft_rows


def sft(
    page: SftPage, before: Path, tokens: Path, dialogues: Path, tokenizer: Path, codec: Codec, out: Path, *,
    site: TrainingSite = ONE_PROCESS, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Tune the model in ``before`` on dialogues; only assistant turns and their end token are learned from."""
    config = weights.read_config(before)
    check_stage(config, page, "sft", site)
    model, source = begin(config, before, page, site)
    rows, talk = sft_rows(page, tokens, dialogues, codec, model.config.vocab_size)
    facts = run_rows(model, rows, page, out, site, progress, source)
    facts |= {"dialogues": len(talk.dialogues), "dialogues_too_long": talk.too_long}
    return finish(model, tokenizer, out, facts, before, page.replay_share, 1 - page.replay_share)
