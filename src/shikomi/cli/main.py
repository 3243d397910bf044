"""The command line: one verb a file, loaded when it is asked for; errors in three lines; exit codes 0, 1, 2, 3."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence

# Starting up makes hundreds of thousands of objects that all stay: looking for garbage among them takes a fifth of the
# time of `plan`. Later a collection every 200,000 objects is as good as one every 700.
gc.set_threshold(200_000, 20, 100)

import click  # noqa: E402

from shikomi.cli.screen import say, say_error  # noqa: E402
from shikomi.errors import ShikomiError, Stopped, UsageError  # noqa: E402

VERBS = {
    "doctor": "Look at this machine and measure how fast it is.",
    "init": "Write a recipe to start from into a folder.",
    "plan": "Say what a build will take, stage by stage, before it is run.",
    "build": "Build a recipe: what is finished is kept, what was cut off goes on.",
    "status": "Say what of a recipe is built, and why a stage is to be built.",
    "look": "Look into what a stage has made.",
    "report": "Write the report of a build and print its path.",
    "chat": "Talk to the model of a build, or let it answer questions.",
    "eval": "Show what the evaluation found.",
    "forget": "Keep documents out of every later corpus; list models that saw them.",
}
"""Every verb and its one line; the module ``shikomi.cli.<verb>_verb`` holds its ``command``."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


class Verbs(click.Group):
    """A group that imports a verb's module only when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of a build."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb, None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        return importlib.import_module(f"shikomi.cli.{cmd_name}_verb").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without loading any."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which is nearest."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, 1)
            raise UsageError(
                f'there is no verb "{args[0]}"',
                where=" ".join(["shikomi", *args]),
                hint=f"did you mean `shikomi {near[0]}`?" if near else f"verbs: {', '.join(VERBS)}",
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=Verbs,
    subcommand_metavar="VERB …",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="shikomi", message="shikomi %(version)s")
def cli() -> None:
    """Build a Japanese, domain-specialised language model: from web crawl to chat, by one recipe.

    ウェブクロールからチャットまで、一つのレシピで日本語モデルを作ります。
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    code = run(arguments)
    gc.freeze()  # the interpreter ends with a collection of everything: nothing is left to find
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. What is not a user's error propagates, with its traceback."""
    stdout = sys.stdout
    try:
        result = cli.main(args=arguments, prog_name="shikomi", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        hint = f"`{where} --help` lists what is allowed" if where else ""
        say_error(UsageError(error.format_message().rstrip("."), where=where, hint=hint))
        return 2
    except Stopped as stopped:
        say(stopped.what)
        return stopped.exit_code
    except ShikomiError as error:
        say_error(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nstopped; the same command goes on from here", err=True)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:
        # Whoever read our output has left (`| head`): no error, and nothing more to say. Click, where it meets that,
        # puts another stream in stdout's place and exits.
        if isinstance(error, SystemExit) and sys.stdout is stdout:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        return 0


if __name__ == "__main__":
    main()
