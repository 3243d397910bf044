"""Steps that train are launched where a launcher is given; being asked to stop is no failure; notes are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shikomi.errors import Stopped
from shikomi.flow.runner import Build
from shikomi.flow.step import Context, Step
from shikomi.flow.store import MANIFEST, Store
from shikomi.io import read_json
from shikomi.log import Progress, tell
from tests.flow.toy import journal, numbers, one_step, total


class Launched:
    """A launcher that writes what the step would, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Path]] = []

    def __call__(self, stage: str, identity: str, out: Path, progress: Progress) -> dict[str, Any]:
        self.asked.append((stage, identity, out))
        progress(1, 1, "steps")
        (out / "model.txt").write_text("weights")
        return {"loss": 1.5}


def test_a_step_that_trains_is_launched_and_published_like_any_other(tmp_path):
    first = numbers()
    build = Build([first, replace(total({"numbers": first}), trains=True)], Store(tmp_path))
    launched = Launched()
    built = build.run(launch=launched)
    identity = build.id(build.steps[1])
    assert launched.asked == [("sum", identity, tmp_path / "work" / f"sum-{identity}")]
    manifest = read_json(built[1].folder / MANIFEST)
    assert manifest["facts"] == {"loss": 1.5}
    assert list(manifest["files"]) == ["model.txt"]
    assert "torch" in manifest["versions"], "of what the ranks load"
    assert "shards" in read_json(built[0].folder / MANIFEST)["facts"], "the other step ran here"


def test_without_a_launcher_it_runs_here(tmp_path):
    first = numbers()
    build = Build([first, replace(total({"numbers": first}), trains=True)], Store(tmp_path))
    build.run()
    assert "sum" in read_json(build.folder(build.steps[1]) / MANIFEST)["facts"]


def test_asked_to_stop_is_no_failure_and_the_next_run_goes_on(tmp_path):
    asked = [True]

    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
        (out / "half").touch()
        if asked:
            asked.clear()
            raise Stopped("stopped on request at step 3; the same command goes on")
        return {"found": (out / "half").exists()}

    build = one_step(tmp_path, run)
    with pytest.raises(Stopped):
        build.run()
    assert journal(build, "stage_failed") == []
    assert [event["stage"] for event in journal(build, "stage_stopped")] == ["one"]
    assert read_json(build.run()[0].folder / MANIFEST)["facts"] == {"found": True}


def test_what_a_stage_says_beside_its_progress_is_shown_and_journalled(tmp_path):
    said = []

    class Watch:
        def say(self, text: str) -> None: ...

        def end(self, stage: str, seconds: float, cached: bool) -> None: ...

        def begin(self, stage: str, number: int, of: int) -> Any:
            class Line:
                def __call__(self, done: float, total: float, unit: str, note: str = "") -> None: ...

                def say(self, text: str) -> None:
                    said.append(text)

            return Line()

    def run(inputs: dict[str, Path], out: Path, context: Context) -> dict[str, Any]:
        tell(context.progress, "the checkpoint of step 4 could not be written")
        return {}

    build = Build([Step("one", 1, None, {}, run)], Store(tmp_path))
    build.run(watch=Watch())
    assert said == ["the checkpoint of step 4 could not be written"]
    assert [event["note"] for event in journal(build, "stage_note")] == said
