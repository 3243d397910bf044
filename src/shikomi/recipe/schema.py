"""The whole recipe: its pages, and what makes no sense between them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from shikomi.errors import RecipeError
from shikomi.recipe.corpus import CorpusPage
from shikomi.recipe.dial import resolve
from shikomi.recipe.evaluate import EvaluatePage
from shikomi.recipe.mixture import mixture_conflicts
from shikomi.recipe.model import ModelPage
from shikomi.recipe.page import Page
from shikomi.recipe.release import ReleasePage
from shikomi.recipe.sample import SamplePage
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.recipe.train import AnnealPage, TrainPage
from shikomi.recipe.tune import DialoguesPage, DpoPage, SftPage

PATHS = (
    ("corpus", "warc"), ("corpus", "licence_table"), ("corpus", "documents", "path"), ("corpus", "opt_out", "lists"),
    ("corpus", "urls", "lists"), ("corpus", "words", "lists"), ("corpus", "domain", "positives"),
    ("corpus", "domain", "negatives"), ("corpus", "copies", "earlier"), ("corpus", "decontaminate", "sets", "path"),
    ("model", "base"), ("dialogues", "sources", "path"), ("pretrain", "mixture", "tokens"),
    ("anneal", "mixture", "tokens"),
)  # fmt: skip
"""Keys whose values are paths or globs of outside files."""
OWN_PAGES = ("warc", "common_crawl", "documents")
"""Fields of the corpus page that bring pages of one's own, instead of the sample's."""
MAX_NAME_BYTES = 240
"""File systems take names of 255 bytes; an ending such as ``.json.partial`` is added to a recipe's name."""


class Recipe(Page):
    """What is built, from crawl to release. Each table below is one page; a stage reads its own page only."""

    name: str = Field(min_length=1, max_length=80)
    """Names the report; any language, no slash."""
    use: Literal["research", "commercial"] = "research"
    """What the result is for. A source whose licence forbids it stops the build before it begins."""
    redistribute: bool = False
    """Whether the weights are handed on to others. A source whose licence forbids it stops the build."""
    sample: SamplePage | None = None
    """The synthetic web; used where the corpus has no pages of one's own, or where dialogues have no source."""
    corpus: CorpusPage = CorpusPage()
    tokenizer: TokenizerPage = TokenizerPage()
    model: ModelPage = ModelPage()
    pretrain: TrainPage = TrainPage()
    dialogues: DialoguesPage = DialoguesPage()
    anneal: AnnealPage = AnnealPage()
    sft: SftPage = SftPage()
    dpo: DpoPage = DpoPage()
    evaluate: EvaluatePage = EvaluatePage()
    release: ReleasePage = ReleasePage()

    @model_validator(mode="before")
    @classmethod
    def _sample_by_default(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("sample") is None:
            corpus = given.get("corpus") or {}
            told = corpus.get if isinstance(corpus, dict) else lambda name: getattr(corpus, name, None)
            return {**given, "sample": None if any(map(told, OWN_PAGES)) else SamplePage()}
        return given

    @property
    def synthetic(self) -> bool:
        """Whether the pages are those of the sample."""
        return not any(getattr(self.corpus, name) for name in OWN_PAGES)


def settled(recipe: Recipe) -> Recipe:
    """The recipe with the model's shape spelled out where a dial gave it: from here on a shape is a shape.

    Raises:
        RecipeError: the dial and the fields given beside it contradict each other.
    """
    shape = resolve(recipe.model, recipe.tokenizer.vocab_size)
    return recipe if shape is recipe.model else recipe.model_copy(update={"model": shape})


def conflicts(recipe: Recipe) -> list[RecipeError]:
    """Everything that is right by itself and impossible together; ``where`` is the key to change."""
    found = [
        *_names(recipe),
        *_sample(recipe),
        *_corpus(recipe),
        *_shapes(recipe),
        *_stretches(recipe),
        *_sources(recipe),
    ]
    return found


def _names(recipe: Recipe) -> list[RecipeError]:
    found = []
    for key, name in (("name", recipe.name), ("release.name", recipe.release.name)):
        bad = "/" in name or "\0" in name or name.strip() in ("", ".", "..")
        if bad or len(name.encode()) > MAX_NAME_BYTES:
            hint = "leave slashes out" if bad else f"at most {MAX_NAME_BYTES} bytes in UTF-8"
            found.append(RecipeError(f'{key} = "{name}" cannot be the name of a file', where=key, hint=hint))
    return found


def _sample(recipe: Recipe) -> list[RecipeError]:
    page = recipe.sample
    if page is not None and page.eval_companies >= page.companies:
        return [
            RecipeError(
                f"sample.eval_companies = {page.eval_companies} leaves none of {page.companies} companies to tune on",
                where="sample.eval_companies",
                hint=f"at most {page.companies - 1}: evaluation companies occur in no dialogue",
            )
        ]
    return []


def _corpus(recipe: Recipe) -> list[RecipeError]:
    page, found = recipe.corpus, []
    if page.warc and page.common_crawl:
        found.append(
            RecipeError(
                "corpus.warc and corpus.common_crawl both say where the pages come from",
                where="corpus.common_crawl",
                hint="keep one; what was fetched before is read with corpus.warc",
            )
        )
    names = [source.name for source in page.documents]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        found.append(
            RecipeError(f'two sources have the name "{twice[0]}"', where="corpus.documents", hint="one name each")
        )
    return found


def _shapes(recipe: Recipe) -> list[RecipeError]:
    page, found = recipe.model, []
    if page.base:
        return found
    if page.heads % page.kv_heads:
        allowed = [str(count) for count in range(1, page.heads + 1) if page.heads % count == 0]
        found.append(
            RecipeError(
                f"model.heads = {page.heads} is not a multiple of model.kv_heads = {page.kv_heads}",
                where="model.kv_heads",
                hint=f"every key-value head serves as many query heads: one of {', '.join(allowed)}",
            )
        )
    if page.sliding_window and page.layout == "llama":
        found.append(
            RecipeError(
                'model.layout = "llama" has no sliding window',
                where="model.sliding_window",
                hint='take model.layout = "mistral" (the same block with a window), or leave the window out',
            )
        )
    if page.head_dim % 2:
        found.append(
            RecipeError(
                f"model.head_dim = {page.head_dim} is odd",
                where="model.head_dim",
                hint="rotary positions turn pairs of numbers: an even one",
            )
        )
    return found


def _stretches(recipe: Recipe) -> list[RecipeError]:
    found = [
        *mixture_conflicts(recipe.pretrain.mixture, "pretrain.mixture"),
        *mixture_conflicts(recipe.anneal.mixture, "anneal.mixture"),
    ]
    for stage, page in (("pretrain", recipe.pretrain), ("anneal", recipe.anneal), ("sft", recipe.sft)):
        length, batch = page.sequence_tokens, page.batch_tokens
        if not recipe.model.base and length > recipe.model.max_tokens:
            found.append(
                RecipeError(
                    f"{stage}.sequence_tokens = {length} is longer than model.max_tokens = {recipe.model.max_tokens}",
                    where=f"{stage}.sequence_tokens",
                    hint=f"at most {recipe.model.max_tokens}, or a larger model.max_tokens",
                )
            )
        if batch % length:
            near = max(1, round(batch / length)) * length
            found.append(
                RecipeError(
                    f"{stage}.batch_tokens = {batch} is not a multiple of {stage}.sequence_tokens = {length}",
                    where=f"{stage}.batch_tokens",
                    hint=f"the nearest multiple is {near}",
                )
            )
    if recipe.pretrain.lora is not None and not recipe.model.base:
        found.append(
            RecipeError(
                "pretrain.lora trains adapters of a model that has not been trained",
                where="pretrain.lora",
                hint="leave the table out, or name an open base in model.base",
            )
        )
    if recipe.pretrain.tokens == 0 and not recipe.model.base:
        found.append(
            RecipeError(
                "pretrain.tokens = 0 trains nothing, and there is no base to start from",
                where="pretrain.tokens",
                hint='give a number of tokens, for example "1M", or name an open base in model.base',
            )
        )
    return found


def _sources(recipe: Recipe) -> list[RecipeError]:
    if recipe.corpus.warc and recipe.sample is None and not recipe.dialogues.sources:
        return [
            RecipeError(
                "pages of your own need dialogues of your own, and dialogues.sources is empty",
                where="dialogues.sources",
                hint="add a [[dialogues.sources]] table with path, form and licence, "
                "or a [sample] table for dialogues about the synthetic web",
            )
        ]
    return []
