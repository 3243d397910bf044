"""``shikomi init``: a recipe to start from."""

from __future__ import annotations

from pathlib import Path

import click

from shikomi.cli.options import DEFAULT_RECIPE, command_line


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def command(folder: Path) -> None:
    """Write recipe.toml into DIR: every table with its main keys, commented. It builds as it stands."""
    from shikomi.cli.screen import say, show
    from shikomi.errors import UsageError
    from shikomi.io import atomic

    path = folder / DEFAULT_RECIPE
    if path.exists():
        raise UsageError("there is a recipe already", where=str(path), hint="name another folder, or move it away")
    if folder.exists() and not folder.is_dir():
        raise UsageError("expected a folder, found a file", where=str(folder), hint="name another folder")
    with atomic(path) as handle:
        handle.write(template(folder))
    show(str(path))
    say(f"next: {command_line('plan', path, Path('store'), ())}")
    say(f"      {command_line('build', path, Path('store'), ())}")


def template(folder: Path) -> str:
    """The template, with the folder's name as the recipe's."""
    import json

    text = Path(__file__).with_name("template.toml").read_text(encoding="utf-8")
    name = folder.absolute().name[:80] or "recipe"
    return text.replace('name = "recipe"', f"name = {json.dumps(name, ensure_ascii=False)}", 1)
