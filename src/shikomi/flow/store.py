"""The store: what is built, by step and id; a folder counts as finished when it holds its manifest.

Layout::

    <store>/<step>/<id>/           finished: what the step wrote, and manifest.json, written last
    <store>/work/<step>-<id>/      being built, or cut off and to be gone on with; scratch/ in it is thrown away
    <store>/work/<step>-<id>.spent.json   seconds spent by attempts that were cut off
    <store>/journal.jsonl          what happened, one event a line
    <store>/hashes.json            contents of outside files, by path, size and times of change
    <store>/builds/<recipe>.json   which ids belong to a recipe, and when it was last built
    <store>/reports/               one HTML page a recipe
    <store>/lock                   held by the build that runs
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from shikomi.errors import DataError, MachineError
from shikomi.io import PARTIAL_SUFFIX, damaged_files, read_json, sha256_file, sync_folder, write_json
from shikomi.log import Journal

MANIFEST = "manifest.json"
SCRATCH = "scratch"
TRASH_SUFFIX = ".trash"
SETTLED_NS = 2 * 10**9
"""A file changed less than this long ago is hashed again: file systems keep times as coarse as two seconds (FAT)."""


class Store:
    """A folder of finished and unfinished stages. Making the object touches no file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock_path = root / "lock"
        self.journal = Journal(root / "journal.jsonl")
        self.reports = root / "reports"
        self._hashes: dict[str, list] | None = None
        self._hashes_changed = False

    def create(self) -> None:
        """Make the folder.

        Raises:
            MachineError: it cannot be made or written into.
        """
        try:
            (self.root / "work").mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise MachineError(
                "the store is a file, not a folder", where=str(self.root), hint="name another --store"
            ) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # told by the runner, with what is free
            what = f"the store cannot be made or written: {error.strerror}"
            raise MachineError(what, where=str(self.root), hint="name another --store") from error

    def final(self, step: str, identity: str) -> Path:
        """Where a finished stage lives."""
        return self.root / step / identity

    def work(self, step: str, identity: str) -> Path:
        """Where a stage is being built."""
        return self.root / "work" / f"{step}-{identity}"

    def manifest(self, step: str, identity: str) -> dict[str, Any] | None:
        """The manifest of a finished stage, None if there is none."""
        path = self.final(step, identity) / MANIFEST
        return read_json(path) if path.is_file() else None

    def manifests(self, step: str) -> list[dict[str, Any]]:
        """Every finished result of a step, newest first."""
        found = [read_json(path) for path in (self.root / step).glob(f"*/{MANIFEST}")]
        return sorted(found, key=lambda manifest: (manifest.get("finished", 0), manifest["id"]), reverse=True)

    def damage(self, step: str, identity: str) -> str:
        """What is wrong with a finished stage's files (missing, or of another size); empty if nothing is."""
        manifest = self.manifest(step, identity) or {}
        return damaged_files(self.final(step, identity), manifest.get("files", {}))

    def begin(self, step: str, identity: str) -> Path:
        """The work folder of a stage, with whatever an earlier attempt left in it."""
        folder = self.work(step, identity)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def spent(self, step: str, identity: str) -> dict[str, float]:
        """Seconds that attempts which were cut off have taken: ``seconds`` (wall) and ``cpu_seconds``."""
        path = self._spent_path(step, identity)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return {"seconds": float(told["seconds"]), "cpu_seconds": float(told["cpu_seconds"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {"seconds": 0.0, "cpu_seconds": 0.0}

    def spend(self, step: str, identity: str, seconds: float, cpu_seconds: float) -> None:
        """Note what a stage has taken so far, earlier attempts included."""
        write_json(
            self._spent_path(step, identity), {"seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2)}
        )

    def publish(self, step: str, identity: str, manifest: dict[str, Any]) -> Path:
        """Finish a stage: flush every file, write the manifest, rename the folder, throw scratch away.

        At whatever instant this is cut off, the stage is either finished or still in ``work/`` with all it resumes
        from: scratch goes last, and in one rename, so that no attempt ever meets half of it.
        """
        folder = self.work(step, identity)
        files = {}
        for path in sorted(folder.rglob("*")):
            if path.relative_to(folder).parts[0] == SCRATCH:
                continue
            if path.name.endswith(PARTIAL_SUFFIX):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_file() and path != folder / MANIFEST:
                files[path.relative_to(folder).as_posix()] = path.stat().st_size
                _flush(path)
        write_json(folder / MANIFEST, {**manifest, "files": files, "finished": round(time.time(), 3)})
        return self.move_in(step, identity)

    def move_in(self, step: str, identity: str) -> Path:
        """Rename a work folder that holds its manifest to where finished stages live."""
        folder, final = self.work(step, identity), self.final(step, identity)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():  # damaged, or put there by hand without a manifest
            self.discard(step, identity)
        trash = folder.with_name(folder.name + TRASH_SUFFIX)
        shutil.rmtree(trash, ignore_errors=True)
        if (folder / SCRATCH).exists():
            (folder / SCRATCH).rename(trash)
        folder.rename(final)
        sync_folder(final.parent)
        shutil.rmtree(trash, ignore_errors=True)
        spent = self._spent_path(step, identity)
        for path in (spent, spent.with_name(spent.name + PARTIAL_SUFFIX)):  # the latter from a kill, or a full disk
            path.unlink(missing_ok=True)
        return final

    def sweep(self) -> None:
        """Delete the scratch of finished stages that a killed build left behind; the caller holds the lock."""
        for trash in self.root.glob(f"work/*{TRASH_SUFFIX}"):
            shutil.rmtree(trash, ignore_errors=True)

    def discard(self, step: str, identity: str) -> None:
        """Take a finished stage away, so that it never looks finished while it is being deleted."""
        final = self.final(step, identity)
        (final / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(final)

    def record(self, recipe: str, told: dict[str, Any]) -> None:
        """Keep what a recipe's latest build is made of."""
        write_json(self.root / "builds" / f"{recipe}.json", told)

    def content(self, path: Path) -> str:
        """SHA-256 of an outside file, remembered by its path, size and times of change.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"cannot read file: {error.strerror}", where=str(path)) from error
        key, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self._known()
        settled = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS
        if settled and known.get(key, [])[:-1] == stamp:
            return known[key][-1]
        found = sha256_file(path)
        if settled:
            known[key] = [*stamp, found]
            self._hashes_changed = True
        return found

    def save_hashes(self) -> None:
        """Keep what ``content`` found out; only where the store exists already."""
        if self._hashes_changed and self.root.is_dir():
            write_json(self.root / "hashes.json", self._hashes)
            self._hashes_changed = False

    def _known(self) -> dict[str, list]:
        if self._hashes is None:
            try:
                self._hashes = json.loads((self.root / "hashes.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                self._hashes = {}
            told = self._hashes if isinstance(self._hashes, dict) else {}
            self._hashes = {path: row for path, row in told.items() if isinstance(row, list)}
        return self._hashes

    def _spent_path(self, step: str, identity: str) -> Path:
        return self.root / "work" / f"{step}-{identity}.spent.json"


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
