"""Where keys stand: the scanner agrees with the standard reader on which keys there are, and knows their lines."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.recipe.lines import Key, key_lines

TRICKY = '''# a comment with = and [brackets]
a = "# no comment" # a comment

b.c = 'single \\'
"日 本" = 1
'quoted.key'."esc\\u0041" = 2
"\\U0001F600" = 3
list = [
  1, # one
  "two ]",
  [3, 4],
  { x = 5, y.z = [6] },
]
text = """
k = "v"
[not.a.table]
\\"""quoted\\""" """
quotes = """""two"""""
raw = \'\'\'
it's \\ = ''here''
\'\'\'
date = 2026-01-01T00:00:00

[table . "with space"]
inner = true
[table.other] # same
inner = {}
[[items]]
name = "first"
[items.sub]
deep = 1
[[items]]
name = "second"
[[items.sub.more]]
last = 1e3'''


def keys(value: Any, path: Key = ()) -> set[Key]:
    """Every key and index of a document."""
    found: set[Key] = {path} if path else set()
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found.union(*(keys(item, (*path, part)) for part, item in inner))


def test_lines_of_a_tricky_text():
    found = key_lines(TRICKY)
    lines = TRICKY.splitlines()
    assert found["a",] == 2
    assert found["日 本",] == 5
    assert found["quoted.key", "escA"] == 6
    assert [found["list", index] for index in range(4)] == [9, 10, 11, 12]
    assert found["list", 3, "y", "z", 0] == 12
    assert lines[found["quotes",] - 1].startswith("quotes")
    assert lines[found["date",] - 1].startswith("date")
    assert lines[found["table", "with space", "inner"] - 1] == "inner = true"
    assert lines[found["items", 0, "sub", "deep"] - 1] == "deep = 1"
    assert lines[found["items", 1, "name"] - 1] == 'name = "second"'
    assert found["items", 1, "sub", "more", 0, "last"] == len(lines)


def test_every_key_is_found():
    assert key_lines(TRICKY).keys() - {("\\U0001F600",)} == keys(tomllib.loads(TRICKY)) - {("😀",)}


@pytest.mark.parametrize("text", ["", "# only this", "\n\n", "a = 1", "a = 1 # no line end", "[a]", "a = []", "a = ''"])
def test_small_texts(text: str):
    assert key_lines(text).keys() == keys(tomllib.loads(text))


def test_windows_line_ends():
    assert key_lines("a = 1\r\n\r\n[b]\r\nc = 2\r\n") == {("a",): 1, ("b",): 3, ("b", "c"): 4}


scalars = st.sampled_from(["1", "-2.5", "true", '"a"', "'b # ]'", '"""x\ny"""', "2026-01-01", "[]", "{}", '"\\""'])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda found: "[\n" + ", # c\n".join(found) + "\n]"),
        st.lists(inner.filter(lambda text: "\n" not in text), min_size=1, max_size=3).map(
            lambda found: "{ " + ", ".join(f"k{n} = {one}" for n, one in enumerate(found)) + " }"
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, st.booleans()), max_size=5))
def test_any_text_has_every_key_at_its_line(given: list[tuple[str, bool]]):
    lines: list[str] = []
    expected = {}
    for number, (value, headed) in enumerate(given):
        if headed:
            lines.append(f"[t{number}] # header")
        expected[number] = len(lines) + 1
        lines += f"key{number} = {value}".split("\n")
    text = "\n".join(lines)
    found = key_lines(text)
    assert found.keys() == keys(tomllib.loads(text))
    for key, line in found.items():
        if isinstance(key[-1], str) and key[-1].startswith("key"):
            assert line == expected[int(key[-1][3:])]
