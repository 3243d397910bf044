"""What a build will take: sizes, FLOPs, ranges, and what is finished already."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shikomi.plan import rates
from shikomi.plan.estimate import EVIDENCE_BASIS, Estimate, Planned, estimate, total
from shikomi.plan.rates import Evidence, Rates, Seen
from shikomi.plan.shape import of_page
from shikomi.plan.sizes import MOST_CHARACTERS_PER_TOKEN, expect
from shikomi.recipe.load import load
from shikomi.recipe.schema import Recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
STAGES = (
    "crawl", "dialogues", "pages", "corpus", "tokenizer", "tokens", "pretrain", "release_base",
    "anneal", "sft", "dpo", "evaluate", "release",
)  # fmt: skip
FACTS: dict[str, dict[str, Any]] = {
    "crawl": {"pages": 5000},
    "corpus": {"read": 4000, "characters_kept": 1_000_000},
    "tokens": {"train": {"tokens": 300_000}, "heldout": {"tokens": 20_000}},
    "dialogues": {"dialogues": 700, "preferences": 80, "questions": 900},
}

GUESS, NOTHING_SEEN = Rates(), Evidence()
KNOWN = ("pages_known", "characters_known", "tokens_known", "dialogues_known")


def lay_out(
    name: str,
    *overrides: str,
    warc_bytes: int = 0,
    facts: Mapping[str, Mapping[str, Any]] = {},
    rates: Rates = GUESS,
    evidence: Evidence = NOTHING_SEEN,
    workers: int = 1,
) -> Planned:
    recipe = load(RECIPES / name, overrides)
    shape = of_page(recipe.model, recipe.tokenizer.vocab_size)
    sizes = expect(recipe, shape.vocab_size, warc_bytes, facts)
    return Planned(recipe, shape, sizes, rates, evidence, workers)


def stages_of(recipe: Recipe) -> tuple[str, ...]:
    return STAGES if recipe.synthetic else STAGES[1:]


def by_stage(planned: Planned, finished: Mapping[str, Mapping[str, Any]] = {}) -> dict[str, Estimate]:
    return {one.stage: one for one in estimate(planned, stages_of(planned.recipe), finished)}


@pytest.mark.parametrize(("name", "warc_bytes"), [("quickstart.toml", 0), ("real-pages.toml", 31_500_000)])
def test_a_shipped_recipe_has_a_range_for_every_stage_and_their_sum(name: str, warc_bytes: int):
    planned = lay_out(name, warc_bytes=warc_bytes)
    found = estimate(planned, stages_of(planned.recipe), {})
    assert [one.stage for one in found] == list(stages_of(planned.recipe))
    for one in found:
        assert 0 < one.low < one.seconds < one.high, one
        assert one.input
        assert not one.cached
        assert one.basis == rates.GUESSED_BASIS
    seconds, low, high = total(found)
    assert seconds == pytest.approx(sum(one.seconds for one in found))
    assert low == pytest.approx(sum(one.low for one in found))
    assert high == pytest.approx(sum(one.high for one in found))
    assert 60 < seconds < 3600


def test_a_model_s_stages_tell_parameters_flops_and_their_formula():
    found = by_stage(lay_out("quickstart.toml"))
    trained = {"pretrain", "anneal", "sft", "dpo", "evaluate"}
    assert {stage for stage, one in found.items() if one.flops} == trained
    assert {stage for stage, one in found.items() if one.formula} == trained
    assert {stage for stage, one in found.items() if one.parameters} == {*trained, "release", "release_base"}
    assert len({one.parameters for one in found.values() if one.parameters}) == 1
    assert {stage for stage, one in found.items() if one.tokens} == {*trained, "tokens"}


def test_a_stretch_of_training_takes_whole_batches():
    planned = lay_out("quickstart.toml", "pretrain.tokens=10_000", "pretrain.batch_tokens=2048")
    one = by_stage(planned)["pretrain"]
    assert one.tokens == 5 * 2048
    flops = planned.shape.training_flops(planned.recipe.pretrain.sequence_tokens) * 5 * 2048
    assert one.flops == flops
    work = flops + 5 * planned.shape.muon_flops
    assert one.seconds == pytest.approx(work / planned.rates.train_flops(192) + planned.rates.start)
    without = by_stage(lay_out("quickstart.toml", "pretrain.tokens=10_000", "pretrain.optim.kind=adamw"))["pretrain"]
    assert without.seconds == pytest.approx(flops / planned.rates.train_flops(192) + planned.rates.start)
    counts = planned.shape
    assert f"6·{counts.layers}·{counts.heads}·{counts.head_dim}·128" in one.formula


def test_the_formula_of_preferences_counts_the_reference_forward_only():
    planned = lay_out("quickstart.toml", facts=FACTS)
    one, length = by_stage(planned)["dpo"], planned.sizes.side_tokens
    tokens = 2 * planned.recipe.dpo.pairs * length
    assert one.tokens == tokens
    trained = planned.shape.training_flops(length) * tokens
    assert one.flops == pytest.approx(trained + planned.shape.forward_flops(length) * 2 * 80 * length)


def test_more_work_takes_longer():
    small, large = (
        by_stage(lay_out("quickstart.toml")),
        by_stage(lay_out("quickstart.toml", "sample.companies=264", "sample.eval_companies=128", "model.layers=8")),
    )
    assert all(large[stage].seconds >= small[stage].seconds for stage in STAGES)
    for stage in ("crawl", "pages", "corpus", "tokenizer", "tokens", "pretrain", "anneal", "sft", "dpo", "evaluate"):
        assert large[stage].seconds > small[stage].seconds, stage


def test_a_finished_stage_takes_nothing_and_tells_what_it_took():
    planned = lay_out("quickstart.toml")
    found = by_stage(planned, {"crawl": {"seconds": 3.4}, "corpus": {}})
    assert found["crawl"].cached
    assert (found["crawl"].low, found["crawl"].seconds, found["crawl"].high) == (0, 0, 0)
    assert found["crawl"].basis == "took 3 s"
    assert found["corpus"].basis == "took 0 s"
    assert not found["tokenizer"].cached
    assert total(list(found.values()))[0] == pytest.approx(
        total(list(by_stage(planned).values()))[0] - by_stage(planned)["crawl"].seconds
        - by_stage(planned)["corpus"].seconds
    )  # fmt: skip


def test_a_build_that_is_finished_takes_no_time():
    found = estimate(lay_out("quickstart.toml"), STAGES, {stage: {"seconds": 1} for stage in STAGES})
    assert total(found) == (0, 0, 0)


def test_what_was_seen_here_counts_more_than_a_measurement():
    planned = lay_out("quickstart.toml", facts=FACTS, evidence=Evidence({"corpus": [Seen(4000, 12)]}))
    found = by_stage(planned)
    assert found["corpus"].basis == EVIDENCE_BASIS
    assert found["corpus"].seconds == pytest.approx(12)
    assert found["corpus"].low == pytest.approx(12 * rates.LOW_OF_EVIDENCE)
    assert found["corpus"].high == pytest.approx(12 * rates.HIGH_OF_EVIDENCE)
    assert found["crawl"].basis == rates.GUESSED_BASIS


def test_measured_speeds_decide_the_time():
    slow = lay_out("quickstart.toml", rates=Rates(corpus=100, basis=rates.MEASURED_BASIS))
    fast = replace(slow, rates=replace(slow.rates, corpus=200, start=slow.rates.start))
    start = slow.rates.start / 2
    assert by_stage(slow)["corpus"].basis == rates.MEASURED_BASIS
    assert by_stage(slow)["corpus"].seconds - start == pytest.approx(2 * (by_stage(fast)["corpus"].seconds - start))


def test_workers_share_the_pages_and_the_corpus_only():
    one, three = (by_stage(lay_out("quickstart.toml", workers=workers)) for workers in (1, 3))
    assert three["corpus"].seconds < one["corpus"].seconds
    assert {stage for stage in STAGES if three[stage] != one[stage]} == {"pages", "corpus"}


def test_a_stage_of_no_known_kind_takes_a_moment():
    (found,) = estimate(lay_out("quickstart.toml"), ["something new"], {})
    assert found.input == ""
    assert 0 < found.low < found.high


def test_a_base_brings_its_tokenizer():
    planned = lay_out("quickstart.toml")
    recipe = planned.recipe.model_copy(update={"model": planned.recipe.model.model_copy(update={"base": "some/base"})})
    assert by_stage(replace(planned, recipe=recipe))["tokenizer"].input == "the base's tokenizer"


def test_sizes_that_are_expected_are_told_as_such_and_counted_ones_as_counted():
    guessed, counted = lay_out("quickstart.toml").sizes, lay_out("quickstart.toml", facts=FACTS).sizes
    assert not any(getattr(guessed, name) for name in KNOWN)
    assert all(getattr(counted, name) for name in KNOWN)
    assert (counted.pages, counted.characters, counted.tokens) == (4000, 1_000_000, 320_000)
    assert (counted.dialogues, counted.pairs, counted.questions) == (700, 80, 900)
    words = by_stage(lay_out("quickstart.toml"))["corpus"].input, by_stage(lay_out("quickstart.toml", facts=FACTS))
    assert words[0].startswith("~")
    assert words[1]["corpus"].input == "4k pages"
    assert words[1]["sft"].input == "700 dialogues"


def test_pages_of_the_sample_once_it_is_written():
    found = lay_out("quickstart.toml", facts={"crawl": {"pages": 5000}}).sizes
    assert (found.pages, found.pages_known) == (5000, True)
    assert found.characters == pytest.approx(5000 * lay_out("quickstart.toml").sizes.characters
                                             / lay_out("quickstart.toml").sizes.pages)  # fmt: skip


def test_the_quickstart_s_sizes_are_near_those_that_were_counted():
    found = lay_out("quickstart.toml").sizes
    assert found.pages == pytest.approx(3828, rel=0.1)
    assert found.tokens == pytest.approx(580_000, rel=0.2)


def test_real_pages_are_counted_by_the_bytes_of_their_files():
    small, large = (lay_out("real-pages.toml", warc_bytes=size).sizes for size in (10**7, 2 * 10**7))
    assert large.pages == pytest.approx(2 * small.pages)
    assert large.tokens == pytest.approx(2 * small.tokens)
    assert small.pairs == lay_out("real-pages.toml").recipe.dpo.pairs
    assert small.dialogues == 0


def test_a_larger_vocabulary_makes_fewer_tokens_up_to_a_bound():
    recipe = load(RECIPES / "quickstart.toml")
    tokens = [expect(recipe, size, 0, {}).tokens for size in (512, 1024, 4096, 16_384, 2**20)]
    assert tokens[0] == tokens[1] > tokens[2] > tokens[3]
    characters = expect(recipe, 4096, 0, {}).characters
    assert math.isclose(tokens[4], characters / MOST_CHARACTERS_PER_TOKEN)


def test_questions_are_no_more_than_the_recipe_asks():
    assert lay_out("quickstart.toml", "evaluate.questions=10").sizes.questions == 60
    assert (
        lay_out("quickstart.toml", "evaluate.questions=10", facts={"dialogues": {"questions": 7}}).sizes.questions == 7
    )


def test_fetching_tells_its_bytes_and_takes_as_long_as_its_pace_allows():
    told = ('corpus.common_crawl={snapshot="CC-MAIN-2023-50", parts="0:10"}', "corpus.licence=unknown")
    planned = lay_out("quickstart.toml", *told)
    slow = lay_out("quickstart.toml", *told, 'corpus.common_crawl.bytes_per_second="1MB"')
    page = planned.recipe.corpus.common_crawl
    assert page is not None
    fetch, pages = estimate(planned, ["fetch", "pages"], {})
    assert "over the network" in fetch.input
    assert planned.sizes.pages == page.volume().pages > 100_000
    assert pages.seconds > 100
    (slower,) = estimate(slow, ["fetch"], {})
    assert slower.seconds >= page.volume().bytes / 1e6 > fetch.seconds


def test_scorers_are_told_by_their_number():
    shown = 'corpus.domain=[{name="business", positive_hosts=["a.test"]}, {name="law", positive_hosts=["b.test"]}]'
    (two,) = estimate(lay_out("quickstart.toml", shown), ["domain"], {})
    assert two.input == "2 scorers"
    assert two.seconds > 40
