"""How training stages work on a site: how many ranks share a model and in which way. Never part of an identity."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import Page


class MeshPage(Page):
    """How ranks share one model: the product of all degrees is the number of ranks (``1`` everywhere: one process)."""

    replicate: int = Field(default=1, ge=1)
    """Copies of the sharded model that each see other rows (HSDP); gradients are summed across them."""
    shard: int = Field(default=0, ge=0)
    """Ranks that share parameters, gradients and optimiser state (FSDP2) and see other rows; 0: all that are left."""
    tensor: int = Field(default=1, ge=1)
    """Ranks that share each matrix product (tensor and sequence parallel); keep it inside one machine."""
    context: int = Field(default=1, ge=1)
    """Ranks that share each sequence, for sequences whose activations one rank cannot hold; a sequence must cut into
    two equal pieces a rank."""
    pipeline: int = Field(default=1, ge=1)
    """Ranks that hold consecutive layers each; a step should have several micro-batches for each of them."""
    schedule: Literal["1f1b", "interleaved", "zero-bubble"] = "1f1b"
    """Order of work in a pipeline. ``interleaved``: two stages a rank, less waiting for more messages;
    ``zero-bubble``: the same, and weights' gradients fill the waiting."""

    @property
    def sharers(self) -> int:
        """Ranks that the degrees apart from ``shard`` multiply to."""
        return self.replicate * self.context * self.tensor * self.pipeline

    def shard_of(self, ranks: int) -> int:
        """Ranks that share parameters when there are ``ranks`` in all; 0 is resolved to what the others leave."""
        return self.shard or max(1, ranks // self.sharers)


class TrainingSite(Page):
    """How training stages work here: changes speed and memory, not the result beyond rounding."""

    mesh: MeshPage = MeshPage()
    precision: Literal["auto", "float32", "bfloat16", "float8"] = "auto"
    """Type of matrix products; weights and optimiser state stay float32. ``auto``: bfloat16 where the hardware does
    it faster."""
    compile: bool = False
    """Compile layers with ``torch.compile``: faster on GPUs, minutes at the start."""
    recompute: bool = False
    """Keep only each layer's input for the backward pass and compute the rest again: less memory, a third more work."""
    writers: list[Literal["tensorboard", "wandb"]] = []
    """Where curves go besides the report: ``tensorboard`` and ``wandb`` (offline unless ``WANDB_MODE`` says otherwise),
    each an extra of that name; their files are in the stage's folder."""
    profile_steps: str = Field(default="", pattern=r"^([1-9][0-9]*-[1-9][0-9]*)?$")
    """Steps of each training stage to write a Chrome trace of, such as ``"10-12"``; none by default. ``shikomi build
    --profile`` takes ``"4-6"``."""

    @property
    def profiled(self) -> tuple[int, int]:
        """First and last step of ``profile_steps``."""
        first, last = map(int, self.profile_steps.split("-"))
        return first, max(first, last)


ONE_PROCESS = TrainingSite()
"""Training in this process alone, at its defaults."""
