"""Decisions over one shard of pages: which documents pass. A pure function of the pages and the recipe, run anywhere.

They are asked in one order, cheap ones first, and the first that says no gives the reason: opt-out, category of the
address, rules on the measures, NG words, learned scores. Copies are searched for among what passes them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from shikomi.compute.pool import tick
from shikomi.corpus import fingerprint
from shikomi.corpus.care.decontaminate import Contamination
from shikomi.corpus.care.optout import OptOut, read_opt_out
from shikomi.corpus.quality import fineweb
from shikomi.corpus.quality.domain import Scorer
from shikomi.corpus.quality.rules import explain, first_failure, first_failures
from shikomi.corpus.quality.urls import UrlCategories, compile_lists
from shikomi.corpus.quality.words import NgWords, read_words, why_dropped
from shikomi.data.document import DROPPED, KEPT
from shikomi.io import atomic, sha256_file
from shikomi.recipe.corpus import CorpusPage

VERSION = 2
"""Of what this module does to a document; decisions of another version are taken again."""

_BATCH_ROWS = 512
_ALWAYS = ("verdict", "reason", "detail", "id", "url", "host", "signs", "japanese_letters")

SCHEMA = pa.schema(
    [
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("ng_fraction", pa.float64()),
        ("scores", pa.map_(pa.string(), pa.float64())),
    ]
)
"""Columns of a shard of decisions: one row a document, in the order of its pages."""


@dataclass(frozen=True)
class Aids:
    """What decisions need beside the recipe, from outside files; picklable, opened once a process.

    Attributes:
        words: to be counted, or None.
        urls: categories of addresses, or None.
        scorers: learned on the corpus; empty for none.
        opt_out: what stays out.
        contamination: evaluation sets that no kept document may hold, or None.
        fingerprint: changes whenever one of them does.
    """

    words: NgWords | None = None
    urls: UrlCategories | None = None
    scorers: tuple[Scorer, ...] = ()
    opt_out: OptOut = field(default_factory=OptOut)
    contamination: Contamination | None = None
    fingerprint: str = ""


def open_aids(
    page: CorpusPage,
    scratch: Path,
    *,
    words: Iterable[Path] = (),
    urls: Iterable[Path] = (),
    opt_out: Iterable[Path] = (),
    sets: Iterable[list[Path]] = (),
    scorers: Path | None = None,
) -> Aids:
    """Open what the decisions of a recipe need; everything faulty in it is said here, before the first page.

    Args:
        page: the recipe's corpus page.
        scratch: folder for the table of addresses.
        words: what ``page.words.lists`` names.
        urls: what ``page.urls.lists`` names.
        opt_out: what ``page.opt_out.lists`` names, and the store's own list.
        sets: the files of each of ``page.decontaminate.sets``.
        scorers: folder of the stage ``domain``, if the recipe has scorers.

    Raises:
        DataError: a list, evaluation set or scorer that cannot be read.
    """
    words, urls, opt_out, sets = list(words), list(urls), list(opt_out), list(sets)
    found_words = read_words(page.words, words)
    compile_lists(page.urls, urls, scratch / "urls")
    folders = [scorers / scorer.name for scorer in page.domain] if scorers else []
    files = [*words, *(path for path in urls if path.is_file()), *opt_out, *(path for found in sets for path in found)]
    files += [path for folder in folders for path in sorted(folder.iterdir())]
    parts = [found_words.words, [sha256_file(path) for path in files], sha256_file(scratch / "urls" / "keys.npy")]
    return Aids(
        found_words if found_words.words else None,
        UrlCategories(scratch / "urls"),
        tuple(Scorer(folder) for folder in folders),
        read_opt_out(opt_out, page.opt_out.signs),
        Contamination(sets, page.decontaminate) if sets or page.decontaminate.known_prompts else None,
        fingerprint.digest(parts),
    )


@dataclass(frozen=True)
class Task:
    """What a worker needs to decide over one shard.

    Attributes:
        pages: a shard of the pages stage.
        decided: where the decisions go.
        page: the recipe's corpus page, of which ``page.deciding()`` counts.
        aids: what decisions need from outside files.
    """

    pages: Path
    decided: Path
    page: CorpusPage
    aids: Aids = Aids()

    def __str__(self) -> str:
        return str(self.pages)


def decide_shard(task: Task) -> None:
    """Decide over one shard of pages, unless that is done already."""
    made = _fingerprint(task)
    if fingerprint.of(task.decided) == made:
        return
    thresholds, of_words = _thresholds(task.page)
    measured = [rule.partition("_")[2] for rule in thresholds]
    columns = list(dict.fromkeys([*_ALWAYS, *measured, "text"]))
    file = parquet.ParquetFile(task.pages)
    with atomic(task.decided, "wb") as handle, parquet.ParquetWriter(handle, SCHEMA, compression="zstd") as writer:
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            writer.write_table(_decide(batch, thresholds, of_words, task))
            tick(pages=batch.num_rows)
        writer.add_key_value_metadata({fingerprint.KEY: made})


def _thresholds(page: CorpusPage) -> tuple[dict[str, float], dict[str, float]]:
    """The thresholds on measures that pages carry, and those on measures of words, taken only if asked for."""
    pages, of_words = {}, {}
    for rule, threshold in page.thresholds().items():
        (of_words if fineweb.needed([rule]) else pages)[rule] = threshold
    return pages, of_words


def _decide(batch: pa.RecordBatch, thresholds: dict[str, float], of_words: dict[str, float], task: Task) -> pa.Table:
    decided = {name: batch[name].to_pylist() for name in ("verdict", "reason", "detail")}
    decided["ng_fraction"] = [None] * batch.num_rows
    decided["scores"] = [None] * batch.num_rows
    alive = [row for row, verdict in enumerate(decided["verdict"]) if verdict == KEPT]
    failed = np.full(batch.num_rows, -1)
    measures: dict[str, np.ndarray] = {}
    if thresholds:
        names = [rule.partition("_")[2] for rule in thresholds]
        measures = {name: _numbers(batch[name]) for name in names}
        failed = first_failures(measures, thresholds)
    rules = list(thresholds.items())
    told = {name: batch[name].to_pylist() for name in ("id", "url", "host", "signs", "japanese_letters")}
    texts = batch["text"]
    for row in alive:
        why = task.aids.opt_out.decide({name: told[name][row] for name in ("id", "url", "host", "signs")})
        if not why and task.aids.urls:
            why = task.aids.urls.why_dropped(told["url"][row])
        if not why and failed[row] >= 0:
            rule, threshold = rules[failed[row]]
            why = explain(rule, float(measures[rule.partition("_")[2]][row]), threshold)
        if not why and (of_words or task.aids.words or task.aids.scorers):
            text = texts[row].as_py()
            why = first_failure(fineweb.measure(text), of_words) if of_words else None
            why = why or _read(text, told["japanese_letters"][row], row, decided, task)
        if why:
            decided["verdict"][row] = DROPPED
            decided["reason"][row], decided["detail"][row] = why
    return pa.table(decided, schema=SCHEMA)


def _read(
    text: str, japanese_letters: int, row: int, decided: dict[str, list[Any]], task: Task
) -> tuple[str, str] | None:
    """The decisions that have to read the text; what they measure goes into ``decided``."""
    why = None
    if task.aids.words:
        share = task.aids.words.measure(text, japanese_letters)["ng_fraction"]
        decided["ng_fraction"][row] = share
        why = why_dropped(share, task.page.words)
    if not why and task.aids.scorers:
        scores = {scorer.name: scorer.score(text) for scorer in task.aids.scorers}
        decided["scores"][row] = list(scores.items())
        found = (scorer.why_dropped(scores[scorer.name]) for scorer in task.aids.scorers)
        why = next((one for one in found if one), None)
    return why


def _numbers(column: pa.Array) -> np.ndarray:
    """A column of measures as float64 [documents]; NaN, which no threshold fails, where there is none."""
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _fingerprint(task: Task) -> str:
    """What decisions depend on: this module's version, the recipe, the aids, and the pages by what made them."""
    return fingerprint.digest([VERSION, task.page.deciding(), task.aids.fingerprint, fingerprint.of(task.pages)])
