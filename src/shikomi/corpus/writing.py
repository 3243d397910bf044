"""The last pass over a shard: verdicts on copies put in, kept texts cleaned, rows written and counted. Run anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.compute.pool import tick
from shikomi.corpus.care.decontaminate import Contamination
from shikomi.corpus.care.decontaminate import rows as contaminated
from shikomi.corpus.care.optout import REASON as OPTED_OUT
from shikomi.corpus.care.privacy import mask
from shikomi.corpus.copies.boilerplate import Boilerplate
from shikomi.corpus.copies.found import Found, load_found
from shikomi.corpus.funnel import COUNTED, Funnel
from shikomi.data.document import DROPPED, KEPT, schema
from shikomi.io import atomic
from shikomi.recipe.corpus import CorpusPage

_FILLED = ("verdict", "reason", "detail", "duplicate_of", "characters", "masked")
"""Columns that this pass fills in anew; so it does with the texts that it cleaned."""
_DECIDED = ("verdict", "reason", "detail", "ng_fraction", "scores")


@dataclass(frozen=True)
class Task:
    """What a worker needs to write one final shard.

    Attributes:
        pages: a shard of the pages stage.
        decided: the decisions on it.
        found: what the search for copies says of it; None where there was none.
        final: where the final shard goes.
        number: of the shard.
        page: the recipe's corpus page.
        contamination: evaluation sets that no kept document may hold; None: nothing is looked for.
        boilerplate: takes lines off that many documents of a host share; None: lines stay.
    """

    pages: Path
    decided: Path
    found: Path | None
    final: Path
    number: int
    page: CorpusPage
    contamination: Contamination | None = None
    boilerplate: Boilerplate | None = None

    def __str__(self) -> str:
        return str(self.pages)


def write_shard(task: Task) -> Funnel:
    """Write one final shard; returns its counts."""
    columns = schema()
    funnel = Funnel(task.number)
    copies = _copies(load_found(task.found)) if task.found else {}
    decided = parquet.read_table(task.decided, columns=list(_DECIDED), use_threads=False)
    pages = parquet.ParquetFile(task.pages)
    at = 0
    with atomic(task.final, "wb") as handle, parquet.ParquetWriter(handle, columns, compression="zstd") as writer:
        for group in range(pages.num_row_groups):
            table = pages.read_row_group(group, use_threads=False)
            verdicts = decided.slice(at, table.num_rows)
            rows = table.select([name for name in COUNTED if name not in _DECIDED]).to_pylist()
            for number, (row, verdict) in enumerate(
                zip(rows, verdicts.select(["verdict", "reason", "detail"]).to_pylist(), strict=True)
            ):
                row.update(verdict)
                _finish(row, copies.get(at + number), table["text"], number, task, funnel)
            whole = _filled(table, verdicts, rows, columns)
            for number, row in enumerate(rows):
                funnel.add(row, lambda whole=whole, number=number: whole.slice(number, 1).to_pylist()[0])
            writer.write_table(whole)
            at += table.num_rows
            tick(pages=table.num_rows)
    return funnel


def _copies(found: Found) -> dict[int, tuple[str, str, str]]:
    """``(reason, detail, duplicate_of)`` of each document that goes, by its row in the shard."""
    gone = np.flatnonzero(found.is_copy).tolist()
    rows = found.rows.tolist()
    return {rows[index]: why for index in gone if (why := found.why(index))}


def _finish(
    row: dict[str, Any],
    copy: tuple[str, str, str] | None,
    texts: pa.ChunkedArray,
    number: int,
    task: Task,
    funnel: Funnel,
) -> None:
    """Give one row its last verdict and, if it is kept, its cleaned text (``cleaned``; ``None``: as it was)."""
    row |= {"duplicate_of": "", "masked": None, "cleaned": None}
    if copy:
        row["verdict"] = DROPPED
        row["reason"], row["detail"], row["duplicate_of"] = copy
    if row["reason"] == OPTED_OUT:  # its owner does not want it here: what is known of it is that it was left out
        row["cleaned"], row["characters"] = "", 0
    if row["verdict"] != KEPT or not (task.boilerplate or task.contamination or task.page.privacy.kinds):
        return
    before = text = texts[number].as_py()
    if task.boilerplate:
        text = task.boilerplate.strip(row["host"], text).text
        if not text:
            row |= {"verdict": DROPPED, "reason": "boilerplate", "detail": "every line is shared by its host's pages"}
            return
    if task.contamination:
        treated = task.contamination.treat(text)
        funnel.contaminated += contaminated(row["id"], treated)
        if treated.reason:
            row |= {"verdict": DROPPED, "reason": treated.reason, "detail": treated.detail}
            return
        text = treated.text
    text, counts = mask(text, task.page.privacy.kinds)
    row["masked"] = sum(counts.values())
    funnel.masked.update(counts)
    if text != before:
        row["cleaned"], row["characters"] = text, len(text)


def _filled(table: pa.Table, decided: pa.Table, rows: list[dict[str, Any]], columns: pa.Schema) -> pa.Table:
    """The rows of a group with all that was decided of them."""
    made = {name: table[name] for name in table.column_names}
    made |= {name: decided[name] for name in ("ng_fraction", "scores")}
    for name in _FILLED:
        made[name] = pa.array([row[name] for row in rows], type=columns.field(name).type)
    if any(row["cleaned"] is not None for row in rows):
        before = table["text"].to_pylist()
        made["text"] = pa.array(
            [old if row["cleaned"] is None else row["cleaned"] for row, old in zip(rows, before, strict=True)],
            type=pa.string(),
        )
    return pa.table({name: made[name] for name in columns.names}).cast(columns)
