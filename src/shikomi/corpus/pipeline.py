"""The corpus stage: pages in, Parquet shards with a verdict for every document out; and both stages in one call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shikomi.compute.local import LocalPool
from shikomi.compute.pool import Pool
from shikomi.corpus import decide, fingerprint, ledger, writing
from shikomi.corpus.care.decontaminate import report
from shikomi.corpus.copies.boilerplate import Boilerplate, CountTask, count_lines, find_boilerplate
from shikomi.corpus.copies.search import search_copies
from shikomi.corpus.copies.signatures import SignTask, sign_shard
from shikomi.corpus.funnel import Funnel, one_line
from shikomi.corpus.look import look_duplicates
from shikomi.corpus.pages import read_pages
from shikomi.data.document import shard_paths
from shikomi.errors import DataError
from shikomi.io import read_json, sha256_file, write_json
from shikomi.log import Progress, silent
from shikomi.recipe.copies import CopiesPage
from shikomi.recipe.corpus import CorpusPage

SHOWN_CLUSTERS = 8
"""Clusters of copies that a report shows side by side, the largest ones."""


def build_corpus(
    page: CorpusPage,
    warcs: list[Path],
    out: Path,
    *,
    licences: Path | None = None,
    workers: int = 1,
    pool: Pool | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Both stages, one after the other, with the pages in ``out/scratch/pages``: ``read_pages``, ``decide_corpus``."""
    pages = out / "scratch" / "pages"
    read_pages(page, warcs, pages, licences=licences, workers=workers, pool=pool, progress=progress)
    return decide_corpus(page, pages, out, read_from=str(warcs[0]), workers=workers, pool=pool, progress=progress)


def decide_corpus(
    page: CorpusPage,
    pages: Path,
    out: Path,
    *,
    aids: decide.Aids | None = None,
    earlier: Sequence[Path] = (),
    read_from: str = "corpus.warc",
    workers: int = 1,
    pool: Pool | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Decide which documents are kept; decided shards of an earlier attempt in ``out`` are used again.

    Args:
        page: the recipe's corpus page, of which ``page.deciding()`` counts.
        pages: folder of the pages stage.
        out: folder for ``shards/part-00000.parquet`` …, ``funnel.json``, ``samples.json``, ``ledger.jsonl``,
            ``contamination.json``, ``duplicates.json``, ``clusters.parquet`` and ``signatures/``, by which later
            corpora find copies of this one's; scratch in ``scratch/``.
        aids: what decisions need from outside files (``decide.open_aids``); None: what the recipe's defaults give.
        earlier: folders of earlier corpora, oldest first.
        read_from: where the pages came from, for messages.
        workers: processes to use; the bytes do not depend on it.
        pool: where shards are worked on; None: on this machine, with ``workers``.
        progress: told shards.

    Returns:
        Facts: the counts of ``funnel.json`` without hosts.

    Raises:
        DataError: no page is kept.
    """
    aids = aids or decide.open_aids(page, out / "scratch")
    shards = shard_paths(pages)
    pool = pool or LocalPool(min(workers, max(1, len(shards))))
    asked = replace(aids, contamination=None)  # large, and looked for only in what is kept
    tasks = [decide.Task(shard, out / "scratch" / "decided" / shard.name, page, asked) for shard in shards]
    _all(decide.decide_shard, tasks, pool, progress, "decided")
    found = _find_copies(page.copies, tasks, out, earlier, workers, pool, progress)
    boilerplate = _find_boilerplate(page.copies, tasks, found, out / "scratch" / "lines", pool, progress)
    if aids.contamination:
        name = fingerprint.digest([aids.fingerprint, page.decontaminate.identity()])
        aids.contamination.keep(out / "scratch" / "sets" / name)
    writings = [
        writing.Task(
            task.pages,
            task.decided,
            copies,
            out / "shards" / task.pages.name,
            number,
            page,
            aids.contamination,
            boilerplate,
        )
        for number, (task, copies) in enumerate(zip(tasks, found, strict=True))
    ]
    funnel, parts = Funnel(), []
    for number, counted in enumerate(_in_pool(writing.write_shard, writings, pool, progress, "written")):
        funnel.merge(counted)
        parts.append((counted.kept, counted.read - counted.kept))
        progress(number + 1, len(writings), "shards", f"{funnel.kept} kept")
    told = read_json(pages / "pages.json")
    counts = {**funnel.counts(), "records_skipped": told["records_skipped"], "inputs": told["inputs"]}
    if not counts["kept"]:
        raise _nothing_kept(counts, read_from)
    if aids.contamination:
        write_json(out / "contamination.json", report(aids.contamination, funnel.contaminated))
    ledger.write(out, map(_ledger_row, ledger.read(pages), writings, parts))
    write_json(out / "samples.json", funnel.chosen_samples())
    write_json(out / "funnel.json", counts)
    if found[0]:
        write_json(out / "duplicates.json", look_duplicates(out, SHOWN_CLUSTERS))
    return {name: value for name, value in counts.items() if name not in ("hosts", "inputs")}


def _find_copies(
    page: CopiesPage,
    tasks: list[decide.Task],
    out: Path,
    earlier: Sequence[Path],
    workers: int,
    pool: Pool,
    progress: Progress,
) -> list[Path] | list[None]:
    """What repeats another document, a file a shard; nothing where the recipe looks for no copies."""
    if not (page.exact or page.near or page.url != "all"):
        return [None] * len(tasks)
    signing = [SignTask(task.pages, task.decided, out / "scratch" / "signed" / task.pages.name, page) for task in tasks]
    _all(sign_shard, signing, pool, progress, "signed")
    signed = [task.signed for task in signing]
    return search_copies(signed, page, out, earlier=earlier, workers=workers, pool=pool, progress=progress)


def _ledger_row(read: dict[str, Any], task: writing.Task, counts: tuple[int, int]) -> dict[str, Any]:
    """The ledger of pages, carried on: what was kept of an input, and the checksum of what was written."""
    return {**read, "kept": counts[0], "dropped": counts[1], "sha256": sha256_file(task.final)}


def _in_pool(function: Any, tasks: list, pool: Pool, progress: Progress, note: str) -> Iterator[Any]:
    done: Counter[str] = Counter()

    def told(counts: dict[str, float]) -> None:
        done.update(counts)  # type: ignore[arg-type]
        progress(done["pages"], 0, "pages", note)

    return pool.map(function, tasks, on_tick=told)


def _all(function: Any, tasks: list, pool: Pool, progress: Progress, note: str) -> None:
    """Run a function over tasks whose results are files."""
    for done, _ in enumerate(_in_pool(function, tasks, pool, progress, note)):
        progress(done + 1, len(tasks), "shards", note)


def _find_boilerplate(
    page: CopiesPage,
    tasks: list[decide.Task],
    found: Sequence[Path | None],
    scratch: Path,
    pool: Pool,
    progress: Progress,
) -> Boilerplate | None:
    """The lines that many kept documents of a host share, if the recipe takes them off."""
    if not page.boilerplate:
        return None
    counting = [CountTask(task.pages, task.decided, copies, scratch) for task, copies in zip(tasks, found, strict=True)]
    _all(count_lines, counting, pool, progress, "lines counted")
    find_boilerplate(scratch, page, scratch / "boilerplate.npy")
    return Boilerplate(scratch / "boilerplate.npy")


_HINTS = {
    "not_japanese": "are these Japanese pages? Only pages with Japanese running text are kept",
    "http_status": "these records are errors and redirects, not pages",
    "not_html": "these records are no HTML pages",
    "damaged_record": "fetch the files again",
}


def _nothing_kept(counts: dict[str, Any], read_from: str) -> DataError:
    reason = next(iter(counts["dropped_by_reason"]), "")
    hint = _HINTS.get(reason, 'set thresholds under corpus.rules, or corpus.preset = "lenient"')
    if not reason:
        hint = "the files hold no page: only requests, metadata or other records"
    return DataError(f"no page was kept: {one_line(counts)}", where=read_from, hint=hint)
