"""Identity: equal values have equal bytes, different ones different bytes, and what has no stable bytes is refused."""

from __future__ import annotations

import json
import math
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.flow.identity import ID_CHARACTERS, canonical, digest, step_id
from shikomi.flow.runner import Build
from shikomi.flow.step import Source, Step, sources
from shikomi.flow.store import Store
from tests.flow.toy import numbers, total

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip


def exact(value: Any) -> Any:
    """A value that is equal only to values of the same type throughout (0.0 and -0.0 are two values)."""
    if isinstance(value, list):
        return ("list", *(exact(item) for item in value))
    if isinstance(value, dict):
        return ("dict", *sorted((key, exact(item)) for key, item in value.items()))
    return (type(value).__name__, repr(value))


@settings(max_examples=100, deadline=None)
@given(values, values)
def test_bytes_are_equal_exactly_where_values_are(one: Any, other: Any):
    assert (canonical(one) == canonical(other)) == (exact(one) == exact(other))


@settings(max_examples=60, deadline=None)
@given(values)
def test_bytes_read_back_as_the_value(value: Any):
    assert exact(json.loads(canonical(value))) == exact(value)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(texts, values, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_count(value: dict, random: Any):
    items = list(value.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), (0, False), (0.0, -0.0), ("1", 1), (None, "null"), ([], {}), ([1, [2]], [[1], 2]), ("", [])],
)
def test_values_that_python_takes_for_equal_or_alike_differ(one: Any, other: Any):
    assert digest(one) != digest(other)


def test_a_tuple_is_a_list_and_japanese_is_ascii():
    assert canonical((1, "仕込み")) == canonical([1, "仕込み"]) == b'[1,"\\u4ed5\\u8fbc\\u307f"]'


class Kind(IntEnum):
    ONE = 1


class Words(str):
    pass


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": {1, 2}}, "page.a"),
        ({"a": [0, Path("x")]}, "page.a[1]"),
        ({"a": {"b": b"x"}}, "page.a.b"),
        ({"a": {1: 2}}, "page.a"),
        (Kind.ONE, "page"),
        (Words("x"), "page"),
        (object, "page"),
    ],
)
def test_what_has_no_stable_bytes_is_refused_with_its_place(value: Any, place: str):
    with pytest.raises(TypeError, match=f" at {place.replace('[', '.').replace(']', '.')} "):
        canonical(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800", {"\udfff": 1}])
def test_numbers_and_texts_without_a_form_are_refused(value: Any):
    with pytest.raises(ValueError, match="at page"):
        canonical({"x": value})


GOLDEN = "aa47e7c522b96584"


def test_the_id_of_a_toy_step_is_pinned():
    """The canonical form and the hash may never change: every store would be built anew."""
    found = step_id("数", 2, {"a": [1, 1.5, None, True], "b": "仕込み"}, {"x": "0123456789abcdef"})
    assert found == GOLDEN
    assert len(found) == ID_CHARACTERS


def test_whatever_decides_a_result_changes_its_id():
    base: dict[str, Any] = {"name": "a", "version": 1, "page": {"x": 1}, "inputs": {"i": "1", "j": "2"}}
    changes: list[dict[str, Any]] = [
        {"name": "b"},
        {"version": 2},
        {"page": {"x": 2}},
        {"page": {"x": 1, "y": None}},
        {"inputs": {"i": "2", "j": "1"}},
        {"inputs": {"i": "1"}},
        {"inputs": {"i": "1", "k": "2"}},
    ]
    ids = {step_id(**(base | change)) for change in [{}, *changes]}
    assert len(ids) == len(changes) + 1
    assert step_id(**(base | {"inputs": {"j": "2", "i": "1"}})) == step_id(**base)


def test_a_change_reaches_the_steps_that_stand_on_it(tmp_path: Path):
    def ids(**given: Any) -> tuple[str, str]:
        first = numbers(**given)
        second = total({"numbers": first})
        build = Build([first, second], Store(tmp_path))
        return build.id(first), build.id(second)

    assert ids() == ids()
    for change in ({"version": 2}, {"page": {"shards": 3, "factor": 4}}, {"inputs": {"more": Source("s", [])}}):
        assert all(one != other for one, other in zip(ids(), ids(**change), strict=True))


def test_a_source_is_its_contents_in_order(tmp_path: Path):
    one, other, copy = tmp_path / "一 つ.txt", tmp_path / "b.txt", tmp_path / "deep" / "c.txt"
    copy.parent.mkdir()
    one.write_text("1")
    copy.write_text("1")
    other.write_text("2")

    def found(*paths: Path, name: str = "pages") -> str:
        return Build([], Store(tmp_path / "store")).id(Source(name, list(paths)))

    assert found(one, other) == found(copy, other, name="others")
    assert found(one, other) != found(other, one)
    assert found(one) != found(one, copy)
    before = found(one)
    one.write_text("3")
    assert found(one) != before


def test_sources_are_told_once():
    source, other = Source("a", []), Source("b", [])
    first = Step("one", 1, None, {"a": source, "b": other}, lambda *given: {})
    second = Step("two", 1, None, {"a": source, "one": first}, lambda *given: {})
    assert list(sources([first, second])) == [source, other]
