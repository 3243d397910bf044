"""The release page: what the cards say."""

from __future__ import annotations

from pydantic import Field

from shikomi.recipe.page import Page


class ReleasePage(Page):
    """Names and words of the released folders."""

    name: str = Field(default="shikomi-model", min_length=1)
    """Heads the model card."""
    description: str = ""
    """A sentence or two below the name."""
    licence: str = "Apache-2.0"
    """Licence under which the weights are released, by its SPDX name where it has one."""
