"""The outside files that a recipe names: paths, globs and folders to what is there, or an error that names the key."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from shikomi.errors import RecipeError
from shikomi.recipe.mixture import MixtureSource


def files(patterns: list[str], folder: Path, key: str) -> list[Path]:
    """The files that paths and globs name, each pattern's in sorted order.

    Raises:
        RecipeError: a pattern that finds nothing, or a folder.
    """
    found: list[Path] = []
    for pattern in patterns:
        matches = sorted(glob.glob(str(folder / Path(pattern).expanduser())))  # noqa: PTH207 - absolute patterns too
        exact = folder / Path(pattern).expanduser()
        if not matches and exact.exists():
            matches = [str(exact)]
        if not matches:
            raise RecipeError(
                f'"{pattern}" finds no file',
                where=key,
                hint=f"relative paths start at {folder}; set another one with --set {key}=PATH",
            )
        for match in matches:
            if Path(match).is_dir():
                raise RecipeError(f'"{match}" is a folder, not a file', where=key, hint="name files, for example DIR/*")
            found.append(Path(match))
    return found


def below(paths: list[str], folder: Path, key: str) -> list[Path]:
    """The files that paths name, those of a folder in sorted order at any depth."""
    found = []
    for path in paths:
        place = folder / Path(path).expanduser()
        found += sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else files([path], folder, key)
    return found


def token_folders(pattern: str, folder: Path, key: str) -> list[Path]:
    """The tokens folders that a path or glob names, in sorted order.

    Raises:
        RecipeError: it finds no folder that holds token shards.
    """
    exact = folder / Path(pattern).expanduser()
    found = [exact] if exact.is_dir() else [Path(path) for path in sorted(glob.glob(str(exact)))]  # noqa: PTH207
    found = [path for path in found if (path / "index.json").is_file()]
    if not found:
        raise RecipeError(
            f'"{pattern}" finds no tokens folder',
            where=key,
            hint=f"a folder as the stage tokens writes it, with index.json and train.bin; "
            f"relative paths start at {folder}",
        )
    return found


def mixture_folders(sources: Sequence[MixtureSource], folder: Path, stage: str) -> dict[str, list[Path]]:
    """The token folders of a mixture's outside sources, by the source's name.

    Raises:
        RecipeError: see ``token_folders``.
    """
    key = f"{stage}.mixture.tokens"
    return {one.name: token_folders(one.tokens, folder, key) for one in sources if one.outside}


def existing_folder(path: str, folder: Path, key: str) -> Path:
    found = folder / Path(path).expanduser()
    if not found.is_dir():
        raise RecipeError(f'"{path}" is not a folder', where=key, hint=f"relative paths start at {folder}")
    return found
