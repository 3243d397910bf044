"""A build as a Slurm job: the batch script, and handing it in.

The script runs ``shikomi build --launch torchrun`` on the job's first node: data stages in that process, each training
stage as ``srun … torchrun`` on all nodes. Some time before the limit Slurm signals the script; the stage writes a
checkpoint, and the job goes back into the queue.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from shikomi.errors import MachineError, ShikomiError
from shikomi.io import atomic
from shikomi.recipe.launch import SlurmPage

ADDRESS = '"$MASTER_ADDR:$MASTER_PORT"'
"""Where the machines of a job meet, as the script's shell knows it."""

_BODY = """
set -u
cd {folder}
{setup}MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
MASTER_PORT={port}
export MASTER_ADDR MASTER_PORT
# srun does not take this over from sbatch by itself (Slurm 22.05 and later).
export SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-}}"
[ -n "$SRUN_CPUS_PER_TASK" ] || unset SRUN_CPUS_PER_TASK

# Data stages run here, on the first node. Each training stage starts its ranks by
#   {ranks}
build=; asked=; heard=0
pass_on() {{ asked=$1; heard=$((heard + 1)); [ -z "$build" ] || kill -"$1" "$build"; }}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM
{build} &
build=$!
[ -z "$asked" ] || kill -"$asked" "$build"
# A signal ends `wait` before the build does: wait until none came in between.
until before=$heard; wait "$build"; code=$?; [ "$heard" = "$before" ]; do :; done

# Stopped on request: 0 in a training stage (its checkpoint is written), 128 and more in a stage that goes on by itself.
if [ "$asked" = USR1 ] && {{ [ "$code" -eq 0 ] || [ "$code" -ge 128 ]; }}; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def srun_words(page: SlurmPage) -> tuple[str, ...]:
    """What starts one torchrun on each node of the job."""
    spread = (f"--nodes={page.nodes}", f"--ntasks={page.nodes}", "--ntasks-per-node=1")
    return ("srun", *spread, "--kill-on-bad-exit=1", *page.srun, *page.container)


def batch_script(
    page: SlurmPage, name: str, build: list[str], ranks: list[str], folder: Path, log: Path, port: int
) -> str:
    """The script of a job.

    Args:
        page: the site's ``[slurm]``.
        name: the recipe's name.
        build: the words of the build without where the machines meet.
        ranks: the words that start a stage's ranks, shown in a comment.
        folder: where the build is run.
        log: what the job prints goes there; ``%j`` becomes the job's number.
        port: where the machines meet, on the first node.
    """
    options = [f"--job-name=shikomi-{slug(name)}", f"--nodes={page.nodes}", "--ntasks-per-node=1"]
    options += [f"--gpus-per-node={page.gpus}"] if page.gpus else []
    options += [f"--cpus-per-task={page.cpus}"] if page.cpus else []
    options += [f"--partition={page.partition}"] if page.partition else []
    options += [f"--account={page.account}"] if page.account else []
    options += [f"--time={_clock(page.time)}", "--requeue", f"--signal=B:USR1@{round(page.notice)}"]
    options += [f'--output="{log}"', "--open-mode=append", *page.options]
    head = [
        "#!/bin/bash",
        "# Written by `shikomi build --launch slurm`; hand it in again with sbatch, or give that command.",
    ]
    body = _BODY.format(
        folder=shlex.quote(str(folder)),
        setup="".join(line + "\n" for line in page.setup),
        port=port,
        ranks=" ".join(ranks),
        build=f"{shlex.join(build)} --rendezvous {ADDRESS}",
    )
    return "\n".join([*head, *(f"#SBATCH {option}" for option in options)]) + "\n" + body


def submit(script: str, path: Path) -> str:
    """Write a script and hand it in; returns the job's number.

    Raises:
        MachineError: there is no ``sbatch`` here.
        ShikomiError: it refused the script.
    """
    if shutil.which("sbatch") is None:
        raise MachineError(
            "sbatch is not on this machine",
            where=f"--launch slurm, script {path.name}",
            hint="give the command on a login node of the cluster; --dry-run prints the script anywhere",
        )
    with atomic(path) as handle:
        handle.write(script)
    done = subprocess.run(["sbatch", "--parsable", str(path)], capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise ShikomiError(
            f"sbatch refused the job: {said[-1]}",
            where=str(path),
            hint="see [slurm] of the site file; `sinfo` lists partitions",
        )
    return done.stdout.strip().split(";")[0]


def slug(name: str) -> str:
    """A name as part of a file's: letters, digits, dots and hyphens."""
    return re.sub(r"[^\w.\-]+", "-", name).strip("-") or "build"


def _clock(seconds: float) -> str:
    """Seconds as Slurm writes a time limit: days-hours:minutes:seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}-{hour:02d}:{minute:02d}:{second:02d}"
