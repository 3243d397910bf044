"""Why a stage is to be built: the first field that differs from the nearest earlier build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shikomi.flow.explain import differences, why
from shikomi.flow.runner import Build
from shikomi.flow.step import Source, Step
from shikomi.flow.store import Store
from tests.flow.toy import numbers, total, toy_build


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A store in which the toy build is finished."""
    toy_build(tmp_path).run()
    return tmp_path


def told(store: Path, stage: str, **given: Any) -> str:
    build = toy_build(store, **given)
    return why(build, build.step(stage))


def test_cached(built: Path):
    assert told(built, "numbers") == told(built, "sum") == "cached"


def test_never_built(tmp_path: Path):
    assert told(tmp_path, "numbers") == "never built in this store"


def test_cut_off(tmp_path: Path):
    build = toy_build(tmp_path)
    folder = build.store.begin("numbers", build.id(build.steps[0]))
    assert told(tmp_path, "numbers") == "never built in this store"
    (folder / "a").write_text("x")
    assert told(tmp_path, "numbers") == "never built in this store (cut off; the next build goes on with it)"


def test_damaged(built: Path):
    build = toy_build(built)
    (build.folder(build.steps[1]) / "合計.txt").unlink()
    assert told(built, "sum") == "damaged: 合計.txt is missing"


def test_a_changed_field_is_named_with_both_values(built: Path):
    identity = toy_build(built).id(toy_build(built).steps[0])
    found = told(built, "numbers", page={"shards": 12, "factor": 4})
    assert found.startswith(f"page.factor: 3 → 4 (nearest earlier build: {identity}, ")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"version": 2}, "version: 1 → 2 "),
        ({"page": {"shards": 12, "factor": 3.0}}, "page.factor: 3 → 3.0 "),
        ({"page": {"shards": 12, "factor": 3, "more": "x"}}, "page.more: not set → 'x' "),
        ({"page": {"shards": 12, "factor": 3, "more": "x" * 99}}, "xxx... (nearest"),
    ],
)
def test_other_changes(built: Path, given: dict, words: str):
    assert words in told(built, "numbers", **given)


def test_a_field_that_is_gone(built: Path):
    step = Step("numbers", 1, {"shards": 12}, {}, lambda *given: {})
    assert why(Build([step], Store(built)), step).startswith("page.factor: 3 → not set ")


def test_the_nearest_of_several_builds_is_compared_with(built: Path):
    toy_build(built, page={"shards": 2, "factor": 5}).run()
    assert told(built, "numbers", page={"shards": 2, "factor": 6}).startswith("page.factor: 5 → 6 ")
    assert told(built, "numbers", page={"shards": 12, "factor": 6}).startswith("page.factor: 3 → 6 ")


def test_a_change_upstream_is_followed_to_its_field(built: Path):
    found = told(built, "sum", page={"shards": 12, "factor": 4})
    assert found.startswith("input numbers ← numbers: page.factor: 3 → 4 ")


def test_a_change_upstream_whose_earlier_result_is_gone(built: Path):
    build = toy_build(built)
    build.store.discard("numbers", build.id(build.steps[0]))
    found = told(built, "sum", page={"shards": 12, "factor": 4})
    assert found == "input numbers: the result of stage numbers is another one"


def test_inputs_that_came_went_or_changed(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("1")

    def build(*names: str) -> Build:
        first = numbers()
        more = {name: Source(name, [path]) for name in names}
        return Build([first, total({"numbers": first, **more})], Store(tmp_path / "store"))

    build("a").run()
    assert why(build("a", "b"), build("a", "b").steps[1]) == "input b: new"
    assert why(build(), build().steps[1]) == "input a: no longer read"
    path.write_text("2")
    assert why(build("a"), build("a").steps[1]) == "input a: the contents of its files changed"


def test_a_source_in_place_of_a_step(built: Path):
    path = built / "a.txt"
    path.write_text("1")
    step = total({"numbers": Source("given", [path])})
    assert why(Build([step], Store(built)), step) == "input numbers: the contents of its files changed"


def test_nothing_differs_between_equal_descriptions(built: Path):
    build = toy_build(built)
    described = build.described(build.steps[1])
    assert differences(described, described) == []
