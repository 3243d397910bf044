"""Reads a recipe: TOML to strict pages, every mistake told with its line, what is allowed, and the nearest spelling."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from shikomi.errors import RecipeError
from shikomi.recipe.licence import licence_errors
from shikomi.recipe.lines import Key, key_lines
from shikomi.recipe.page import Page
from shikomi.recipe.schema import PATHS, Recipe, conflicts, settled

Kind = TypeVar("Kind", bound=Page)


class RecipeErrors(RecipeError):
    """Several mistakes at once, in the order of their lines."""

    def __init__(self, errors: Sequence[RecipeError]) -> None:
        super().__init__(f"{len(errors)} mistakes in the recipe", where=errors[0].where)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.errors))

    def __reduce__(self):
        return (RecipeErrors, (self.errors,))


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe at ``path`` with ``KEY=VALUE`` overrides put in its place.

    A value is read as TOML, and as plain text where it is no TOML (``pretrain.tokens=1M``); one plain value stands for
    a list of one. Relative paths in an override start at the current folder if something is found there, else, as in
    the file, at the recipe's folder. A dial (``model.params``) is turned into the shape it stands for.

    Raises:
        RecipeError: the file cannot be read, or the recipe is wrong (``RecipeErrors`` for several mistakes).
    """
    loader = _Loader(path, read_text(path), Recipe, overrides)
    recipe = loader.page()
    try:
        recipe = settled(recipe)
    except RecipeError as error:
        loader.refuse([loader.placed(error)])
    loader.refuse([loader.placed(error) for error in (*conflicts(recipe), *licence_errors(recipe, path.parent))])
    return recipe


def load_page(path: Path, page: type[Kind]) -> Kind:
    """Read a TOML file that is one page, with the same strictness and the same messages.

    Raises:
        RecipeError: the file cannot be read, or a key is wrong.
    """
    return _Loader(path, read_text(path, page.__name__.lower()), page, ()).page()


def read_text(path: Path, what: str = "recipe") -> str:
    """The text of a recipe or other TOML file, called ``what`` in errors (UTF-8, with or without BOM).

    Raises:
        RecipeError: missing (the nearest names are shown), a folder, not readable, or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise RecipeError(f"there is no such {what}", where=str(path), hint=_near_files(path, what)) from error
    except IsADirectoryError as error:
        inside = ", ".join(str(found) for found in sorted(path.glob("*.toml"))[:5])
        raise RecipeError(
            f"expected a {what}, found a folder", where=str(path), hint=f"name a file, for example {inside or 'x.toml'}"
        ) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"the {what} is not UTF-8", where=f"{path}:{line}", hint="save the file as UTF-8") from error
    except OSError as error:
        raise RecipeError(f"the {what} cannot be read: {error.strerror}", where=str(path)) from error


def _near_files(path: Path, what: str) -> str:
    there = {found.name: found for folder in (Path(f"{what}s"), path.parent) for found in folder.glob("*.toml")}
    near = near_names(path.name, there, 3, cutoff=0.4) or list(there)[:5]
    named = ", ".join(str(there[name]) for name in near)
    if named:
        return f"there is {named}"
    return "`shikomi init DIR` writes one to start from" if what == "recipe" else ""


class _Loader(Generic[Kind]):
    """One reading of one text; keeps what is needed to say where a mistake stands."""

    def __init__(self, path: Path, text: str, kind: type[Kind], overrides: Sequence[str]) -> None:
        self.path, self.text, self.kind, self.overrides = path, text, kind, overrides
        self.lines: dict[Key, int] = {}
        self.set_by: dict[Key, str] = {}

    def page(self) -> Kind:
        """The page, or every mistake in it."""
        raw = self._parse()
        self.lines = key_lines(self.text)
        for override in self.overrides:
            self._override(raw, override)
        return self._validate(raw)

    def _parse(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            what, _, place = str(error).partition(" (at ")
            line = place.split(",")[0].removeprefix("line ") if place.startswith("line ") else ""
            line = line or str(self.text.count("\n") + 1)
            raise RecipeError(
                f"not TOML: {what}",
                where=f"{self.path}:{line}",
                hint='a line is KEY = VALUE or [table]; text stands in quotes: name = "x"',
            ) from error
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"not TOML: {error}", where=str(self.path)) from error

    def _override(self, raw: dict[str, Any], override: str) -> None:
        name, equals, text = override.partition("=")
        key = _key(name.strip())
        if not equals or not all(str(part) for part in key):
            raise RecipeError(
                f'"{override}" sets nothing',
                where="--set",
                hint="write --set KEY=VALUE, for example --set sample.seed=8",
            )
        at: Any = raw
        for part in key[:-1]:
            at = self._enter(at, part, override)
        self._enter(at, key[-1], override)
        at[key[-1]] = self._own_paths(key, _value(text))
        self.set_by = {known: how for known, how in self.set_by.items() if known[: len(key)] != key}
        self.set_by[key] = override

    def _enter(self, at: Any, part: str | int, override: str) -> Any:
        if isinstance(at, dict):
            return at.setdefault(part, {})
        if isinstance(at, list) and isinstance(part, int) and part < len(at):
            return at[part]
        what = (
            f"the list has {len(at)} items, counted from 0"
            if isinstance(at, list)
            else "there is no table to set it in"
        )
        raise RecipeError(
            f'"{override}": {what}', where="--set", hint="name what the recipe holds, or set the whole of it"
        )

    def _own_paths(self, key: Key, value: Any) -> Any:
        """Paths given on the command line start at the current folder where they find something there."""
        if tuple(part for part in key if not isinstance(part, int)) not in PATHS:
            return value
        if isinstance(value, list):
            return [self._own_paths(key, item) for item in value]
        if isinstance(value, str) and value and not Path(value).expanduser().is_absolute():
            import glob

            here = Path(value)
            if here.exists() or glob.glob(value):  # noqa: PTH207 - an absolute or relative pattern as a shell takes it
                return str(here.absolute())
        return value

    def _validate(self, raw: dict[str, Any]) -> Kind:
        try:
            return self.kind.model_validate(raw)
        except ValidationError as error:
            mended = self._mend(raw, error)
            if mended is not None:
                return self._validate(mended)
            self.refuse([self._told(mistake) for mistake in error.errors(include_url=False)])
            raise AssertionError("unreachable") from error

    def _mend(self, raw: dict[str, Any], error: ValidationError) -> dict[str, Any] | None:
        """An override's plain value stands for a list of one; where text is wanted, it is taken as written."""
        mended = copy.deepcopy(raw)
        changed = False
        for mistake in error.errors(include_url=False):
            key = tuple(mistake["loc"])
            text = self.set_by.get(key, "").partition("=")[2]
            if text and mistake["type"] == "list_type" and isinstance(mistake["input"], str):
                _put(mended, key, [mistake["input"]])
                changed = True
            elif text and mistake["type"] == "string_type" and not isinstance(mistake["input"], list | dict):
                _put(mended, key, self._own_paths(key, text))
                changed = True
        return mended if changed else None

    def _told(self, mistake: Any) -> RecipeError:
        key: Key = tuple(mistake["loc"])
        kind = mistake["type"]
        name = dotted(key)
        if kind == "extra_forbidden":
            return self._unknown_key(key, mistake["input"])
        if kind == "missing":
            return RecipeError(f"{name} is missing", where=self._where(key[:-1]), hint=f"add the line {key[-1]} = …")
        what, hint = _mistake(mistake)
        hint = hint or f"docs/reference says what {dotted(tuple(part for part in key if isinstance(part, str)))} takes"
        return RecipeError(f"{name}{what}", where=self._where(key), hint=hint)

    def _unknown_key(self, key: Key, given: Any) -> RecipeError:
        page = page_at(self.kind, key[:-1])
        fields = list(page.model_fields) if page else []
        wrong = str(key[-1])
        near = near_names(wrong, fields, 1, cutoff=0.6)
        prefix = dotted(key[:-1]) + "." if key[:-1] else ""
        if near:
            hint = f'did you mean "{prefix}{near[0]}"?'
        else:
            elsewhere = _elsewhere(self.kind, wrong)
            hint = f'did you mean "{elsewhere}"? ' if elsewhere else ""
            hint += f"allowed {'here' if key[:-1] else 'at the top'}: {', '.join(fields)}"
        kind = "table" if isinstance(given, dict) else "key"
        return RecipeError(f'unknown {kind} "{dotted(key)}"', where=self._where(key), hint=hint)

    def _where(self, key: Key) -> str:
        """The override that set a key, or the line on which it (or the nearest table round it) stands."""
        for end in range(len(key), 0, -1):
            if key[:end] in self.set_by:
                return f"--set {self.set_by[key[:end]]}"
        for end in range(len(key), 0, -1):
            if key[:end] in self.lines:
                return f"{self.path}:{self.lines[key[:end]]}"
        return str(self.path)

    def placed(self, error: RecipeError) -> RecipeError:
        """An error whose ``where`` is a key, with the place of that key before it."""
        error.where = f"{self._where(_key(error.where))} ({error.where})"
        return error

    def refuse(self, errors: list[RecipeError]) -> None:
        """Raise what was found."""
        if not errors:
            return
        if len(errors) == 1:
            raise errors[0]
        raise RecipeErrors(sorted(errors, key=_line))


def _line(error: RecipeError) -> int:
    """The line an error stands on; those without one come last, in the order in which they were found."""
    number = error.where.rpartition(":")[2].partition(" ")[0]
    return int(number) if number.isdecimal() else 10**9


def near_names(name: str, allowed: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """The allowed names most like a name, the likest first."""
    import difflib

    return difflib.get_close_matches(name, list(allowed), count, cutoff)


def _key(name: str) -> Key:
    return tuple(int(part) if part.isascii() and part.isdecimal() else part for part in name.split("."))


def dotted(key: Key) -> str:
    """A path as people write it: ``dialogues.sources.0.path``."""
    return ".".join(map(str, key))


def _put(raw: Any, key: Key, value: Any) -> None:
    for part in key[:-1]:
        raw = raw[part]
    raw[key[-1]] = value


def _value(text: str) -> Any:
    """A value given on the command line: TOML, or plain text where it is none."""
    try:
        parsed = tomllib.loads(f"value = {text.strip()}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def page_at(page: type[BaseModel], key: Key) -> type[BaseModel] | None:
    """The page that holds the keys under ``key``; None if there is none."""
    found: type[BaseModel] | None = page
    for part in key:
        if isinstance(part, int):
            continue
        field = found.model_fields.get(part) if found else None
        found = _page_of(field.annotation) if field else None
    return found


def _page_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and get_origin(annotation) is None:
        return annotation
    return next((found for found in map(_page_of, get_args(annotation)) if found), None)


def _elsewhere(root: type[BaseModel], name: str) -> str:
    """A key of that name on another page, dotted; empty if there is none or more than one."""
    found = [
        f"{page}.{name}" for page in root.model_fields if (at := page_at(root, (page,))) and name in at.model_fields
    ]
    return found[0] if len(found) == 1 else ""


def _mistake(mistake: Any) -> tuple[str, str]:
    """What is wrong with a value, and what is allowed, from pydantic's own words."""
    kind, given, limits = mistake["type"], mistake["input"], mistake.get("ctx", {})
    shown = _shown(given)
    if kind == "literal_error":
        allowed = [part.strip("' ") for part in limits["expected"].replace(" or ", ", ").split(",")]
        near = near_names(str(given), allowed, 1)
        listed = f"one of: {', '.join(allowed)}"
        return f" = {shown} is not allowed", (f'did you mean "{near[0]}"? ' if near else "") + listed
    if kind == "value_error":
        return f": {mistake['msg'].removeprefix('Value error, ')}", ""
    for name, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than")):
        if name in limits and kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
            return f" = {shown} is out of range", f"{words} {limits[name]}"
    wanted = {
        "int_type": "a whole number", "float_type": "a number", "string_type": 'text in quotes, such as "x"',
        "bool_type": "true or false", "list_type": "a list, such as [1, 2]", "model_type": "a table",
        "dict_type": "a table", "finite_number": "a finite number",
    }  # fmt: skip
    if kind in wanted:
        return f" = {shown} has the wrong type", f"expected {wanted[kind]}"
    return f" = {shown}: {mistake['msg']}", ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
