"""The page of low-rank adapters: what is trained instead of all weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import Count, Page

Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraPage(Page):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): the model's weights stay, beside each chosen matrix a
    product of two thin ones is trained and added at the end. There is no dropout: it would make runs differ by layout.
    """

    rank: Count = Field(default=16, ge=1)
    """Columns of the thin matrices: how much an adapter can change."""
    alpha: float = Field(default=32.0, gt=0)
    """The adapters' product is scaled by ``alpha / rank``."""
    targets: list[Target] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], min_length=1
    )
    """Matrices that get an adapter; all of a block by default (adapters on attention alone learn less: Biderman et al.
    2024, arXiv 2405.09673)."""
