"""Runs the steps of a build: what is finished is passed over, what was cut off is gone on with."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shikomi.errors import DataError, MachineError, ShikomiError, Stopped, UsageError
from shikomi.flow.identity import ID_CHARACTERS, digest, step_id
from shikomi.flow.step import Context, Launch, Source, Step, sources
from shikomi.flow.store import MANIFEST, Store
from shikomi.log import Progress, silent, tell
from shikomi.recipe.mesh import ONE_PROCESS, TrainingSite
from shikomi.units import format_bytes

if TYPE_CHECKING:
    from shikomi.compute.pool import Pool
    from shikomi.flow.meter import Meter

NOTE_SECONDS = 5.0
"""How often an unfinished stage's time is noted, so that what a killed attempt took is not forgotten."""
VERSIONED = ("numpy", "pyarrow", "fastwarc", "resiliparse", "tokenizers", "torch", "safetensors")
RANKS_LOAD = ("numpy", "tokenizers", "torch", "safetensors")
"""What training stages load."""
_FULL = {errno.ENOSPC: "no space is left on the disk", errno.EDQUOT: "the disk quota is used up"}
_FULL_WORDS = ("no space left on device", "disk quota exceeded", "os error 28")


class Watch(Protocol):
    """Told what the build does; shows it, or does not."""

    def say(self, text: str) -> None:
        """One line for the user."""
        ...

    def begin(self, stage: str, number: int, of: int) -> Progress:
        """A stage starts (``number`` from 1); returns what its progress is told to."""
        ...

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        """A stage is finished."""
        ...


class Unwatched:
    """A watch that shows nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def begin(self, stage: str, number: int, of: int) -> Progress:
        """Nothing is shown of the stage."""
        return silent

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Built:
    """A finished stage: its name, id and folder; whether it was there already; wall seconds it took when it ran."""

    name: str
    id: str
    folder: Path
    cached: bool
    seconds: float


class Build:
    """The steps of one recipe in one store. Ids are worked out when first asked for; outside files are read then."""

    def __init__(self, steps: list[Step], store: Store) -> None:
        self.steps = steps
        self.store = store
        self._ids: dict[int, str] = {}

    def id(self, item: Step | Source) -> str:
        """The id of a step's result, or of a source's contents.

        Raises:
            DataError: an outside file cannot be read.
        """
        if id(item) not in self._ids:
            if isinstance(item, Source):
                found = self._source_id(item)
            else:
                inputs = {name: self.id(given) for name, given in item.inputs.items()}
                found = step_id(item.name, item.version, item.values, inputs)
            self._ids[id(item)] = found
        return self._ids[id(item)]

    def _source_id(self, source: Source) -> str:
        return digest([self.store.content(path) for path in source.paths])[:ID_CHARACTERS]

    def step(self, name: str) -> Step:
        """The step of that name.

        Raises:
            UsageError: there is none; the nearest name is shown.
        """
        names = [step.name for step in self.steps]
        if name not in names:
            import difflib

            near = difflib.get_close_matches(name, names, 1)
            raise UsageError(
                f'this build has no stage "{name}"',
                where="stages: " + " ".join(names),
                hint=f'did you mean "{near[0]}"?' if near else "name one of these",
            )
        return self.steps[names.index(name)]

    def folder(self, step: Step) -> Path:
        """Where the finished result lives, or would live."""
        return self.store.final(step.name, self.id(step))

    def finished(self, step: Step) -> bool:
        """Whether the result is there, whole."""
        return self.store.manifest(step.name, self.id(step)) is not None and not self.store.damage(
            step.name, self.id(step)
        )

    def run(
        self,
        *,
        recipe: str = "build",
        about: dict[str, Any] | None = None,
        until: str = "",
        wait: bool = True,
        watch: Watch | None = None,
        workers: int = 1,
        threads: int = 1,
        pool: Pool | None = None,
        training: TrainingSite = ONE_PROCESS,
        launch: Launch | None = None,
    ) -> list[Built]:
        """Build every step in order, up to and with ``until`` (empty: all).

        Args:
            recipe: the recipe's name: the record of this build is kept under it.
            about: more for that record (file, overrides).
            until: the last stage to build.
            wait: whether to wait while another build holds the store.
            watch: told what happens.
            workers: processes a stage may use.
            threads: threads one process may use.
            pool: where functions over shards run; None: on this machine, with ``workers``.
            training: how training stages work here.
            launch: runs training stages in several processes; None: in this one.

        Raises:
            UsageError: ``until`` is no stage.
            MachineError: the disk is full, or memory ran out.
            Stopped: a training stage was asked to stop; the same call goes on from its checkpoint.
            ShikomiError: the store is in use and ``wait`` is false, or whatever a stage raises.
        """
        from shikomi.flow.lock import hold

        watch = watch or Unwatched()
        last = self.steps.index(self.step(until)) + 1 if until else len(self.steps)
        with machine_errors(self.store.root):
            self.store.create()
            stages = [step.name for step in self.steps[:last]]
            with (
                hold(self.store.lock_path, recipe, wait=wait, say=watch.say),
                self._recorded(recipe, about or {}, stages),
            ):
                context = Context(silent, workers, threads, pool, training, launch)
                return self._run_all(self.steps[:last], watch, context)

    @contextlib.contextmanager
    def _recorded(self, recipe: str, about: dict[str, Any], stages: list[str]) -> Iterator[None]:
        """Journal the build, and keep under the recipe's name which ids belong to it."""
        begun, started = time.perf_counter(), round(time.time(), 3)
        for source in sources(self.steps):
            self.id(source)
        self.store.save_hashes()
        ids = [{"name": step.name, "id": self.id(step)} for step in self.steps]
        record = {"recipe": recipe, **about, "steps": ids, "started": started, "finished": None, "seconds": None}
        self.store.record(recipe, record)
        self.store.journal.write("build_started", recipe=recipe, stages=stages)
        yield
        seconds = round(time.perf_counter() - begun, 2)
        self.store.journal.write("build_finished", recipe=recipe, seconds=seconds)
        self.store.record(recipe, record | {"finished": round(time.time(), 3), "seconds": seconds})

    def _run_all(self, chosen: list[Step], watch: Watch, context: Context) -> list[Built]:
        done = []
        self.store.sweep()
        for number, step in enumerate(chosen, start=1):
            progress = watch.begin(step.name, number, len(chosen))
            built = self._cached(step, watch) or self._run_one(step, replace(context, progress=progress))
            watch.end(step.name, built.seconds, built.cached)
            done.append(built)
        return done

    def _cached(self, step: Step, watch: Watch) -> Built | None:
        """The finished result, if there is one; one whose files are damaged is taken away and built anew."""
        identity = self.id(step)
        if (
            self.store.manifest(step.name, identity) is None
            and (self.store.work(step.name, identity) / MANIFEST).is_file()
        ):
            self.store.move_in(step.name, identity)  # cut off between the manifest and the rename
        manifest = self.store.manifest(step.name, identity)
        if manifest is None:
            return None
        damage = self.store.damage(step.name, identity)
        if damage:
            watch.say(f"{step.name}: the finished result is damaged ({damage}) and is built again")
            self.store.journal.write("stage_damaged", stage=step.name, id=identity, what=damage)
            self.store.discard(step.name, identity)
            return None
        return Built(step.name, identity, self.folder(step), True, manifest["seconds"])

    def _run_one(self, step: Step, context: Context) -> Built:
        from shikomi.flow.meter import Meter

        identity = self.id(step)
        out = self.store.begin(step.name, identity)
        before = self.store.spent(step.name, identity)
        self.store.journal.write("stage_started", stage=step.name, id=identity, resumed=any(out.iterdir()))
        meter = Meter().start()
        noted = _Noted(self.store, step.name, identity, before, meter, context.progress)
        try:
            facts = self._work(step, out, replace(context, progress=noted))
            self._check_sources(step)
            meter.stop()
            manifest = {
                **self.described(step),
                "facts": facts,
                "seconds": round(before["seconds"] + meter.seconds, 2),
                "cpu_seconds": round(before["cpu_seconds"] + meter.cpu, 2),
                "peak_mb": round(meter.peak_mb),
                "workers": context.workers,
                "threads": context.threads,
                "versions": versions(RANKS_LOAD if step.trains and context.launch else ()),
                "machine": machine(),
            }
            folder = self.store.publish(step.name, identity, manifest)
        except BaseException as error:
            meter.stop()
            with contextlib.suppress(OSError):
                noted.write()
                event = "stage_stopped" if isinstance(error, Stopped) else "stage_failed"
                self.store.journal.write(event, stage=step.name, id=identity, error=_first_line(error))
            raise
        self.store.journal.write("stage_finished", stage=step.name, id=identity, seconds=manifest["seconds"])
        return Built(step.name, identity, folder, False, manifest["seconds"])

    def _work(self, step: Step, out: Path, context: Context) -> Any:
        """Run a step here, or in ranks of its own; returns its facts."""
        if step.trains and context.launch is not None:
            return context.launch(step.name, self.id(step), out, context.progress)
        return plain(step.run(self.inputs(step), out, context), step.name)

    def inputs(self, step: Step) -> dict[str, Path]:
        """The folders a step reads, by the names its function knows them by."""
        return {name: self._input_folder(given) for name, given in step.inputs.items()}

    def described(self, step: Step) -> dict[str, Any]:
        """What decides a step's id, as its manifest tells it."""
        inputs = {
            name: {"step" if isinstance(given, Step) else "source": given.name, "id": self.id(given)}
            for name, given in step.inputs.items()
        }
        return {
            "step": step.name, "version": step.version, "id": self.id(step), "page": step.values, "inputs": inputs,
        }  # fmt: skip

    def _input_folder(self, given: Step | Source) -> Path:
        return self.folder(given) if isinstance(given, Step) else (given.paths or [self.store.root])[0].parent

    def _check_sources(self, step: Step) -> None:
        for given in step.inputs.values():
            if isinstance(given, Source) and self._source_id(given) != self.id(given):
                raise DataError(
                    f"files changed while stage {step.name} was reading them",
                    where=", ".join(map(str, given.paths[:3])),
                    hint="give the same command again once they stay as they are",
                )


class _Noted:
    """Passes progress on, and now and then notes the time the stage has taken."""

    def __init__(
        self, store: Store, step: str, identity: str, before: dict[str, float], meter: Meter, inner: Progress
    ) -> None:
        self.store, self.step, self.identity = store, step, identity
        self.before, self.meter, self.inner = before, meter, inner
        self.due = NOTE_SECONDS

    def __call__(self, done: float, total: float, unit: str, note: str = "") -> None:
        self.inner(done, total, unit, note)
        if self.meter.seconds >= self.due:
            self.due = self.meter.seconds + NOTE_SECONDS
            with contextlib.suppress(OSError):  # a full disk is told by what the stage itself writes
                self.write()

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self.store.journal.write("stage_note", stage=self.step, id=self.identity, note=text)
        tell(self.inner, text)

    def write(self) -> None:
        seconds = self.before["seconds"] + self.meter.seconds
        self.store.spend(self.step, self.identity, seconds, self.before["cpu_seconds"] + self.meter.cpu)


@contextlib.contextmanager
def machine_errors(root: Path) -> Iterator[None]:
    """Tell a full disk or memory as what it is, wherever in a stage it showed."""
    try:
        yield
    except Exception as error:
        told = _machine_error(error, root)
        if told is None:
            raise
        raise told from error


def _machine_error(error: BaseException, root: Path) -> MachineError | None:
    link: BaseException | None = error
    while link is not None:
        number = link.errno if isinstance(link, OSError) else None
        if number in _FULL or any(words in str(link).lower() for words in _FULL_WORDS):
            return _full(_FULL.get(number or 0, _FULL[errno.ENOSPC]), root)
        if number == errno.EFBIG:
            return _full("a file would grow past the limit for files here", root)
        if isinstance(link, MemoryError):
            return MachineError(
                "memory ran out", where=str(root), hint="use fewer --workers, or a smaller model or batch"
            )
        link = link.__cause__ or link.__context__
    return None


def _full(what: str, root: Path) -> MachineError:
    there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free = format_bytes(shutil.disk_usage(there).free)
    return MachineError(
        f"{what}: {free} free where the store is",
        where=str(root),
        hint="make room and give the same command again: it goes on from here; nothing half-written counts as finished",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def plain(facts: Any, step: str) -> Any:
    """Facts as plain JSON values (numbers of numpy become Python's)."""
    try:
        return json.loads(json.dumps(facts or {}, default=lambda value: value.item(), allow_nan=False))
    except (TypeError, ValueError, AttributeError) as error:
        raise ShikomiError(f"the facts that stage {step} returned are not JSON: {error}", where=step) from error


def versions(also: Sequence[str] = ()) -> dict[str, str]:
    """Versions of this package, of Python, and of the libraries that are loaded, here or (``also``) by ranks."""
    import platform
    from importlib import metadata

    found = {"shikomi": metadata.version("shikomi"), "python": platform.python_version()}
    for name in VERSIONED:
        if name in sys.modules or name in also:
            with contextlib.suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
    return found


def machine() -> dict[str, Any]:
    """The machine a stage ran on, as far as it bears on time and rounding."""
    from shikomi.plan.hardware import describe

    return describe()
