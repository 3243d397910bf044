"""The command line in this process, and a store as a finished build of the tiny recipe would leave it, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shikomi.cli.main import run
from shikomi.cli.options import open_build
from shikomi.flow.runner import Build
from shikomi.io import write_json, write_jsonl
from shikomi.plan.hardware import describe
from shikomi.recipe.schema import Recipe
from tests.e2e.command import Ended
from tests.e2e.tiny import write_recipe
from tests.report.fake_store import contents

QUESTIONS = [{"question": f"問い{number}", "answer": "答え", "task": "fact"} for number in range(5)]
SECONDS = 10.0
"""Taken by every stage of a store made by hand."""


class Shell:
    """Runs verbs in this process; what they write is captured."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: object) -> Ended:
        self.capsys.readouterr()
        code = run([str(word) for word in words])
        told = self.capsys.readouterr()
        return Ended(code, told.out, told.err)

    def done(self, *words: object) -> Ended:
        """Run a verb that must end with exit code 0."""
        ended = self(*words)
        assert ended.code == 0, ended.err
        return ended


@dataclass(frozen=True)
class Made:
    """A recipe and its store."""

    path: Path
    store: Path

    @property
    def words(self) -> tuple[object, ...]:
        """What every verb is given."""
        return (self.path, "--store", self.store)

    def open(self, *overrides: str) -> tuple[Recipe, Build]:
        """The recipe and its steps."""
        return open_build(self.path, self.store, overrides)

    def folder(self, stage: str) -> Path:
        """Where a stage's result lives."""
        _, build = self.open()
        return build.folder(build.step(stage))


def make(folder: Path, *, finished: Sequence[str] | None = None) -> Made:
    """The tiny recipe in a folder, and a store in which some of its stages (None: all) are finished."""
    made = Made(write_recipe(folder), folder / "store")
    _, build = made.open()
    for step in build.steps:
        if finished is None or step.name in finished:
            finish(build, step.name)
    return made


def finish(build: Build, stage: str, files: Mapping[str, Any] = {}) -> Path:
    """Publish a stage with invented files, as the runner would."""
    step = build.step(stage)
    out = build.store.begin(stage, build.id(step))
    found, facts = contents(stage)
    if stage == "dialogues":
        found = {"questions.jsonl": QUESTIONS}
    for name, value in {**found, **files}.items():
        write_jsonl(out / name, value) if name.endswith(".jsonl") else write_json(out / name, value)
    told = {"facts": facts, "seconds": SECONDS, "cpu_seconds": 15.0, "peak_mb": 100, "machine": describe()}
    return build.store.publish(stage, build.id(step), {**build.described(step), **told})
