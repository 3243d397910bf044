"""How much of this machine a verb uses, said before any library that counts threads is loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shikomi.compute.pool import Pool
    from shikomi.recipe.mesh import TrainingSite
    from shikomi.recipe.site import Site


def open_site(path: Path | None) -> Site:
    """The site file, or the site that is this machine as it is.

    Raises:
        RecipeError: the file is wrong.
    """
    from shikomi.recipe.site import Site, load_site

    return load_site(path) if path is not None else Site()


def threads_and_workers(site: Site | None = None, workers: int | None = None) -> tuple[int, int]:
    """Threads of one process and processes of a stage: the user's word, else the site's, else all processors.

    Also tells the numerical libraries: they count the machine's processors, not those a container grants.
    """
    from shikomi.plan.hardware import usable_cores

    cores = usable_cores()
    threads, processes = cores, cores
    if site is not None:
        threads, processes = site.threads or cores, site.workers or cores
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if told.isdecimal() and int(told) > 0:
        threads = int(told)
    # One count for all: a library that starts more threads than another waits for fights it for the processors.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))
    # Threads that wait by spinning burn the processor that the others need: with other work on 2 cores a training step
    # ran at 350 tokens/s spinning and 2,030 waiting asleep (docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return threads, workers or processes


PROFILED = "4-6"
"""Steps that ``--profile`` traces: behind the first ones, which load and compile."""


def training_site(site: Site, *, profile: bool = False) -> TrainingSite:
    """How training stages work on a site.

    Args:
        site: where the build runs.
        profile: trace a few steps, also where the site does not say which.
    """
    found = site.training
    return found.model_copy(update={"profile_steps": PROFILED}) if profile and not found.profile_steps else found


def open_pool(site: Site, workers: int, store: Path, asked: int | None = None) -> Pool:
    """The pool that a site asks for; its workers are processes of their own, which may be ended.

    Args:
        site: where the build runs.
        workers: processes to use on this machine.
        store: a folder that every worker must see.
        asked: processes the user asked for; of a cluster else the site says how many.
    """
    from shikomi.compute.local import LocalPool
    from shikomi.compute.pool import Limits

    limits = Limits(site.page_time, site.page_memory)
    if site.ray is not None:
        from shikomi.compute.ray import RayPool

        return RayPool(site.ray.address, workers=asked or site.workers, limits=limits, shared=store)
    return LocalPool(workers, limits=limits, apart=True)
