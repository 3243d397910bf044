"""What came of what: the finished results of a store that stand on a result, by their manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shikomi.errors import DataError
from shikomi.flow.store import MANIFEST, Store
from shikomi.io import read_json

FORGOTTEN = "forget.txt"
"""The store's own opt-out list: what ``shikomi forget`` was told. It enters every later corpus as a source."""

Result = tuple[str, str]
"""(step, id)"""


@dataclass(frozen=True)
class Lineage:
    """The finished results of a store.

    Attributes:
        inputs: the results each one was made of, directly.
    """

    inputs: dict[Result, tuple[Result, ...]]

    def of(self, steps: tuple[str, ...]) -> list[Result]:
        """The results of some steps, in the order of ``steps``, then by id."""
        return sorted((one for one in self.inputs if one[0] in steps), key=lambda one: (steps.index(one[0]), one[1]))

    def origins(self, result: Result) -> set[Result]:
        """Everything a result stands on, however far back; also what is no longer in the store."""
        found: set[Result] = set()
        waiting = [result]
        while waiting:
            for one in self.inputs.get(waiting.pop(), ()):
                if one not in found:
                    found.add(one)
                    waiting.append(one)
        return found


def read_lineage(store: Store) -> Lineage:
    """The lineage of all finished results; a manifest that cannot be read has no inputs."""
    inputs: dict[Result, tuple[Result, ...]] = {}
    for path in sorted(store.root.glob(f"*/*/{MANIFEST}")):
        if path.parent.parent.name == "work":
            continue
        inputs[path.parent.parent.name, path.parent.name] = _inputs(path)
    return Lineage(inputs)


def _inputs(manifest: Path) -> tuple[Result, ...]:
    try:
        given = read_json(manifest).get("inputs", {}).values()
        return tuple((one["step"], one["id"]) for one in given if "step" in one)
    except (DataError, AttributeError, KeyError, TypeError):
        return ()
