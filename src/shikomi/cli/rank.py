"""One rank of a training stage: what ``shikomi build --launch torchrun`` starts several times for each such stage.

Every rank opens the same recipe and runs the stage's function; the main rank alone writes its folder and tells progress
and facts. Not a verb: nobody types it.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

import click

from shikomi.cli.options import open_build, with_recipe
from shikomi.compute.torchrun import end_with_torchrun, is_main, send, send_error
from shikomi.errors import ShikomiError, UsageError

SHOWN_SECONDS = 0.1
"""Least time between two tellings of progress."""


class Teller:
    """Progress, told to whoever started the ranks."""

    def __init__(self) -> None:
        self.due = 0.0

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        """Tell how far the stage is, now and then."""
        now = time.monotonic()
        if now >= self.due or done >= total:
            self.due = now + SHOWN_SECONDS
            send("progress", done=done, total=total, unit=unit, note=note)

    def say(self, text: str) -> None:
        """Tell one sentence."""
        send("say", text=text)


@click.command()
@with_recipe
@click.option("--site", type=click.Path(path_type=Path))
@click.option("--profile", is_flag=True)
@click.option("--stage", required=True)
@click.option("--id", "identity", required=True)
def command(
    recipe: Path | None,
    store: Path,
    overrides: tuple[str, ...],
    site: Path | None,
    profile: bool,
    stage: str,
    identity: str,
) -> None:
    """Run one training stage of RECIPE as one of several ranks."""
    import os

    from shikomi.cli.machine import open_site, threads_and_workers, training_site
    from shikomi.compute.mesh import close_world, open_world
    from shikomi.flow.runner import machine_errors, plain
    from shikomi.flow.step import Context
    from shikomi.log import silent

    where = open_site(site)
    threads, _ = threads_and_workers(where)
    _, build = open_build(recipe, store, overrides)
    step = build.step(stage)
    if build.id(step) != identity:
        raise UsageError(
            f"stage {stage} is another one here: {build.id(step)}, and the build asked for {identity}",
            where=str(recipe),
            hint="the recipe, its files or the code differ between machines or have changed; give the command again",
        )
    if is_main():
        send("begun", restart=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))
    # First of all: whoever is missing is told before anything is loaded, and each rank has a device of its own.
    training = training_site(where, profile=profile)
    open_world(training.mesh)
    context = Context(Teller() if is_main() else silent, 1, threads, training=training)
    with machine_errors(store):
        facts = step.run(build.inputs(step), build.store.work(stage, identity), context)
    if is_main():
        send("facts", facts=plain(facts, stage))
    close_world()


def main() -> int:
    """Run as a rank; returns the exit code. An error of the user's is told to whoever started the ranks."""
    end_with_torchrun()
    try:
        command.main(prog_name="rank", standalone_mode=False)
    except ShikomiError as error:
        send_error(error)
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        send("crash", what=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
