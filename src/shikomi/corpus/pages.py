"""The pages stage: inputs in, Parquet shards out with every document's text and measures, nothing decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shikomi.compute.local import LocalPool
from shikomi.compute.pool import Pool
from shikomi.corpus import ledger
from shikomi.corpus.documents import DocumentsTask, check_documents, make_documents_shard, plan_tasks
from shikomi.corpus.quarantine import strike
from shikomi.corpus.shards import Task, make_shard, read_licences
from shikomi.corpus.text.crawl import kind_of
from shikomi.corpus.text.second_opinion import require
from shikomi.documents.folder import Found
from shikomi.errors import DataError
from shikomi.io import write_json
from shikomi.log import Progress, silent
from shikomi.recipe.corpus import CorpusPage
from shikomi.recipe.documents import DocumentsPage

Files = tuple[DocumentsPage, Sequence[Found]]
"""A source of documents and its files."""
_COUNTS = ("records", "damaged", "skipped", "quarantined", "source", "files", "kinds", "problems")


def read_pages(
    page: CorpusPage,
    warcs: list[Path],
    out: Path,
    *,
    documents: Sequence[Files] = (),
    licences: Path | None = None,
    workers: int = 1,
    pool: Pool | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Read every page; finished shards of an earlier attempt in ``out`` are used again, and the bytes are the same.

    Args:
        page: the recipe's corpus page, of which ``page.reading()`` counts.
        warcs: WARC files, in the order of the shards.
        out: folder for ``shards/part-00000.parquet`` …, ``pages.json`` and ``ledger.jsonl``.
        documents: what is no crawl, source by source; its shards come after those of the WARC files.
        licences: a TSV table with columns ``url`` and ``licence``.
        workers: processes to use.
        pool: where the files are read; None: on this machine, with ``workers``.
        progress: told bytes of WARC files read.

    Returns:
        Facts: ``read``, ``records_skipped`` by type, ``quarantined`` (pages put aside), ``inputs`` (what each is,
        records, damaged).

    Raises:
        DataError: no input, one that is no WARC, or too many damaged records.
    """
    require(page.extractor)
    _check(warcs, documents, licences)
    tasks: list[Task | DocumentsTask] = [
        Task(path, out / "shards" / f"part-{number:05d}.parquet", page, licences) for number, path in enumerate(warcs)
    ]
    for source, files in documents:
        tasks += plan_tasks(source, files, page, out / "shards", len(tasks), licences=licences)
    summaries = list(_make_shards(tasks, pool or LocalPool(min(workers, len(tasks))), progress))
    _check_damage(page, tasks, summaries)
    skipped = sum((Counter(summary["skipped"]) for summary in summaries), Counter())
    facts = {
        "read": sum(summary["records"] for summary in summaries),
        "records_skipped": dict(sorted(skipped.items())),
        "quarantined": sum(len(summary["quarantined"]) for summary in summaries),
        "inputs": [{"input": s["input"], "records": s["records"], "damaged": s["damaged"]} for s in summaries],
    }
    ledger.write(out, map(_ledger_row, tasks, summaries))
    write_json(out / "pages.json", facts)
    return facts


def _check(warcs: list[Path], documents: Sequence[Files], licences: Path | None) -> None:
    """Everything that can be known to be wrong before the first page is read."""
    if not warcs and not documents:
        raise DataError("no WARC files to read", where="corpus.warc", hint="set it to paths or globs that match files")
    kinds = Counter(kind_of(path) for path in warcs)
    if warcs and not kinds["warc"] + kinds["arc"]:
        found = "folders" if kinds["folder"] else "empty files"
        raise DataError(
            f"no WARC file has anything in it: only {found}",
            where=str(warcs[0]),
            hint="for the files of a folder write folder/*.warc.gz",
        )
    for source, files in documents:
        check_documents(source, files)
    if licences:
        read_licences(licences)


def _ledger_row(task: Task | DocumentsTask, summary: dict[str, Any]) -> dict[str, Any]:
    return ledger.row(
        task.shard,
        kind=summary["input"],
        byte_range=summary["range"],
        versions=summary["versions"],
        sha256=summary["sha256"],
        **{name: summary[name] for name in _COUNTS if name in summary},
    )


def _make(task: Task | DocumentsTask) -> dict[str, Any]:
    return make_shard(task) if isinstance(task, Task) else make_documents_shard(task)


def _make_shards(tasks: list[Task | DocumentsTask], pool: Pool, progress: Progress) -> Iterator[dict[str, Any]]:
    total = sum(task.bytes for task in tasks)
    done: Counter[str] = Counter()

    def told(counts: dict[str, float]) -> None:
        done.update(counts)  # type: ignore[arg-type]
        progress(min(done["bytes"], total), total, "bytes", f"{done['pages']:.0f} pages")

    yield from pool.map(_make, tasks, on_tick=told, on_death=lambda task: strike(task.shard))


def _check_damage(page: CorpusPage, tasks: list[Task | DocumentsTask], summaries: list[dict[str, Any]]) -> None:
    damaged = sum(summary["damaged"] for summary in summaries)
    records = sum(summary["records"] for summary in summaries)
    if damaged > 10 and damaged > page.max_damaged_share * records:
        worst = max(range(len(tasks)), key=lambda index: summaries[index]["damaged"])
        raise DataError(
            f"{damaged} of {records} records are damaged",
            where=f"most of them in {tasks[worst]}",
            hint="fetch the files again, or raise corpus.max_damaged_share",
        )
