"""The search for copies over any number of documents, within a fixed memory budget and resumable after every file.

Signed shards go in (``signatures.py``); out come, for every shard, which documents repeat another one, the clusters of
copies for people to look at, and the signatures of what is no copy for later corpora. The steps, each written to the
scratch folder when it is done: ranks; equal texts; candidates, band by band; families of candidates; their slots in one
flat file; decisions, some families at a time. What is held per document is a dozen numbers in arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from shikomi.compute.local import LocalPool
from shikomi.compute.pool import Pool
from shikomi.corpus import fingerprint
from shikomi.corpus.copies import bands, clusters, layout
from shikomi.corpus.copies import found as copies
from shikomi.corpus.copies.layout import Search
from shikomi.corpus.copies.signatures import form, form_of, num_rows
from shikomi.errors import DataError
from shikomi.log import Progress, silent
from shikomi.recipe.copies import CopiesPage

VERSION = 1
"""Of what this search decides; the scratch of another version is not used."""
MEMORY_BYTES = 96 << 20
"""Memory of a worker's buffers; what is held per document (about 40 bytes) and the libraries (90 MB) come on top."""

FEW = 50_000
"""Up to so many documents the search takes less time than new processes take to start."""


def search_copies(
    signed: list[Path],
    page: CopiesPage,
    out: Path,
    *,
    earlier: Iterable[Path] = (),
    scratch: Path | None = None,
    workers: int = 1,
    pool: Pool | None = None,
    memory_bytes: int = MEMORY_BYTES,
    progress: Progress = silent,
) -> list[Path]:
    """Find copies among the documents of signed shards and earlier corpora.

    Args:
        signed: signed shards of this corpus, in the order of its pages' shards.
        page: the recipe's page of copies.
        out: the corpus folder, for ``clusters.parquet`` and ``signatures/part-*.parquet``.
        earlier: folders of earlier corpora, oldest first.
        scratch: folder for what is worked on; ``out/scratch/copies`` if None. An interrupted search goes on in it.
        workers: processes to use; the result does not depend on it.
        pool: where tasks run; None: on this machine, with ``workers``. Few documents are worked on here.
        memory_bytes: budget of a worker's buffers; the result does not depend on it.
        progress: told the steps.

    Returns:
        One file for each signed shard, to be read with ``copies.load_found``.

    Raises:
        DataError: an earlier corpus has no signatures, or of another form.
    """
    before = earlier_shards(earlier, page)
    everything = [*before, *signed]
    folder = (scratch or out / "scratch" / "copies") / _fingerprint(everything, len(before), page)
    counts = [num_rows(path) for path in everything]
    search = Search(
        everything,
        len(before),
        counts,
        page,
        folder,
        memory_bytes,
        (pool or LocalPool(workers)) if sum(counts) >= FEW else LocalPool(1),
        progress,
    )
    folder.mkdir(parents=True, exist_ok=True)
    ranks = search.array("ranks", lambda: bands.rank(everything, len(before)))
    exact = search.array("exact", lambda: copies.equal_texts(search, ranks))
    near = search.array("near", lambda: near_copies(search, exact)) if page.near else None
    found = copies.conclude(search, ranks, exact, near)
    return copies.write(search, ranks, found, out)


def near_copies(search: Search, exact: np.ndarray) -> np.ndarray:
    """The first document that stays and that each is like, by rank.

    Args:
        search: the search.
        exact: the document whose text each one's equals, by rank.

    Returns:
        Two columns: the original, and the bits of the similarity (float32); uint32 [documents, 2].
    """
    wanted = search.folder / "wanted.npy"
    search.array("wanted", lambda: (np.asarray(exact) == np.arange(len(exact))).astype(np.uint8))
    parts = bands.num_parts(search.documents, search.memory_bytes)
    merges = [
        bands.MergeTask(
            search.signed,
            search.folder / "ranks.npy",
            wanted,
            search.num_fixed,
            band,
            part,
            parts,
            search.folder / f"groups-{parts}" / f"{band:03d}-{part:04d}.npz",
        )
        for band in range(search.page.bands)
        for part in range(parts)
    ]
    search.all(bands.merge_band, merges, "candidates")
    plan = layout.lay_out(search, [task.groups for task in merges])
    judges = layout.judge_tasks(search, plan)
    search.all(clusters.judge, judges, "compared")
    original = np.arange(search.documents, dtype=np.uint32)
    similarity = np.ones(search.documents, dtype=np.float32)
    rank_of = np.load(plan.rank_of, mmap_mode="r") if judges else np.zeros(0, dtype=np.uint32)
    for task in judges:
        numbers = rank_of[task.first : task.last]
        with np.load(task.judged, allow_pickle=False) as judged:
            original[numbers] = rank_of[judged["original"]]
            similarity[numbers] = judged["similarity"]
    return np.stack([original, similarity.view(np.uint32)], axis=1)


def earlier_shards(earlier: Iterable[Path], page: CopiesPage) -> list[Path]:
    """Signed shards of earlier corpora, oldest first.

    Raises:
        DataError: a corpus has none, or of another form than the recipe's.
    """
    found = []
    for corpus in earlier:
        shards = sorted((corpus / "signatures").glob("part-*.parquet"))
        if not shards:
            raise DataError(
                "no signatures in this earlier corpus: no signatures/part-*.parquet",
                where=str(corpus),
                hint="corpus.copies.earlier names folders of corpora built with corpus.copies.exact or near",
            )
        wrong = next((path for path in shards if form_of(path) != form(page)), None)
        if wrong:
            raise DataError(
                f"signatures of another form: {form_of(wrong) or 'none'}; this recipe's are {form(page)}",
                where=str(wrong),
                hint="use the signature, bands, rows and verify of the earlier corpus, or build that one again",
            )
        found += shards
    return found


def _fingerprint(signed: list[Path], num_earlier: int, page: CopiesPage) -> str:
    """What a search depends on, in one word."""
    parts = [VERSION, num_earlier, page.identity(), [fingerprint.of(path) for path in signed]]
    return fingerprint.digest(parts)[:16]
