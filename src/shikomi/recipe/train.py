"""The training pages: one for each stretch of the one trainer (pretrain, anneal)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from shikomi.recipe.lora import LoraPage
from shikomi.recipe.mixture import MixtureSource, skipped
from shikomi.recipe.page import WHEN_GIVEN, WHERE_ONLY, Count, Page


class OptimPage(Page):
    """Optimiser and schedule. Rates are peaks; the schedule is a pure function of the tokens seen."""

    kind: Literal["muon", "adamw"] = "muon"
    """``muon``: hidden matrices by Muon, all else by AdamW."""
    rate: float = Field(default=0.006, gt=0)
    """Peak AdamW rate."""
    embedding_rate: float = Field(default=0.0, ge=0)
    """Peak AdamW rate of an input embedding that has a head of its own; 0: the same as ``rate``. From scratch a rate
    30 to 50 times as high learns much faster: each row is touched rarely (docs/log.md)."""
    muon_rate: float = Field(default=0.001, gt=0)
    """Peak Muon rate (update scaled to unit RMS per matrix: see train/optim.py)."""
    warmup_share: float = Field(default=0.02, ge=0, lt=1)
    """Share of the run over which the rate rises from 0 to its peak."""
    schedule: Literal["wsd", "cosine", "constant"] = Field(default="wsd", json_schema_extra=WHEN_GIVEN)
    """What the rate does after its warm-up. ``wsd``: stays at its peak, then falls over the last ``decay_share`` of the
    run; ``cosine``: falls along half a cosine from the warm-up to the end; ``constant``: stays."""
    decay_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the run over which the rate falls to ``final_rate`` of its peak (``wsd``)."""
    decay: Literal["linear", "sqrt"] = Field(default="linear", json_schema_extra=WHEN_GIVEN)
    """How it falls (``wsd``): ``linear``, or ``sqrt``: by 1 - √(share of the decay done), fast at first."""
    final_rate: float = Field(default=0.05, ge=0, le=1)
    """The last rate, as a share of the peak."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled weight decay of matrices; vectors and embeddings are spared."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW decay of the mean of gradients."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """AdamW decay of the mean of squared gradients."""
    eps: float = Field(default=1e-8, gt=0, le=1e-7)
    """AdamW epsilon; above 1e-7 is refused: one 172B run was lost to it (LLM-jp-3, NII report)."""
    z_loss: float = Field(default=0.0, ge=0, json_schema_extra=WHEN_GIVEN)
    """Factor on the square of the softmax's log-normaliser, added to the loss so that logits do not drift: 1e-5
    (OLMo 2) to 1e-4 (PaLM); 0: none. DPO does not use it."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients whose global norm is larger are scaled down to it."""


class TrainPage(Page):
    """A stretch of next-token training."""

    tokens: Count = Field(default=1_000_000, ge=0)
    """Tokens seen in this stretch; 0 passes the model through (only with ``model.base``)."""
    batch_tokens: Count = Field(default=4096, ge=16)
    """Tokens of one optimiser step, whatever the hardware."""
    sequence_tokens: Count = Field(default=256, ge=16)
    """Tokens of one row; documents are packed into rows."""
    micro_batch_sequences: int = Field(default=16, ge=1, json_schema_extra=WHERE_ONLY)
    """Rows in memory at once: changes speed and memory, not the result beyond rounding."""
    seed: int = 1
    """Seed of the initial weights and of the order of rows."""
    mixture: list[MixtureSource] = Field(default=[], json_schema_extra=WHEN_GIVEN)
    """Token folders to read text from, one table each with its weight; none: the corpus alone."""
    skip: list[str] = Field(default=[], json_schema_extra=WHEN_GIVEN)
    """Data passed over, what follows moving up: steps as ``"1200-1300"`` or rows as ``"rows 5000-5100"``, counted from
    1 in the order without skips, both ends included."""
    optim: OptimPage = OptimPage()
    lora: LoraPage | None = Field(default=None, json_schema_extra=WHEN_GIVEN)
    """Train low-rank adapters instead of all weights; none by default."""
    checkpoint_steps: int = Field(default=100, ge=1, json_schema_extra=WHERE_ONLY)
    """Steps between checkpoints: what is lost at most when a run is cut off."""

    @field_validator("skip")
    @classmethod
    def _ranges(cls, given: list[str]) -> list[str]:
        skipped(given, 1)
        return given


class AnnealPage(TrainPage):
    """A stretch that mixes dialogues into replayed crawl text, on top of the unflavoured base."""

    dialogue_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of tokens that come from tuning dialogues."""
