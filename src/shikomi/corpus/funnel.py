"""Counts and samples of a corpus: what was read, what was kept, and what each reason took, adding up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from shikomi.data.document import KEPT, MEASURES

KEPT_SAMPLES = 20
DROPPED_SAMPLES_A_REASON = 3
EXCERPT_CHARACTERS = 240
LARGEST_HOSTS = 50

COUNTED = [
    "id", "source", "url", "host", "date", "licence", "charset", "verdict", "reason", "detail", "duplicate_of", "bytes",
    "characters",
]  # fmt: skip
"""Columns a row needs to be counted."""


class Funnel:
    """Sums up every row; the samples are those with the smallest ids (a fair draw), wherever they stand.

    Attributes:
        shard: number of the shard whose rows are added; funnels of all shards are merged to one.
    """

    def __init__(self, shard: int = 0) -> None:
        self.shard = shard
        self.read = 0
        self.kept = 0
        self.dropped: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.hosts: dict[str, list[int]] = {}
        self.licences: Counter[str] = Counter()
        self.charsets: Counter[str] = Counter()
        self.years: Counter[str] = Counter()
        self.masked: Counter[str] = Counter()
        self.contaminated: list[dict[str, Any]] = []
        self.sources: dict[str, list[int]] = {}
        self.samples: dict[str, list[tuple[str, int, int, dict[str, Any]]]] = {}

    def add(self, row: dict[str, Any], whole: Callable[[], dict[str, Any]]) -> None:
        """Count one row of a shard.

        Args:
            row: the columns ``COUNTED``.
            whole: gives all columns of the row; asked for only if the row becomes a sample.
        """
        kept = row["verdict"] == KEPT
        self.read += 1
        places = (self.hosts.setdefault(row["host"], [0, 0, 0]), self.sources.setdefault(row["source"], [0, 0, 0]))
        for place in places:
            place[0] += 1
            place[1] += kept
            place[2] += row["characters"] if kept else 0
        self.characters["read"] += row["characters"]
        self.bytes["read"] += row["bytes"]
        if kept:
            self.kept += 1
            self.characters["kept"] += row["characters"]
            self.bytes["kept"] += row["bytes"]
            self.licences[row["licence"] or "unknown"] += 1
            self.charsets[row["charset"]] += 1
            self.years[row["date"][:4] or "unknown"] += 1
        else:
            self.dropped[row["reason"]] += 1
            self.characters[row["reason"]] += row["characters"]
        reason = "" if kept else row["reason"]
        chosen = self.samples.get(reason, [])
        if len(chosen) < _wanted(reason) or row["id"] < chosen[-1][0]:
            self._choose(reason, [(row["id"], self.shard, self.read, _sample({**whole(), **row}))])

    def merge(self, other: Funnel) -> None:
        """Add what another funnel has counted; in which order shards are merged does not matter."""
        self.read += other.read
        self.kept += other.kept
        for mine, theirs in (
            (self.dropped, other.dropped),
            (self.characters, other.characters),
            (self.bytes, other.bytes),
            (self.licences, other.licences),
            (self.charsets, other.charsets),
            (self.years, other.years),
            (self.masked, other.masked),
        ):
            mine.update(theirs)
        for mine, theirs in ((self.hosts, other.hosts), (self.sources, other.sources)):
            for name, counts in theirs.items():
                mine[name] = [a + b for a, b in zip(mine.get(name, (0, 0, 0)), counts, strict=True)]
        self.contaminated += other.contaminated
        for reason, samples in other.samples.items():
            self._choose(reason, samples)

    def _choose(self, reason: str, more: list[tuple[str, int, int, dict[str, Any]]]) -> None:
        entries = sorted([*self.samples.get(reason, []), *more], key=lambda entry: entry[:3])
        self.samples[reason] = entries[: _wanted(reason)]

    def counts(self) -> dict[str, Any]:
        """The funnel; ``read`` is ``kept`` and the sum of ``dropped_by_reason``."""
        assert self.read == self.kept + sum(self.dropped.values())
        hosts = sorted(self.hosts.items(), key=lambda item: (-item[1][2], -item[1][0], item[0]))[:LARGEST_HOSTS]
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped_by_reason": dict(sorted(self.dropped.items(), key=lambda item: (-item[1], item[0]))),
            "characters_read": self.characters["read"],
            "characters_kept": self.characters["kept"],
            "characters_dropped_by_reason": {name: self.characters[name] for name in sorted(self.dropped)},
            "bytes_read": self.bytes["read"],
            "bytes_kept": self.bytes["kept"],
            "sources": {
                name: {"read": read, "kept": kept, "characters_kept": characters}
                for name, (read, kept, characters) in sorted(self.sources.items())
            },
            "masked": dict(sorted(self.masked.items())),
            "num_hosts": len(self.hosts),
            "hosts": [
                {"host": host, "read": read, "kept": kept, "characters_kept": characters}
                for host, (read, kept, characters) in hosts
            ],
            "licences": dict(sorted(self.licences.items(), key=lambda item: (-item[1], item[0]))),
            "charsets": dict(sorted(self.charsets.items(), key=lambda item: (-item[1], item[0]))),
            "years": dict(sorted(self.years.items())),
        }

    def chosen_samples(self) -> dict[str, list[dict[str, Any]]]:
        """``kept`` and ``dropped`` samples, each with the start of its text and the measure that decided."""
        dropped = [sample for reason in sorted(self.samples) if reason for *_, sample in self.samples[reason]]
        return {"kept": [sample for *_, sample in self.samples.get("", [])], "dropped": dropped}


def _wanted(reason: str) -> int:
    return DROPPED_SAMPLES_A_REASON if reason else KEPT_SAMPLES


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    text = row["text"]
    cut = text[:EXCERPT_CHARACTERS] + ("…" if len(text) > EXCERPT_CHARACTERS else "")
    names = ("id", "url", "host", "date", "reason", "detail", "duplicate_of", "characters")
    measures = {name: row[name] for name in MEASURES if row[name] is not None}
    return {**{name: row[name] for name in names}, "excerpt": cut, "measures": measures}


def one_line(counts: dict[str, Any]) -> str:
    """The funnel in one line, for messages: ``read 12, kept 0: not_japanese 9, letters 3``."""
    reasons = ", ".join(f"{reason} {number}" for reason, number in counts["dropped_by_reason"].items())
    return f"read {counts['read']}, kept {counts['kept']}" + (f": {reasons}" if reasons else "")
