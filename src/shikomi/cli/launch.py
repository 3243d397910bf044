"""Who starts the ranks of training stages: what the user says, else what the site file says."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shikomi.errors import UsageError

if TYPE_CHECKING:
    from shikomi.compute.torchrun import Ranks, Torchrun
    from shikomi.recipe.site import Site

KINDS = ("process", "torchrun", "slurm")


@dataclass(frozen=True)
class Asked:
    """What the user said about launching: empty and 0 where nothing was said."""

    kind: str = ""
    ranks: int = 0
    rendezvous: str = ""


@dataclass(frozen=True)
class Given:
    """The words of a command, as every process of a build repeats them."""

    recipe: Path
    store: Path
    overrides: tuple[str, ...]
    site: Path | None
    profile: bool = False

    def words(self) -> list[str]:
        """Recipe, store, overrides and site; and whether steps are traced."""
        words = [str(self.recipe), "--store", str(self.store)]
        for override in self.overrides:
            words += ["--set", override]
        words += ["--site", str(self.site)] if self.site else []
        return words + (["--profile"] if self.profile else [])


def kind_of(asked: Asked, site: Site) -> str:
    """``process``, ``torchrun`` or ``slurm``.

    Raises:
        UsageError: options that mean nothing beside it.
    """
    kind = asked.kind or site.launch.kind
    if asked.ranks and kind != "torchrun":
        raise UsageError(
            "--ranks needs --launch torchrun",
            where=f"--launch {kind}",
            hint="add --launch torchrun; of a job the site says it: [slurm] gpus, or [launch] ranks",
        )
    return kind


def ranks_of(asked: Asked, site: Site, kind: str) -> Ranks:
    """How many ranks, where; said before any stage runs if the mesh does not fit them.

    Raises:
        UsageError: the mesh does not fit the number of ranks, or a job's script is not run with its site file.
    """
    from shikomi.compute.slurm import srun_words
    from shikomi.compute.torchrun import Ranks
    from shikomi.plan.hardware import accelerators

    mesh, launch, slurm = site.training.mesh, site.launch, site.slurm
    product = mesh.sharers * max(1, mesh.shard)
    if kind == "process":
        found = Ranks(1, restarts=0)
    elif kind == "slurm" or asked.rendezvous:
        if slurm is None:
            raise UsageError(
                "the site file has no [slurm] page", where="--site", hint="see sites/slurm.toml for an example"
            )
        here = launch.ranks or slurm.gpus or math.ceil(product / slurm.nodes)
        python = slurm.python or sys.executable
        meet = asked.rendezvous or f"$MASTER_ADDR:{launch.port}"
        found = Ranks(here, slurm.nodes, launch.restarts, meet, srun_words(slurm), python)
    else:
        here = asked.ranks or launch.ranks or len(accelerators()) or product
        found = Ranks(here, restarts=launch.restarts)
    if found.total > 1 or product > 1:
        from shikomi.compute.mesh import resolve_degrees

        resolve_degrees(mesh, found.total)
    return found


def launcher(asked: Asked, site: Site, given: Given, threads: int) -> Torchrun | None:
    """What runs training stages in ranks of their own; None: they run in the build's process.

    Raises:
        UsageError: see ``kind_of`` and ``ranks_of``.
    """
    kind = kind_of(asked, site)
    ranks = ranks_of(asked, site, kind)
    if kind == "process":
        return None
    from shikomi.compute.torchrun import Torchrun

    return Torchrun(ranks, _rank_words(given), threads)


def _rank_words(given: Given) -> Callable[[str, str], list[str]]:
    return lambda stage, identity: ["shikomi.cli.rank", *given.words(), "--stage", stage, "--id", identity]


def submit_build(asked: Asked, site: Site, given: Given, name: str, more: list[str], *, dry: bool) -> str:
    """Write the build as a batch script and hand it in; returns the script (``dry``) or what to tell the user.

    Args:
        name: the recipe's name.
        more: further words of the build command.
        dry: return the script and touch nothing.

    Raises:
        UsageError: see ``ranks_of``.
        MachineError: there is no ``sbatch`` here.
        ShikomiError: it refused the script.
    """
    from shikomi.compute.slurm import batch_script, slug, submit

    ranks = ranks_of(asked, site, "slurm")
    assert site.slurm is not None  # ranks_of has asked
    folder = given.store.absolute() / "launch"
    build = [sys.executable, "-m", "shikomi.cli.main", "build", *given.words(), *more, "--launch", "torchrun"]
    shown = ranks.command("STAGE-ID", _rank_words(given)("STAGE", "ID"))
    log = folder / f"{slug(name)}-%j.log"
    script = batch_script(site.slurm, name, build, shown, Path.cwd(), log, site.launch.port)
    if dry:
        return script
    path = folder / f"{slug(name)}.sbatch"
    job = submit(script, path)
    return f"submitted: job {job}\nscript: {path}\nlog:    {str(log).replace('%j', job)}"
