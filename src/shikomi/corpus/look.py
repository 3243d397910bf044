"""What a finished corpus holds, as facts for the command line and the report."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.io import read_json

_MEMBERS = 4
_AROUND = 60


def look(folder: Path) -> dict[str, Any]:
    """Counts (``read``, ``kept``, ``dropped_by_reason``, characters, bytes, hosts …) and samples of a corpus folder.

    Raises:
        DataError: the folder holds no finished corpus.
    """
    if not (folder / "funnel.json").exists():
        raise DataError("no finished corpus here: no funnel.json", where=str(folder), hint="build the corpus first")
    return {**read_json(folder / "funnel.json"), "samples": read_json(folder / "samples.json")}


def look_drops(folder: Path) -> dict[str, Any]:
    """Reasons with pages and characters each took, and dropped samples with the measure that decided."""
    found = look(folder)
    characters = found["characters_dropped_by_reason"]
    reasons = [
        {"reason": reason, "documents": count, "characters": characters.get(reason, 0), "share": count / found["read"]}
        for reason, count in found["dropped_by_reason"].items()
    ]
    return {"read": found["read"], "reasons": reasons, "samples": found["samples"]["dropped"]}


def look_hosts(folder: Path) -> dict[str, Any]:
    """Hosts by characters kept, sources and years: how many documents were read and kept of each."""
    found = look(folder)
    return {name: found[name] for name in ("read", "kept", "num_hosts", "hosts", "sources", "years")}


def look_duplicates(folder: Path, num_clusters: int) -> dict[str, Any]:
    """The largest clusters of copies, their documents side by side.

    Args:
        folder: of a finished corpus.
        num_clusters: to show, the largest first.

    Returns:
        ``clusters`` (how many there are), ``copies`` (documents that repeat another), and ``shown``: of each cluster
        its size and up to 4 ``documents`` with ``kind``, ``similarity`` and, for a near copy, the text round the place
        where it first ``differs`` from the document that stays.

    Raises:
        DataError: no finished corpus, or one built without a search for copies.
    """
    import pyarrow.parquet as parquet

    look(folder)
    path = folder / "clusters.parquet"
    if not path.exists():
        raise DataError(
            "this corpus was built without a search for copies", where=str(folder), hint="set corpus.copies.near = true"
        )
    rows = parquet.read_table(path, use_threads=False).to_pylist()
    clusters: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        clusters[row["cluster"]].append(row)
    largest = sorted(clusters.items(), key=lambda item: (-item[1][0]["size"], item[0]))[:num_clusters]
    shown = [{"size": members[0]["size"], "documents": _side_by_side(folder, members)} for _, members in largest]
    return {"clusters": len(clusters), "copies": sum(row["kind"] != "original" for row in rows), "shown": shown}


def _side_by_side(folder: Path, members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    chosen = sorted(members, key=lambda row: (row["kind"] != "original", row["similarity"], row["id"]))[:_MEMBERS]
    texts = [_text(folder, row) for row in chosen]
    found = []
    for row, text in zip(chosen, texts, strict=True):
        told = {name: row[name] for name in ("id", "url", "date", "kind", "similarity")}
        if row["kind"] == "near" and chosen[0]["kind"] == "original":
            at = _first_difference(texts[0], text)
            told["differs"] = {"at": at, "here": _stretch(text, at), "there": _stretch(texts[0], at)}
        found.append(told)
    return found


def _first_difference(one: str, other: str) -> int:
    places = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(places, min(len(one), len(other)))


def _text(folder: Path, row: dict[str, Any]) -> str:
    """A document's text; empty if it is in an earlier corpus."""
    import pyarrow.parquet as parquet

    path = folder / "shards" / row["shard"]
    if row["corpus"] or not path.exists():
        return ""
    with parquet.ParquetFile(path) as file:
        at = row["row"]
        for group in range(file.num_row_groups):  # one group is enough, and a shard's texts may not fit memory
            count = file.metadata.row_group(group).num_rows
            if at < count:
                return file.read_row_group(group, columns=["text"], use_threads=False)["text"][at].as_py() or ""
            at -= count
    return ""


def _stretch(text: str, at: int) -> str:
    return text[max(0, at - _AROUND) : at + _AROUND].replace("\n", "⏎")
