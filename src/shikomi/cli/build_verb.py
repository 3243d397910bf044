"""``shikomi build``: run a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from shikomi.cli.launch import KINDS, Asked, Given, kind_of, launcher, submit_build
from shikomi.cli.options import DEFAULT_RECIPE, command_line, open_build, with_json, with_recipe
from shikomi.errors import UsageError


@click.command("build")
@with_recipe
@click.option("--until", default="", metavar="STAGE", help="Stop after this stage.")
@click.option("--workers", type=click.IntRange(1), help="Processes a stage may use  [default: processors here]")
@click.option("--site", type=click.Path(path_type=Path), help="A TOML file saying where to work, with how much of it.")
@click.option(
    "--launch",
    type=click.Choice(KINDS),
    metavar="KIND",
    help="Who starts training stages: process (this one), torchrun (ranks here), slurm (a job)  [default: the site's]",
)
@click.option(
    "--ranks", type=click.IntRange(1), default=None, help="Ranks of a training stage on this machine (torchrun)."
)
@click.option(
    "--rendezvous", default="", metavar="HOST:PORT", help="Where the machines of a job meet; batch scripts give it."
)
@click.option("--dry-run", is_flag=True, help="With --launch slurm: print the batch script, submit nothing.")
@click.option("--profile", is_flag=True, help="Write a Chrome trace of a few steps of each training stage.")
@click.option("--no-wait", is_flag=True, help="Fail at once if another build holds the store.")
@with_json
def command(
    recipe: Path | None,
    store: Path,
    overrides: tuple[str, ...],
    until: str,
    workers: int | None,
    site: Path | None,
    launch: str | None,
    ranks: int | None,
    rendezvous: str,
    dry_run: bool,
    profile: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Build RECIPE: every stage that is not in the store yet, in order.

    Stopped at any moment, the same command goes on from where it was. SIGUSR1 and SIGTERM end a training stage after
    its step with a checkpoint, exit code 0.
    """
    from shikomi.cli.live_report import LiveReport
    from shikomi.cli.machine import open_pool, open_site, threads_and_workers, training_site
    from shikomi.cli.progress import Screen
    from shikomi.cli.reporting import write_report
    from shikomi.cli.screen import say, show, show_json
    from shikomi.train.writers import check_writers

    page, build = open_build(recipe, store, overrides)
    where, asked = open_site(site), Asked(launch or "", ranks or 0, rendezvous)
    given = Given(recipe or Path(DEFAULT_RECIPE), store, overrides, site, profile)
    if kind_of(asked, where) == "slurm":
        more = [*(["--until", until] if until else []), *(["--workers", str(workers)] if workers else [])]
        told = submit_build(asked, where, given, page.name, more, dry=dry_run)
        (show if dry_run else say)(told.rstrip("\n"))
        return
    if dry_run:
        raise UsageError(
            "--dry-run needs --launch slurm", where="--dry-run", hint="`shikomi plan` says what a build will do"
        )
    check_writers(where.training.writers)
    threads, processes = threads_and_workers(where, workers)
    built = build.run(
        recipe=page.name,
        about={"file": str(recipe), "overrides": list(overrides)},
        until=until,
        wait=not no_wait,
        watch=LiveReport(Screen(), lambda: write_report(page, build)),
        workers=processes,
        threads=threads,
        pool=open_pool(where, processes, store, workers),
        training=training_site(where, profile=profile),
        launch=launcher(asked, where, given, threads),
    )
    path = write_report(page, build)
    if as_json:
        stages = [{"name": one.name, "id": one.id, "cached": one.cached, "seconds": one.seconds} for one in built]
        show_json({"report_path": str(path), "stages": stages})
        return
    say(f"report: {path}")
    if any(one.name in ("sft", "dpo") for one in built):
        say(f"chat:   {command_line('chat', recipe, store, overrides)}")
