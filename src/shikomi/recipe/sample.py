"""The sample page: the synthetic business web that a build without data of its own learns from."""

from __future__ import annotations

from pydantic import Field

from shikomi.recipe.page import Page


class SamplePage(Page):
    """Size and seed of the generated crawl (everything in it is fictional)."""

    seed: int = 7
    """Any whole number: other companies and facts, the same kinds and difficulty."""
    companies: int = Field(default=132, ge=8, le=2000)
    """Fictional companies, evaluation companies included."""
    eval_companies: int = Field(default=64, ge=2)
    """Companies that pages tell of and no dialogue or preference mentions: what a model knows of them it read."""
    articles_per_company: int = Field(default=24, ge=2)
    """Articles written a company, in several genres and wordings; an article may tell of several companies."""
