"""How much each stage will have to do: as finished stages found it, else as the recipe lets expect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shikomi.recipe.schema import Recipe

# The sample, measured at seed 7 with 16, 64 and 132 companies (108, 699 and 3,089 articles; 134, 866 and 3,828 pages).
ARTICLES_SHARE = 0.96
"""Articles written for each that companies x articles_per_company asks (an article may tell of several companies)."""
PAGES_PER_ARTICLE = 1.24
"""Pages for each article: copies, spam, thin and foreign pages come on top."""
KEPT_SHARE = 0.815
CHARACTERS_PER_KEPT_PAGE = 607
QUESTIONS_PER_EVAL_COMPANY, OTHER_QUESTIONS = 32, 152
DIALOGUES_PER_TUNED_COMPANY = 87
PAIRS_PER_TUNED_COMPANY = 19
SIDE_TOKENS, SIDE_CHARACTERS = 57, 69
"""Of a prompt with its answer in the sample's pairs, padding of the batch included: so many tokens of the template and
padding, and so many characters of text (105 tokens at a vocabulary of 1,024, 78 at 4,096)."""
# Pages of one's own, measured on 4,974 real pages in 31.5 MB of WARC.
WARC_BYTES_PER_PAGE = 6_300
REAL_KEPT_SHARE = 0.35
REAL_CHARACTERS_PER_KEPT_PAGE = 2_200
REAL_SIDE_TOKENS, REAL_SIDE_CHARACTERS = 60, 350
REAL_QUESTIONS = 400
CHARACTERS_PER_TOKEN = 1.45
"""Of a vocabulary of 1,024, on the sample and on real pages alike."""
SAMPLE_PER_DOUBLING, REAL_PER_DOUBLING, MOST_CHARACTERS_PER_TOKEN = 0.9, 0.2, 4.5
"""More of them for every doubling of the vocabulary: the sample's stock phrases fill it fast (4,096: 3.25)."""
PROMPT_TOKENS, REAL_PROMPT_TOKENS = 25, 350
"""Of an evaluation question: the sample's are one sentence, others bring the passage they ask about."""
ANSWER_TOKENS, BASE_ANSWER_SHARE = 5, 0.27
"""Of a tuned model's answer; and the share of the limit that the base writes, which does not know when to stop."""


@dataclass(frozen=True)
class Sizes:
    """What flows between stages. ``*_known`` says whether a finished stage counted it.

    Attributes:
        written: pages of the sample.
        pages: read by the corpus.
        characters: kept by it.
        tokens: of the kept text, held-out ones included.
        dialogues, pairs, questions: of tuning and evaluation.
        side_tokens: of a prompt with one answer.
        prompt_tokens: of an evaluation question.
        pages_known, characters_known, tokens_known, dialogues_known: counted rather than expected.
    """

    written: float
    pages: float
    characters: float
    tokens: float
    dialogues: float
    pairs: float
    questions: float
    side_tokens: float
    prompt_tokens: float
    pages_known: bool = False
    characters_known: bool = False
    tokens_known: bool = False
    dialogues_known: bool = False


def expect(recipe: Recipe, vocab_size: int, warc_bytes: int, facts: Mapping[str, Mapping[str, Any]]) -> Sizes:
    """Sizes of a recipe.

    Args:
        recipe: the recipe.
        vocab_size: of its tokenizer.
        warc_bytes: of the WARC files it names; 0 for the sample.
        facts: of its finished stages, by name.
    """
    corpus, tokens, dialogues = (facts.get(name, {}) for name in ("corpus", "tokens", "dialogues"))
    read = corpus.get("read") or facts.get("pages", {}).get("read")
    written = float(facts.get("crawl", {}).get("pages") or _sample_pages(recipe))
    fetched = recipe.corpus.common_crawl.volume().pages if recipe.corpus.common_crawl else 0
    pages = float(read or (written if recipe.synthetic else fetched + warc_bytes / WARC_BYTES_PER_PAGE))
    characters = float(corpus.get("characters_kept") or pages * _characters_per_page(recipe))
    counted = [tokens[split]["tokens"] for split in ("train", "heldout") if split in tokens]
    more = SAMPLE_PER_DOUBLING if recipe.synthetic else REAL_PER_DOUBLING
    per_token = CHARACTERS_PER_TOKEN + more * max(0.0, math.log2(vocab_size / 1024))
    expected = characters / min(per_token, MOST_CHARACTERS_PER_TOKEN)
    sample, own = recipe.sample, bool(recipe.dialogues.sources)
    tuned = sample.companies - sample.eval_companies if sample and not own else 0
    asked = (
        QUESTIONS_PER_EVAL_COMPANY * sample.eval_companies + OTHER_QUESTIONS if sample and not own else REAL_QUESTIONS
    )
    questions = float(dialogues.get("questions", asked))
    if recipe.evaluate.questions:
        questions = min(questions, 6.0 * recipe.evaluate.questions)
    return Sizes(
        written=written,
        pages=pages,
        characters=characters,
        tokens=float(sum(counted)) if counted else expected,
        dialogues=float(dialogues.get("dialogues", DIALOGUES_PER_TUNED_COMPANY * tuned)),
        pairs=float(dialogues.get("preferences", PAIRS_PER_TUNED_COMPANY * tuned or recipe.dpo.pairs)),
        questions=questions,
        side_tokens=_side_tokens(own, min(per_token, MOST_CHARACTERS_PER_TOKEN)),
        prompt_tokens=REAL_PROMPT_TOKENS if own else PROMPT_TOKENS,
        pages_known=bool(read) or (recipe.synthetic and "pages" in facts.get("crawl", {})),
        characters_known="characters_kept" in corpus,
        tokens_known=bool(counted),
        dialogues_known="dialogues" in dialogues,
    )


def _side_tokens(own: bool, characters_per_token: float) -> float:
    fixed, characters = (REAL_SIDE_TOKENS, REAL_SIDE_CHARACTERS) if own else (SIDE_TOKENS, SIDE_CHARACTERS)
    return round(fixed + characters / characters_per_token)


def _sample_pages(recipe: Recipe) -> float:
    if recipe.sample is None:
        return 0.0
    return recipe.sample.companies * recipe.sample.articles_per_company * ARTICLES_SHARE * PAGES_PER_ARTICLE


def _characters_per_page(recipe: Recipe) -> float:
    if recipe.synthetic:
        return KEPT_SHARE * CHARACTERS_PER_KEPT_PAGE
    return REAL_KEPT_SHARE * REAL_CHARACTERS_PER_KEPT_PAGE
