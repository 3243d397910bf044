"""``shikomi build``: run a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from shikomi.cli.options import command_line, open_build, with_json, with_recipe


@click.command("build")
@with_recipe
@click.option("--until", default="", metavar="STAGE", help="Stop after this stage.")
@click.option("--workers", type=click.IntRange(1), help="Processes a stage may use  [default: processors here]")
@click.option("--site", type=click.Path(path_type=Path), help="A TOML file saying where to work, with how much of it.")
@click.option("--no-wait", is_flag=True, help="Fail at once if another build holds the store.")
@with_json
def command(
    recipe: Path | None,
    store: Path,
    overrides: tuple[str, ...],
    until: str,
    workers: int | None,
    site: Path | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Build RECIPE: every stage that is not in the store yet, in order.

    Stopped at any moment, the same command goes on from where it was.
    """
    from shikomi.cli.machine import open_pool, threads_and_workers, training_site
    from shikomi.cli.progress import Screen
    from shikomi.cli.reporting import write_report
    from shikomi.cli.screen import say, show_json

    page, build = open_build(recipe, store, overrides)
    threads, processes = threads_and_workers(site, workers)
    built = build.run(
        recipe=page.name,
        about={"file": str(recipe), "overrides": list(overrides)},
        until=until,
        wait=not no_wait,
        watch=Screen(),
        workers=processes,
        threads=threads,
        pool=open_pool(site, processes, store, workers),
        training=training_site(site),
    )
    path = write_report(page, build)
    if as_json:
        stages = [{"name": one.name, "id": one.id, "cached": one.cached, "seconds": one.seconds} for one in built]
        show_json({"report_path": str(path), "stages": stages})
        return
    say(f"report: {path}")
    if any(one.name in ("sft", "dpo") for one in built):
        say(f"chat:   {command_line('chat', recipe, store, overrides)}")
