"""Where keys stand: in tables, arrays of tables, inline tables, dotted and quoted keys, among strings like keys."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from shikomi.recipe.lines import Key, key_lines

TEXT = '''# name = "comment"
name = "x"   # [table]
"quoted key" = 1
'literal' = """
fake = 1
[fake]
\\" "" """
[model]
heads = 4
a.b . c = 2

[[sources]]
path = 'one'
[[sources]]
path = "two # = ["
[sources.deep]
key = [
  1, # a comment, ]
  { inner = "]", other = 2 },
  [3, [4]],
]
[sft.optim]
rate = 1979-05-27T07:32:00Z
last = """
a""quoted""""" # five quotes
end = \'\'\'
'' # two\'\'\'
z = true'''


def test_every_kind_of_key_has_its_line() -> None:
    found = key_lines(TEXT)
    expected: dict[Key, int] = {
        ("name",): 2, ("quoted key",): 3, ("literal",): 4, ("model",): 8, ("model", "heads"): 9,
        ("model", "a", "b", "c"): 10, ("sources",): 12, ("sources", 0, "path"): 13, ("sources", 1): 14,
        ("sources", 1, "path"): 15, ("sources", 1, "deep", "key"): 17, ("sources", 1, "deep", "key", 0): 18,
        ("sources", 1, "deep", "key", 1, "other"): 19, ("sources", 1, "deep", "key", 2, 1, 0): 20, ("sft",): 22,
        ("sft", "optim", "rate"): 23, ("sft", "optim", "last"): 24, ("sft", "optim", "end"): 26,
        ("sft", "optim", "z"): 28,
    }  # fmt: skip
    assert {key: found.get(key) for key in expected} == expected
    assert not any("fake" in key for key in found)


def test_line_ends_of_windows() -> None:
    assert key_lines('a = 1\r\n[b]\r\nc = """x\r\ny"""\r\nd = 2\r\n')[("b", "d")] == 5


def keys_of(value: object, path: Key = ()) -> set[Key]:
    """Every path of a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} - {()} | {key for name, item in inner for key in keys_of(item, (*path, name))}


def test_exactly_the_keys_of_the_document_are_found() -> None:
    assert set(key_lines(TEXT)) == keys_of(tomllib.loads(TEXT))


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)
WORDS = st.text(st.sampled_from(list("ab=[]{}#'\" .,あ")), max_size=8)


def quoted(text: str) -> str:
    escaped = "".join(f"\\{letter}" if letter in '"\\' else letter for letter in text)
    return f'"{escaped}"'


@given(st.lists(st.tuples(NAMES, st.lists(WORDS, max_size=3)), max_size=6, unique_by=lambda pair: pair[0]))
def test_the_line_of_each_key_holds_it_whatever_the_strings_say(pairs: list[tuple[str, list[str]]]) -> None:
    lines = ["[table]"]
    for name, words in pairs:
        lines.append(f"{quoted(name)} = [{', '.join(map(quoted, words))}]")
    text = "\n".join(lines)
    document = tomllib.loads(text)
    found = key_lines(text)
    assert set(found) == keys_of(document)
    assert [found["table", name] for name, _ in pairs] == list(range(2, 2 + len(pairs)))
