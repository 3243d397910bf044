"""From the pages of a recipe to the rows of each stage: what is trained on, and what ``shikomi look batch`` shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from shikomi.data.dialogue import Message, read_dialogues
from shikomi.data.tokens import TokenShards
from shikomi.errors import DataError
from shikomi.recipe.mixture import phases, skipped
from shikomi.recipe.train import AnnealPage, TrainPage
from shikomi.train.batches import CrawlRows, DialogueRows, MixedRows, RowBatches, Sources
from shikomi.train.mixture import Line, Mixture, check_epochs
from shikomi.train.order import Skips

Folders = Mapping[str, Sequence[Path]]
"""Outside token folders by the name of the mixture's source that reads them."""


class Codec(Protocol):
    """What training needs of a tokenizer (``shikomi.tokenizer.codec.Codec`` is one)."""

    vocab_size: int
    eos_id: int
    pad_id: int

    def dialogue(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Ids of a dialogue, and a mask that is 1 on what SFT trains on."""
        ...


def num_steps(page: Any) -> int:
    """Optimiser steps of a page with ``tokens`` and ``batch_tokens``."""
    return math.ceil(page.tokens / page.batch_tokens)


def row_batches(rows: Sources, page: Any) -> RowBatches:
    """The steps of a page over rows: ``batch_tokens`` each, what it skips left out."""
    per_step = page.batch_tokens // page.sequence_tokens
    return RowBatches(rows, per_step, page.micro_batch_sequences, _skips(page))


def pretrain_rows(page: TrainPage, tokens: Path, codec: Codec, vocab_rows: int, folders: Folders) -> Sources:
    """Rows of crawl text, or of the page's mixture.

    Args:
        page: of the stage.
        tokens: the corpus's token shards.
        codec: the tokenizer they were made with.
        vocab_rows: rows of the model's embedding.
        folders: of the mixture's outside sources.

    Raises:
        DataError: see ``training_tokens``; too few tokens for one window.
        RecipeError: a source would be read more often than it may.
    """
    return _text_rows(page, tokens, codec, vocab_rows, folders, _rows_read(page), "pretrain.mixture")


def anneal_rows(
    page: AnnealPage, tokens: Path, dialogues: Path, codec: Codec, vocab_rows: int, folders: Folders
) -> tuple[Sources, DialogueRows]:
    """Crawl text (or the page's mixture) with dialogues at their share; and the dialogues by themselves.

    Raises:
        DataError, RecipeError: see ``pretrain_rows``; no dialogue fits into a row.
    """
    talk = dialogue_rows(dialogues, codec, page, answers_only=False)
    rows = _rows_read(page)
    text_rows = rows - int(rows * page.dialogue_share)
    text = _text_rows(page, tokens, codec, vocab_rows, folders, text_rows, "anneal.mixture")
    return MixedRows(text, talk, page.dialogue_share), talk


def sft_rows(page: Any, tokens: Path, dialogues: Path, codec: Codec, vocab_rows: int) -> tuple[Sources, DialogueRows]:
    """Dialogues whose answers alone are learned from, with replayed crawl text; and the dialogues by themselves.

    Raises:
        DataError: see ``training_tokens``; no dialogue fits into a row.
    """
    talk = dialogue_rows(dialogues, codec, page, answers_only=True)
    if not page.replay_share:
        return talk, talk
    shards = training_tokens(tokens, codec, vocab_rows)
    return MixedRows(talk, CrawlRows(shards, page.sequence_tokens, codec.eos_id, page.seed), page.replay_share), talk


def dialogue_rows(folder: Path, codec: Codec, page: Any, *, answers_only: bool) -> DialogueRows:
    """Encode ``dialogues.jsonl`` of a folder into rows packed as a page with sequence_tokens and seed asks."""
    encoded = [codec.dialogue(dialogue.messages) for dialogue in read_dialogues(folder / "dialogues.jsonl")]
    return DialogueRows(encoded, page.sequence_tokens, codec.pad_id, page.seed, answers_only=answers_only)


def training_tokens(folder: Path, codec: Codec, vocab_rows: int) -> TokenShards:
    """The training split of a folder of token shards.

    Raises:
        DataError: its ids are those of another vocabulary than the tokenizer's, or the model has no rows for them.
    """
    shards = TokenShards(folder, "train")
    if shards.vocab_size != codec.vocab_size:
        raise DataError(
            f"tokens of a vocabulary of {shards.vocab_size}, the tokenizer has {codec.vocab_size}",
            where=str(folder / "index.json"),
            hint="encode the corpus anew with this tokenizer",
        )
    if shards.vocab_size > vocab_rows:
        raise DataError(
            f"tokens of a vocabulary of {shards.vocab_size}, the model has rows for {vocab_rows}",
            where=str(folder / "index.json"),
            hint="encode the corpus with the model's own tokenizer",
        )
    return shards


def _text_rows(
    page: TrainPage, tokens: Path, codec: Codec, vocab_rows: int, folders: Folders, rows: int, where: str
) -> Sources:
    corpus = training_tokens(tokens, codec, vocab_rows)
    if not page.mixture:
        return CrawlRows(corpus, page.sequence_tokens, codec.eos_id, page.seed)
    sources: dict[str, Sources] = {}
    for number, source in enumerate(page.mixture):
        found = _outside(folders[source.name], corpus, codec, vocab_rows) if source.outside else corpus
        seed = page.seed + number  # two folders of one size are not read in step
        sources[source.name] = CrawlRows(found, page.sequence_tokens, codec.eos_id, seed, source.name)
    mixture = Mixture(sources, phases(page.mixture, rows))
    caps = {source.name: source.max_epochs for source in page.mixture}
    check_epochs(mixture, caps, rows, num_steps(page), page.batch_tokens, where)
    return mixture


def _outside(folders: Sequence[Path], corpus: TokenShards, codec: Codec, vocab_rows: int) -> Line:
    parts = []
    for folder in folders:
        shards = training_tokens(folder, codec, vocab_rows)
        if shards.tokenizer != corpus.tokenizer:
            raise DataError(
                "tokens made with another tokenizer than this recipe's",
                where=str(folder / "index.json"),
                hint="encode these texts with this recipe's tokenizer: its ids mean other words",
            )
        parts.append(shards.tokens)
    return Line(parts)


def _skips(page: Any) -> Skips:
    return Skips(skipped(page.skip, page.batch_tokens // page.sequence_tokens))


def _rows_read(page: Any) -> int:
    """Rows of the order that a run goes through, those it passes over included."""
    rows = num_steps(page) * (page.batch_tokens // page.sequence_tokens)
    return _skips(page).place(rows - 1) + 1 if rows else 0
