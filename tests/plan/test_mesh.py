"""Meshes as people write them, and the plainest layout that fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shikomi.errors import UsageError
from shikomi.plan.layout import Degrees, Work, memory
from shikomi.plan.mesh import GPU_BYTES, choose, named
from shikomi.plan.shape import Shape, of_page
from shikomi.recipe.dial import resolve
from shikomi.recipe.model import ModelPage

WORK = Work(rows=1, step_rows=1024, sequence_tokens=4096)


def shape(params: str) -> Shape:
    return of_page(resolve(ModelPage.model_validate({"params": params}), 131_072), 131_072)


def test_nodes_and_gpus_become_the_plainest_layout_that_fits():
    small = choose("4x8", shape("1.3B"), WORK, GPU_BYTES)
    assert (small.degrees, small.work.recompute, small.fits) == (Degrees(shard=32), False, True)
    big = choose("64x8", shape("100B"), WORK, GPU_BYTES)
    assert big.degrees.ranks == 512
    assert big.fits
    assert memory(shape("100B"), big.work, big.degrees).peak <= GPU_BYTES
    tight = choose("64x8", shape("100B"), WORK, 30_000_000_000)
    assert tight.degrees.tensor > 1
    assert tight.fits
    none = choose("1x8", shape("100B"), WORK, GPU_BYTES)
    assert not none.fits


def test_a_step_with_few_rows_shares_sequences_and_products():
    few = choose("16x8", shape("13B"), replace(WORK, step_rows=32), GPU_BYTES)
    assert few.degrees.ranks == 128
    assert few.degrees.data <= 32
    with pytest.raises(UsageError, match="a step of 2 rows cannot be split over 8192 ranks"):
        choose("1024x8", shape("13B"), replace(WORK, step_rows=2), GPU_BYTES)


def test_degrees_by_name():
    assert named("shard=64, tensor=8") == Degrees(shard=64, tensor=8)
    choice = choose("replicate=2,shard=8,pipeline=4", shape("13B"), WORK, GPU_BYTES)
    assert choice.degrees == Degrees(replicate=2, shard=8, pipeline=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("64", '"64" is no degree'),
        ("shards=8", '"shards=8" is no degree'),
        ("shard=8,shard=4", '"shard=4" is no degree'),
        ("tensor=0", '"tensor=0" is no degree'),
        ("tensor=3", "cannot be shared by 3 ranks"),
        ("shard=4096", "a step of 1024 rows for 4096 ranks"),
        ("pipeline=1000", "layers cannot be shared by 1000 stages"),
        ("context=3", "do not cut into 6 equal pieces"),
    ],
)
def test_meshes_that_make_no_sense(text: str, message: str):
    with pytest.raises(UsageError, match=message) as told:
        choose(text, shape("13B"), WORK, GPU_BYTES)
    assert told.value.where.startswith("--mesh")
    assert told.value.hint
