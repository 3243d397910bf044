"""The tuning pages: where dialogues come from, supervised fine-tuning, preference tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from shikomi.recipe.lora import LoraPage
from shikomi.recipe.mixture import skipped
from shikomi.recipe.page import WHEN_GIVEN, WHERE_ONLY, Count, Page
from shikomi.recipe.train import OptimPage


class SourcePage(Page):
    """Files of dialogues or preferences written elsewhere."""

    path: str = Field(json_schema_extra=WHERE_ONLY)
    """A file or glob; relative paths start at the recipe's folder."""
    form: Literal["messages", "sharegpt", "alpaca", "prompt-completion", "utterances", "squad", "preference"]
    """How the file is written; docs/guides/own-pages.md shows one row of each."""
    licence: str
    """Name of its licence, for example ``CC-BY-SA-4.0``; decides what the result may be used for."""
    limit: Count = Field(default=0, ge=0)
    """Take at most this many rows, in file order; 0: all."""


class DialoguesPage(Page):
    """Dialogues, preferences and questions: generated from the sample's facts, or read from ``sources``."""

    sources: list[SourcePage] = []
    seed: int = 11
    """Seed of wordings and splits."""
    forms_per_field: int = Field(default=24, ge=2)
    """Question wordings a field that tuning dialogues use (sample only)."""
    dialogues_per_fact: int = Field(default=12, ge=1)
    """Question-answer dialogues made of each fact of a tuned company (sample only)."""
    test_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of outside rows held out for evaluation, split by prompt (``sources`` only)."""


class SftPage(Page):
    """Supervised fine-tuning on dialogues: loss on assistant turns only."""

    tokens: Count = Field(default=100_000, ge=0)
    """Tokens seen (prompts included)."""
    batch_tokens: Count = Field(default=4096, ge=16)
    """Tokens of one optimiser step, whatever the hardware."""
    sequence_tokens: Count = Field(default=256, ge=16)
    """Tokens of one row; dialogues are packed into rows and longer ones cut."""
    micro_batch_sequences: int = Field(default=16, ge=1, json_schema_extra=WHERE_ONLY)
    """Rows in memory at once: changes speed and memory, not the result beyond rounding."""
    seed: int = 2
    """Seed of the order of dialogues."""
    skip: list[str] = Field(default=[], json_schema_extra=WHEN_GIVEN)
    """Data passed over, what follows moving up: steps as ``"200-210"`` or rows as ``"rows 500-510"``, counted from 1 in
    the order without skips, both ends included."""
    replay_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of tokens that are replayed crawl text, against forgetting."""
    optim: OptimPage = OptimPage(rate=0.0003, muon_rate=0.001)
    lora: LoraPage | None = Field(default=None, json_schema_extra=WHEN_GIVEN)
    """Train low-rank adapters instead of all weights; none by default."""
    checkpoint_steps: int = Field(default=50, ge=1, json_schema_extra=WHERE_ONLY)
    """Steps between checkpoints: what is lost at most when a run is cut off."""

    @field_validator("skip")
    @classmethod
    def _ranges(cls, given: list[str]) -> list[str]:
        skipped(given, 1)
        return given


class DpoPage(Page):
    """Direct preference optimisation (Rafailov et al. 2023), sigmoid loss, reference = the SFT model."""

    pairs: Count = Field(default=1000, ge=0)
    """Preference pairs seen."""
    batch_pairs: Count = Field(default=32, ge=1)
    """Pairs of one optimiser step, whatever the hardware."""
    micro_batch_pairs: int = Field(default=32, ge=1, json_schema_extra=WHERE_ONLY)
    """Pairs in memory at once: changes speed and memory, not the result beyond rounding."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the answers are held to the reference: higher changes less."""
    chosen_nll: float = Field(default=0.0, ge=0)
    """Weight of the chosen answer's negative log-likelihood per token: holds facts in place."""
    seed: int = 3
    """Seed of the order of pairs."""
    optim: OptimPage = OptimPage(kind="adamw", rate=0.0001)
    lora: LoraPage | None = Field(default=None, json_schema_extra=WHEN_GIVEN)
    """Train low-rank adapters instead of all weights; none by default."""
    checkpoint_steps: int = Field(default=20, ge=1, json_schema_extra=WHERE_ONLY)
    """Steps between checkpoints: what is lost at most when a run is cut off."""
