"""Errors a user sees: what went wrong, where, and what to do about it.

Every failure that a user can cause or mend is one of these classes. Anything else that reaches the
command line is a defect of ours and is shown with its traceback.
"""

from __future__ import annotations


class ShikomiError(Exception):
    """A failure told in three lines: what, where, and a hint.

    Args:
        what: one sentence saying what is wrong.
        where: the file, line, key or stage it concerns; empty where there is none.
        hint: what to do next; empty where nothing useful can be said.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  at: {self.where}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self):
        # Keyword-only arguments do not survive the default reduction; workers of a pool send errors home.
        return (_rebuild, (type(self), self.what, self.where, self.hint))


def _rebuild(kind: type[ShikomiError], what: str, where: str, hint: str) -> ShikomiError:
    return kind(what, where=where, hint=hint)


class DataError(ShikomiError):
    """An input file is missing, damaged, or not what its reader expects (exit code 1)."""


class RecipeError(ShikomiError):
    """The recipe, or an override of it, cannot be built as written (exit code 2)."""

    exit_code = 2


class UsageError(ShikomiError):
    """A command was given arguments that make no sense together (exit code 2)."""

    exit_code = 2


class MachineError(ShikomiError):
    """This machine cannot do the work: memory, disk, or a missing program (exit code 3)."""

    exit_code = 3


class Stopped(ShikomiError):
    """A training stage ended early because it was asked to, its checkpoint written: no failure (exit code 0)."""

    exit_code = 0
