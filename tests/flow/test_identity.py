"""Laws of the canonical form: one value, one byte string; what has none is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shikomi.flow.identity import ID_CHARACTERS, canonical, digest, step_id

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def exactly(value: object) -> object:
    """A value with its types beside it: ``1``, ``1.0`` and ``True`` compare equal in Python and are three values."""
    if isinstance(value, dict):
        return ("dict", frozenset((key, exactly(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(map(exactly, value)))
    return (type(value).__name__, repr(value))


@given(VALUES, VALUES)
def test_bytes_are_equal_exactly_when_values_are(one: object, other: object) -> None:
    assert (canonical(one) == canonical(other)) == (exactly(one) == exactly(other))


@given(VALUES)
def test_bytes_survive_a_round_trip_through_json(value: object) -> None:
    assert canonical(json.loads(canonical(value))) == canonical(value)


@given(st.dictionaries(st.text(max_size=5), SCALARS, min_size=2, max_size=6))
def test_order_of_keys_does_not_count(value: dict) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


def test_a_tuple_is_a_list() -> None:
    assert canonical((1, [2, (3,)])) == canonical([1, [2, [3]]])


@pytest.mark.parametrize(
    "value", [{1, 2}, frozenset(), Path("x"), object(), b"bytes", {1: "key"}, {"deep": [{"er": {"set"}}]}, 1j]
)
def test_what_has_no_stable_bytes_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "\ud800", {"\udfff": 1}])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical({"value": value})


def test_the_place_of_the_mistake_is_told() -> None:
    with pytest.raises(TypeError, match=r"page\.optim\.rates\[1\]"):
        canonical({"optim": {"rates": [1.0, {2}]}})


def test_every_part_of_a_step_enters_its_id() -> None:
    parts = ("corpus", 1, {"a": 1}, {"crawl": "f00"})
    others = [("tokens", *parts[1:]), (parts[0], 2, *parts[2:]), (*parts[:2], {"a": 2}, parts[3])]
    others += [(*parts[:3], {"crawl": "f01"}), (*parts[:3], {"pages": "f00"}), (*parts[:3], {})]
    ids = {step_id(*these) for these in (parts, *others)}  # type: ignore[arg-type]
    assert len(ids) == 1 + len(others)
    assert all(len(one) == ID_CHARACTERS and int(one, 16) >= 0 for one in ids)


def test_ids_stay_what_they_were() -> None:
    """A change of the canonical form would rebuild every store there is."""
    assert digest({"b": [1, 1.5, None, True], "a": "日本語"}) == (
        "78e1cf8587a1aa843861858fbcb320604ca06469bc55d73c11b46298b89908ed"
    )
    assert step_id("corpus", 1, {"preset": "swallow-v1"}, {"crawl": "00ff"}) == "25d254d4d52f6988"
