"""How training stages are started on a site: in one process, in several on this machine, or as a job of a cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shikomi.recipe.page import Page, Seconds

Word = Annotated[str, Field(pattern=r"^[\w.,:@/+=\-]*$")]
"""A name as Slurm has them: no blanks, no quotes."""
Line = Annotated[str, Field(pattern=r"^[^\n\r]*$")]
"""One line of text."""


class LaunchPage(Page):
    """Who starts the ranks of a training stage (``shikomi build --launch`` has the last word)."""

    kind: Literal["process", "torchrun", "slurm"] = "process"
    """``process``: none, the stage runs in the build's own process; ``torchrun``: ranks on this machine; ``slurm``: the
    build is written as a batch script and submitted."""
    ranks: int = Field(default=0, ge=0)
    """Ranks on each machine; 0: one for each GPU, or as many as ``training.mesh`` multiplies to where there is none."""
    restarts: int = Field(default=3, ge=0)
    """How often the ranks of a stage are started anew from the last checkpoint when one of them dies."""
    port: int = Field(default=29500, ge=1024, le=65535)
    """Port on the first node of a job where its machines meet."""


class SlurmPage(Page):
    """The job that a build becomes on a Slurm cluster."""

    nodes: int = Field(default=1, ge=1)
    """Machines of the job."""
    gpus: int = Field(default=8, ge=0)
    """GPUs of each node, a rank for each; 0: none are asked for (``launch.ranks`` then says how many ranks)."""
    cpus: int = Field(default=0, ge=0)
    """Processors of each node; 0: what the cluster gives by itself."""
    time: Seconds = Field(default="24h", ge=60)  # type: ignore[assignment]
    """Time limit of one turn in the queue; ``notice`` before it the stage saves and the job queues again."""
    notice: Seconds = Field(default="2min", ge=1, le=65535)  # type: ignore[assignment]
    """How long before the limit the job is told: two steps and a checkpoint must fit in."""
    partition: Word = ""
    """Partition; empty: the cluster's default."""
    account: Word = ""
    """Account that is charged; empty: the user's own."""
    options: list[Line] = []
    """More options of ``sbatch``, one a text: ``"--qos=long"``, ``"--exclusive"``."""
    srun: list[Line] = []
    """More words for ``srun``, such as those of a container plugin: ``"--container-image=…"``."""
    container: list[Line] = []
    """Words in front of Python on every node: ``["apptainer", "exec", "--nv", "shikomi.sif"]``."""
    python: Line = ""
    """Python of the ranks; empty: the one that runs ``shikomi build``, under the same path on every node."""
    setup: list[Line] = []
    """Shell lines at the head of the script: ``"module load cuda"``, ``"source .venv/bin/activate"``."""
