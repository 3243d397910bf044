"""What most verbs take: a recipe, its overrides, a store; and how they become a build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shikomi.errors import UsageError

if TYPE_CHECKING:
    from shikomi.flow.runner import Build
    from shikomi.recipe.schema import Recipe

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_RECIPE = "recipe.toml"


def with_recipe(function: Function) -> Function:
    """The argument RECIPE and the options ``--store`` and ``--set``."""
    for decorate in (
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Put a value in place of the recipe's; repeatable.",
        ),
        with_store,
        click.argument("recipe", required=False, type=click.Path(path_type=Path)),
    ):
        function = decorate(function)
    return function


def with_store(function: Function) -> Function:
    """The option ``--store``."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path),
        default="store",
        show_default=True,
        envvar="SHIKOMI_STORE",
        help="Folder that keeps what is built.",
    )(function)


def with_json(function: Function) -> Function:
    """The option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(function)


def open_build(path: Path | None, store: Path, overrides: tuple[str, ...]) -> tuple[Recipe, Build]:
    """The recipe and its steps in a store. Reads the recipe and looks for its files; writes nothing.

    Raises:
        UsageError: no recipe was named and there is none here.
        RecipeError: the recipe is wrong.
    """
    from shikomi.build import steps
    from shikomi.flow.runner import Build
    from shikomi.flow.store import Store
    from shikomi.recipe.load import load

    if path is None:
        path = Path(DEFAULT_RECIPE)
        if not path.exists():
            raise UsageError(
                "name a recipe",
                where=f"there is no {DEFAULT_RECIPE} here",
                hint="for example recipes/quickstart.toml; `shikomi init .` writes one here",
            )
    recipe = load(path, overrides)
    return recipe, Build(steps(recipe, path.parent, store), Store(store))


def finished_folder(build: Build, stage: str) -> Path:
    """The folder of a finished stage.

    Raises:
        UsageError: the recipe has no such stage, or it is not built yet.
    """
    step = build.step(stage)
    if not build.finished(step):
        raise UsageError(
            f"stage {stage} is not built yet",
            where=str(build.store.root),
            hint=f"`shikomi build RECIPE --until {stage}` builds it; `shikomi status` says what there is",
        )
    return build.folder(step)


def command_line(verb: str, recipe: Path | None, store: Path, overrides: tuple[str, ...], *more: str) -> str:
    """A command for the user to give next, quoted for the shell."""
    import shlex

    parts = ["shikomi", verb, *([str(recipe)] if recipe else []), *more]
    parts += ["--store", str(store)] if str(store) != "store" else []
    for override in overrides:
        parts += ["--set", override]
    return shlex.join(parts)
