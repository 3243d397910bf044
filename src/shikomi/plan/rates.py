"""How fast this machine is: as `shikomi doctor` measured it, as earlier builds showed it, or as a stated guess."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shikomi.io import write_json
from shikomi.plan.hardware import describe

FORMAT = 2

GUESSED_BASIS = "nothing measured here yet: a guess for 2 processor cores; `shikomi doctor` measures"
MEASURED_BASIS = "measured by `shikomi doctor`"


@dataclass(frozen=True)
class Rates:
    """Speeds of one machine, and how far to trust them.

    Attributes:
        train: (width of the model, FLOP/s reached in training), widths rising.
        generate: FLOP/s reached when answering in batches, at the first width of ``train``.
        crawl: sample pages written a second.
        pages: a second and process, from WARC record to text and measures.
        corpus: pages a second and process, from measures to a verdict in a written shard.
        tokenizer: characters learned on a second.
        encode: characters encoded a second.
        start: seconds until a stage that trains has its libraries loaded.
        low, high: the time expected is taken times these for the range.
        basis: where the speeds come from, in words.
    """

    train: tuple[tuple[int, float], ...] = ((192, 3.0e10), (768, 8.0e10))
    generate: float = 1.0e10
    crawl: float = 800.0
    pages: float = 200.0
    corpus: float = 600.0
    tokenizer: float = 5.0e5
    encode: float = 1.0e6
    start: float = 4.0
    low: float = 0.2
    high: float = 4.0
    basis: str = GUESSED_BASIS

    def train_flops(self, width: int) -> float:
        """FLOP/s of training at a model's width: between measured widths on a log scale, at the nearest beyond them.

        Larger matrices come nearer to the machine's peak, which is why one figure does not do.
        """
        points = sorted(self.train)
        if width <= points[0][0]:
            return points[0][1]
        for (left, slow), (right, fast) in itertools.pairwise(points):
            if width <= right:
                share = math.log(width / left) / math.log(right / left)
                return slow * (fast / slow) ** share
        return points[-1][1]


def rates_path() -> Path:
    """The file that ``doctor`` keeps its measurements in: ``$SHIKOMI_CACHE/rates.json``, else in the user's cache."""
    folder = os.environ.get("SHIKOMI_CACHE")
    if folder:
        return Path(folder) / "rates.json"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shikomi" / "rates.json"


def save_rates(measured: Mapping[str, Any]) -> Path:
    """Keep measurements with the machine they hold for; returns the file."""
    path = rates_path()
    write_json(path, {"format": FORMAT, "machine": describe(), **measured})
    return path


def read_measured() -> dict[str, Any] | None:
    """What was measured on this machine; None if nothing was, or on another machine, or the file is damaged."""
    try:
        found = json.loads(rates_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not same_machine(found.get("machine")):
        return None
    return found


def same_machine(machine: Any) -> bool:
    """Whether a description is of a machine like this one: processor, cores and accelerators."""
    here = describe()
    return isinstance(machine, dict) and all(
        machine.get(name) == here[name] for name in ("processor", "cores", "accelerators")
    )


def read_rates() -> Rates:
    """Measured rates, or the guess; the range of a guess is much wider."""
    found = read_measured()
    if found is None:
        return Rates()
    try:
        told = found["rates"]
        return Rates(
            train=tuple((int(width), float(speed)) for width, speed in told["train"]),
            generate=float(told["generate"]),
            crawl=float(told["crawl"]),
            pages=float(told["pages"]),
            corpus=float(told["corpus"]),
            tokenizer=float(told["tokenizer"]),
            encode=float(told["encode"]),
            start=float(told["start"]),
            low=0.5,
            high=2.0,
            basis=MEASURED_BASIS,
        )
    except (KeyError, TypeError, ValueError):
        return Rates()


@dataclass(frozen=True)
class Seen:
    """One finished stage: how much it did, in the unit that ``work_done`` counts it in, and how long it took."""

    work: float
    seconds: float
    parameters: int = 0


@dataclass(frozen=True)
class Evidence:
    """What finished stages on this machine showed, newest first, by stage."""

    seen: Mapping[str, Sequence[Seen]] = field(default_factory=dict)

    def seconds(self, stage: str, work: float, parameters: int) -> float | None:
        """Seconds that so much work would take at the speed last seen; None where nothing like it was seen.

        Like it is: from a fifth to five times the work (the start of a stage weighs too much in smaller ones), and for
        models from a third to three times the parameters (larger matrices run faster). The stretches of training are
        one kind of work: what any of them showed counts for all.
        """
        kin = STRETCHES if stage in STRETCHES else (stage,)
        for found in [seen for name in (stage, *kin) for seen in self.seen.get(name, ())]:
            like = work / 5 <= found.work <= work * 5
            if stage in WITH_MODEL:
                like = like and parameters / 3 <= found.parameters <= parameters * 3
            if work and like:
                return found.seconds * work / found.work
        return None


STRETCHES = ("pretrain", "anneal", "sft")
WITH_MODEL = (*STRETCHES, "dpo", "evaluate")

LOW_OF_EVIDENCE, HIGH_OF_EVIDENCE = 0.6, 1.7
"""The range round a time that the same stage showed on this machine: other work on it comes and goes."""


def read_evidence(manifests: Mapping[str, Sequence[Mapping[str, Any]]]) -> Evidence:
    """What finished stages showed, from their manifests (newest first, by stage); other machines' are left out."""
    seen: dict[str, list[Seen]] = {}
    trained = (manifest for found in manifests.values() for manifest in found)
    parameters = {manifest["id"]: int((manifest.get("facts") or {}).get("parameters", 0)) for manifest in trained}
    for stage, found in manifests.items():
        for manifest in found:
            seconds, work = float(manifest.get("seconds") or 0), work_done(stage, manifest)
            if work > 0 and seconds > 0 and same_machine(manifest.get("machine")):
                models = [parameters.get(one["id"], 0) for one in manifest.get("inputs", {}).values()]
                size = parameters[manifest["id"]] or max(models, default=0)
                seen.setdefault(stage, []).append(Seen(work, seconds, size))
    return Evidence(seen)


def work_done(stage: str, manifest: Mapping[str, Any]) -> float:
    """How much a finished stage did, in the unit that ``plan.estimate`` counts it in; 0 if its facts do not say."""
    facts = manifest.get("facts") or {}
    try:
        if stage == "crawl":
            return float(facts["pages"])
        if stage in ("pages", "corpus"):
            return float(facts["read"])
        if stage == "tokenizer":
            return float(facts.get("characters", 0))
        if stage == "tokens":
            return float(sum(facts[split]["characters"] for split in ("train", "heldout")))
        if stage in ("pretrain", "anneal", "sft"):
            return float(facts["positions"]) * float(facts["flops_per_token"])
        if stage == "dpo":
            return float(facts["positions"])
        if stage == "evaluate":
            return float(facts["questions"])
    except (KeyError, TypeError, ValueError):
        return 0.0
    return 0.0
