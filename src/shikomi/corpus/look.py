"""What a finished corpus holds, as facts for the command line and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.io import read_json


def look(folder: Path) -> dict[str, Any]:
    """Counts (``read``, ``kept``, ``dropped_by_reason``, characters, bytes, hosts …) and samples of a corpus folder.

    Raises:
        DataError: the folder holds no finished corpus.
    """
    if not (folder / "funnel.json").exists():
        raise DataError("no finished corpus here: no funnel.json", where=str(folder), hint="build the corpus first")
    return {**read_json(folder / "funnel.json"), "samples": read_json(folder / "samples.json")}
