"""``shikomi doctor``: whether this machine will do, and how fast it is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from shikomi.cli.options import with_json

LIBRARIES = ("click", "pydantic", "numpy", "pyarrow", "fastwarc", "resiliparse", "tokenizers", "safetensors", "torch")
LEAST_MEMORY_BYTES = 3_500_000_000
"""The quickstart is made for a machine of 4 GB, of which the system takes its part."""
LEAST_DISK_BYTES = 1_000_000_000
"""The quickstart's store takes about 150 MB; checkpoints and later builds come on top."""
MEASURE_SECONDS = 240.0
"""Measuring is given up after this long: the machine is too busy for its figures to mean anything."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: its name, what was found, whether it will do, and what to do if not."""

    name: str
    found: str
    is_fit: bool = True
    hint: str = ""


@click.command("doctor")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default="store",
    envvar="SHIKOMI_STORE",
    help="Folder whose disk is looked at.",
)
@click.option("--bench", is_flag=True, help="Measure the speeds anew.")
@with_json
def command(store: Path, bench: bool, as_json: bool) -> None:
    """Look at this machine; measure its speeds if that was not done yet. `plan` reads them."""
    from shikomi.cli.screen import say_error, show, show_json
    from shikomi.errors import MachineError
    from shikomi.plan.rates import rates_path, read_measured

    findings = [*look_at_machine(), *look_at_libraries(), look_at_disk(store)]
    unfit = [one for one in findings if not one.is_fit]
    measured = read_measured()
    if not unfit and (bench or measured is None):
        measured = measure_apart() or measured
    if as_json:
        told = {one.name: {"found": one.found, "fit": one.is_fit, "hint": one.hint} for one in findings}
        show_json({"fit": not unfit, "findings": told, "measured": measured, "rates_path": str(rates_path())})
    else:
        show(findings_text(findings, measured))
    for one in unfit:
        say_error(MachineError(f"{one.name}: {one.found}", where="this machine", hint=one.hint))
    if unfit:
        sys.exit(MachineError.exit_code)


def look_at_machine() -> list[Finding]:
    """Python, processors, memory, accelerators, and how busy the machine is."""
    import platform

    from shikomi.plan.hardware import accelerators, memory_bytes, processor, usable_cores
    from shikomi.units import format_bytes

    version, cores, memory = platform.python_version(), usable_cores(), memory_bytes()
    load = os.getloadavg()[0]
    return [
        Finding("python", version, (3, 11) <= sys.version_info[:2] < (3, 14), "use Python 3.11, 3.12 or 3.13"),
        Finding("processor", processor()),
        Finding("cores", str(cores)),
        Finding("load", f"{load:.1f}" + (" (busy: measurements will be low)" if load > cores else "")),
        Finding(
            "memory",
            format_bytes(memory),
            memory >= LEAST_MEMORY_BYTES,
            "the quickstart needs a machine, or a container limit, of 4 GB",
        ),
        Finding("accelerators", ", ".join(accelerators()) or "none"),
    ]


def look_at_libraries() -> list[Finding]:
    """Versions of what the stages need, read from their metadata: nothing is loaded."""
    from importlib import metadata

    findings = []
    for name in LIBRARIES:
        try:
            findings.append(Finding(name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            findings.append(Finding(name, "missing", False, "`make setup` installs it"))
    return findings


def look_at_disk(store: Path) -> Finding:
    """Room where the store is or would be."""
    from shikomi.units import format_bytes

    there = next(folder for folder in (store, *store.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    hint = "make room, or name a --store on another disk"
    return Finding("free disk", format_bytes(free), free >= LEAST_DISK_BYTES, hint)


def measure_apart() -> dict[str, Any] | None:
    """Measure in a process of its own and keep the figures; None where that failed or took too long (it is said)."""
    import subprocess

    from shikomi.cli.machine import threads_and_workers
    from shikomi.cli.screen import say
    from shikomi.plan.rates import read_measured, save_rates

    threads_and_workers()
    say("measuring this machine's speed, once (about half a minute) …")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "shikomi.cli.measure"],
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr.isatty() else subprocess.PIPE,
            timeout=MEASURE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        say(f"given up after {MEASURE_SECONDS:.0f} s: the machine is too busy; `shikomi doctor --bench` measures later")
        return None
    if done.returncode:
        say((done.stderr or b"").decode("utf-8", "replace")[-2000:])
        say("measuring failed; `shikomi plan` uses a guess instead")
        return None
    save_rates(json.loads(done.stdout.decode().strip().splitlines()[-1]))
    return read_measured()


def findings_text(findings: list[Finding], measured: dict[str, Any] | None) -> str:
    """What was found as a table, then the speeds."""
    from shikomi.cli.screen import paint, table

    rows = [[paint("ok", "green") if one.is_fit else paint("NO", "red"), one.name, one.found] for one in findings]
    parts = [table(rows, head=False)]
    if measured:
        rates = measured["rates"]
        parts += [
            "",
            f"matrix products  {measured['gemm_gflops']:,.0f} GFLOP/s ({measured['device']})",
            f"training         {measured['train_tokens_per_second']:,} tokens/s ({measured['reference']})",
            f"pages            {rates['pages']:,.0f} pages/s and process, read",
            f"corpus           {rates['corpus']:,.0f} pages/s and process, decided",
        ]
    return "\n".join(parts)
