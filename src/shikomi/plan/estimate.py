"""What a build will take, stage by stage: input, tokens, parameters, FLOPs by a stated formula, and time as a range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shikomi.plan.rates import HIGH_OF_EVIDENCE, LOW_OF_EVIDENCE, Evidence, Rates
from shikomi.plan.shape import Shape
from shikomi.plan.sizes import ANSWER_TOKENS, BASE_ANSWER_SHARE, Sizes
from shikomi.recipe.schema import Recipe
from shikomi.units import format_bytes, format_count

EVIDENCE_BASIS = "as stages of this kind went here before"
SMALL_SECONDS = 1.0
"""Taken by a stage that only copies and writes a few files."""
SCORER_SECONDS = 22.0
"""measured: 19 to 24 processor seconds to learn a scorer from its default number of examples (bench/domain.py)."""


@dataclass(frozen=True)
class Estimate:
    """One stage of a plan.

    Attributes:
        stage: its name.
        input: what it reads, in words.
        tokens: it processes; None where tokens are not its matter.
        parameters: of the model it works on; None without one.
        flops: floating-point operations; None where it has no model.
        formula: how ``flops`` comes about.
        seconds: expected, in the middle.
        low, high: the range, in seconds.
        basis: where the speed comes from.
        cached: finished already: takes no time.
    """

    stage: str
    input: str
    seconds: float
    low: float
    high: float
    basis: str
    tokens: float | None = None
    parameters: int | None = None
    flops: float | None = None
    formula: str = ""
    cached: bool = False


@dataclass(frozen=True)
class _Work:
    """What a stage has to do, before its speed is asked: ``amount`` in the unit its evidence is counted in."""

    input: str
    amount: float
    seconds: float
    fixed: float = 0.0
    tokens: float | None = None
    flops: float | None = None
    formula: str = ""
    has_model: bool = False


@dataclass(frozen=True)
class Planned:
    """Everything an estimate stands on."""

    recipe: Recipe
    shape: Shape
    sizes: Sizes
    rates: Rates
    evidence: Evidence
    workers: int = 1


def estimate(plan: Planned, stages: Sequence[str], finished: Mapping[str, Mapping[str, Any]]) -> list[Estimate]:
    """The estimate of each stage, in the order given.

    Args:
        plan: recipe, shape, sizes and speeds.
        stages: names of the build's stages.
        finished: manifests of those that are in the store.
    """
    return [_one(plan, stage, finished.get(stage)) for stage in stages]


def total(estimates: Sequence[Estimate]) -> tuple[float, float, float]:
    """Expected, low and high seconds of all together; the ranges' ends are added: on one machine stages err alike."""
    return sum(one.seconds for one in estimates), sum(one.low for one in estimates), sum(one.high for one in estimates)


def _one(plan: Planned, stage: str, manifest: Mapping[str, Any] | None) -> Estimate:
    work = _WORK.get(stage, _copying)(plan)
    shown = plan.evidence.seconds(stage, work.amount, plan.shape.parameters)
    if shown is not None:
        seconds, low, high, basis = shown, LOW_OF_EVIDENCE, HIGH_OF_EVIDENCE, EVIDENCE_BASIS
    else:
        seconds, low, high, basis = work.seconds + work.fixed, plan.rates.low, plan.rates.high, plan.rates.basis
    found = Estimate(
        stage=stage,
        input=work.input,
        seconds=seconds,
        low=seconds * low,
        high=seconds * high,
        basis=basis,
        tokens=work.tokens,
        parameters=plan.shape.parameters if work.has_model else None,
        flops=work.flops,
        formula=work.formula,
    )
    if manifest is None:
        return found
    took = f"took {manifest.get('seconds', 0):.0f} s"
    return replace(found, seconds=0.0, low=0.0, high=0.0, basis=took, cached=True)


def _crawl(plan: Planned) -> _Work:
    pages = plan.sizes.written
    assert plan.recipe.sample is not None
    return _Work(f"{plan.recipe.sample.companies} companies", pages, pages / plan.rates.crawl, SMALL_SECONDS)


def _fetch(plan: Planned) -> _Work:
    page = plan.recipe.corpus.common_crawl
    assert page is not None
    volume = page.volume()
    words = f"{format_bytes(volume.bytes)} over the network, {format_bytes(volume.disk_bytes)} on disk"
    return _Work(words, volume.bytes, max(volume.seconds, volume.cpu_seconds), SMALL_SECONDS)


def _domain(plan: Planned) -> _Work:
    count = len(plan.recipe.corpus.domain)
    return _Work(f"{count} scorer{'s' * (count > 1)}", count, count * SCORER_SECONDS, SMALL_SECONDS)


def _pages(plan: Planned) -> _Work:
    pages = plan.sizes.pages
    words = f"{_about(pages, plan.sizes.pages_known)} pages"
    # Workers share inputs, and the last one works alone: half the speed-up counts.
    speed_up = 1 + (plan.workers - 1) / 2
    return _Work(words, pages, pages / plan.rates.pages / speed_up, plan.rates.start / 2)


def _corpus(plan: Planned) -> _Work:
    pages = plan.sizes.pages
    words = f"{_about(pages, plan.sizes.pages_known)} pages"
    # The search for copies is one process.
    speed_up = 1 + (plan.workers - 1) / 2
    return _Work(words, pages, pages / plan.rates.corpus / speed_up, plan.rates.start / 2)


def _tokenizer(plan: Planned) -> _Work:
    if plan.recipe.model.base:
        return _Work("the base's tokenizer", 0, 0, SMALL_SECONDS)
    characters = plan.sizes.characters
    words = f"{_about(characters, plan.sizes.characters_known)} characters"
    return _Work(words, characters, characters / plan.rates.tokenizer, SMALL_SECONDS)


def _tokens(plan: Planned) -> _Work:
    characters = plan.sizes.characters
    words = f"{_about(characters, plan.sizes.characters_known)} characters"
    return _Work(words, characters, characters / plan.rates.encode, SMALL_SECONDS, tokens=plan.sizes.tokens)


def _stretch(plan: Planned, stage: str, input: str) -> _Work:
    page = getattr(plan.recipe, stage)
    length = page.sequence_tokens
    steps = math.ceil(page.tokens / page.batch_tokens)
    tokens = steps * page.batch_tokens
    flops = plan.shape.training_flops(length) * tokens
    formula = (
        f"(6·N + 6·layers·heads·head_dim·T)·D = (6·{format_count(plan.shape.matmul_parameters)} + "
        f"6·{plan.shape.layers}·{plan.shape.heads}·{plan.shape.head_dim}·{length})·{format_count(tokens)}"
    )
    updates = steps * plan.shape.muon_flops if page.optim.kind == "muon" else 0.0
    seconds = (flops + updates) / plan.rates.train_flops(plan.shape.hidden_size)
    return _Work(input, flops, seconds, plan.rates.start, tokens, flops, formula, has_model=True)


def _pretrain(plan: Planned) -> _Work:
    return _stretch(plan, "pretrain", f"{_about(plan.sizes.tokens, plan.sizes.tokens_known)} tokens of pages")


def _anneal(plan: Planned) -> _Work:
    share = plan.recipe.anneal.dialogue_share
    return _stretch(plan, "anneal", f"pages and {share:.0%} dialogues")


def _sft(plan: Planned) -> _Work:
    count = plan.sizes.dialogues
    words = f"{_about(count, plan.sizes.dialogues_known)} dialogues" if count else "dialogues"
    return _stretch(plan, "sft", words)


def _dpo(plan: Planned) -> _Work:
    length, pairs = plan.sizes.side_tokens, plan.recipe.dpo.pairs
    tokens = 2.0 * pairs * length
    # The reference is asked once for every distinct pair, forward only.
    asked = 2.0 * plan.sizes.pairs * length
    flops = plan.shape.training_flops(length) * tokens + plan.shape.forward_flops(length) * asked
    formula = (
        f"(6·N + attention)·D + (2·N + attention)·D_ref, N = {format_count(plan.shape.matmul_parameters)}, "
        f"D = 2·{pairs}·{length:g}, D_ref = 2·{plan.sizes.pairs:.0f}·{length:g}"
    )
    seconds = flops / plan.rates.train_flops(plan.shape.hidden_size)
    words = f"{_about(plan.sizes.pairs, plan.sizes.dialogues_known)} pairs"
    return _Work(words, tokens, seconds, plan.rates.start, tokens, flops, formula, has_model=True)


def _evaluate(plan: Planned) -> _Work:
    questions, models = plan.sizes.questions, 4
    base_tokens = BASE_ANSWER_SHARE * plan.recipe.evaluate.max_answer_tokens
    answered = questions * (base_tokens + (models - 1) * ANSWER_TOKENS)
    read = questions * models * plan.sizes.prompt_tokens + models * plan.recipe.evaluate.bits_tokens
    context = plan.sizes.prompt_tokens + ANSWER_TOKENS
    flops = plan.shape.forward_flops(context) * (answered + read)
    formula = f"(2·N + attention)·D, D = {format_count(read)} read + {format_count(answered)} written"
    seconds = plan.shape.forward_flops(context) * answered / plan.rates.generate
    seconds += plan.shape.forward_flops(context) * read / plan.rates.train_flops(plan.shape.hidden_size)
    words = f"{_about(questions, plan.sizes.dialogues_known)} questions, {models} models"
    return _Work(words, questions, seconds, plan.rates.start, answered + read, flops, formula, has_model=True)


def _dialogues(plan: Planned) -> _Work:
    if plan.recipe.dialogues.sources:
        return _Work(f"{len(plan.recipe.dialogues.sources)} sources", 0, 5 * SMALL_SECONDS, SMALL_SECONDS)
    return _Work("facts of the sample", 0, SMALL_SECONDS, SMALL_SECONDS)


def _release(plan: Planned) -> _Work:
    # Weights are copied and hashed: bound by the disk, at no less than 100 MB/s.
    return _Work("model and manifests", 0, plan.shape.parameters * 4 / 1e8, SMALL_SECONDS, has_model=True)


def _copying(plan: Planned) -> _Work:
    return _Work("", 0, SMALL_SECONDS)


def _about(count: float, known: bool) -> str:
    return format_count(round(count)) if known else f"~{format_count(float(f'{count:.2g}'))}"


_WORK: dict[str, Callable[[Planned], _Work]] = {
    "crawl": _crawl,
    "fetch": _fetch,
    "pages": _pages,
    "domain": _domain,
    "corpus": _corpus,
    "tokenizer": _tokenizer,
    "tokens": _tokens,
    "pretrain": _pretrain,
    "release_base": _release,
    "dialogues": _dialogues,
    "anneal": _anneal,
    "sft": _sft,
    "dpo": _dpo,
    "evaluate": _evaluate,
    "release": _release,
}
