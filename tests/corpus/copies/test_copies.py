"""Laws of the search for copies: what stays depends on the documents alone, and is what a plain search would keep."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from shikomi.compute.local import LocalPool
from shikomi.corpus.copies import bands, clusters
from shikomi.corpus.copies.found import KINDS, load_found
from shikomi.corpus.copies.search import search_copies
from shikomi.errors import DataError
from shikomi.recipe.copies import CopiesPage
from tests.corpus.copies.signed import change, keys_of, make_rows, pick, read_ids, write_shards

PAGE = CopiesPage(bands=6, rows=4, jaccard=0.7)
"""A small signature: pairs of 0.9 meet with probability 0.998, of 0.7 with 0.81, of 0.5 with 0.32."""


def crowd(count: int = 300, seed: int = 1, page: CopiesPage = PAGE) -> dict[str, np.ndarray]:
    """Documents in families: pairs, chains in which each is like the one before, crowds, equal texts, and loners."""
    rnd = np.random.default_rng(seed)
    values = rnd.integers(0, 1 << 32, (count, page.slots), dtype=np.uint32)
    exact = rnd.integers(1, 1 << 63, count, dtype=np.uint64)
    for number in range(1, count):
        draw = rnd.random()
        if draw < 0.35:
            values[number] = change(values[number - 1], 0.85, rnd)
        elif draw < 0.6:
            values[number] = change(values[rnd.integers(number)], rnd.choice([0.6, 0.75, 0.95]), rnd)
        elif draw < 0.7:
            twin = rnd.integers(number)
            values[number], exact[number] = values[twin], exact[twin]
    return make_rows(values, seed, exact=exact)


def plain_search(rows: dict[str, np.ndarray], page: CopiesPage = PAGE) -> dict[int, tuple[int, str]]:
    """The same one document after the other: id to (id it repeats, kind) of those that go."""
    order = np.lexsort((rows["id"], rows["date_key"]))
    keys = keys_of(rows["values"], page.bands)
    slots = rows["values"].astype(np.uint8)
    gone: dict[int, tuple[int, str]] = {}
    first: dict[int, int] = {}
    staying: list[int] = []
    twins: list[int] = []
    for number in order.tolist():
        identity = int(rows["id"][number])
        twin = first.setdefault(int(rows["exact"][number]), number)
        if twin != number:
            twins.append(number)
            continue
        like = [
            other
            for other in staying
            if (keys[other] == keys[number]).any()
            and clusters.agreement(slots[other][None], slots[number][None])[0] >= page.jaccard
        ]
        if like:
            gone[identity] = (int(rows["id"][like[0]]), "near")
        else:
            staying.append(number)
    for number in twins:
        twin = int(rows["id"][first[int(rows["exact"][number])]])
        gone[int(rows["id"][number])] = (gone.get(twin, (twin, ""))[0], "exact")
    return gone


def search(folder: Path, rows, parts, page: CopiesPage = PAGE, **how) -> dict[int, tuple[int, str]]:
    """Id to (id it repeats, kind) of the documents that go."""
    shards = write_shards(folder / "signed", rows, parts, page)
    gone = {}
    for path, shard in zip(search_copies(shards, page, folder / "out", **how), shards, strict=True):
        found = load_found(path)
        for identity, kind, original in zip(read_ids(shard), found.kind, found.original, strict=True):
            if kind:
                gone[int(identity)] = (int(original), KINDS[kind])
            else:
                assert original == identity
    return gone


def in_parts(count: int, parts: int, seed: int | None = None) -> list[np.ndarray]:
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    return np.array_split(order, parts)


def test_the_search_finds_what_comparing_one_after_the_other_finds(tmp_path):
    for seed in range(3):
        rows = crowd(seed=seed)
        expected = plain_search(rows)
        assert {kind for _, kind in expected.values()} == {"exact", "near"}
        assert search(tmp_path / str(seed), rows, in_parts(300, 3)) == expected


def test_order_of_shards_and_of_rows_change_nothing(tmp_path):
    rows = crowd()
    expected = search(tmp_path / "one", rows, in_parts(300, 1))
    for seed, parts in ((1, 2), (2, 9)):
        assert search(tmp_path / str(seed), rows, in_parts(300, parts, seed)) == expected


def test_key_ranges_and_tasks_change_nothing(tmp_path):
    rows = crowd()
    expected = search(tmp_path / "one", rows, in_parts(300, 2))
    for memory_bytes in (300 * bands.BYTES_A_KEY // 5, 50_000):
        assert search(tmp_path / str(memory_bytes), rows, in_parts(300, 2), memory_bytes=memory_bytes) == expected


def test_tasks_may_run_anywhere_and_in_any_order(tmp_path, monkeypatch):
    rows = crowd()

    class Elsewhere:
        workers = 3

        def map(self, function, items, *, on_tick=None, on_death=None):
            for task in reversed(items):
                on_tick({})
                pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(task)))
            return [None] * len(items)

    monkeypatch.setattr("shikomi.corpus.copies.search.FEW", 0)
    for name, how in (("here", {}), ("elsewhere", {"pool": Elsewhere()})):
        search(tmp_path / name, rows, in_parts(300, 3), memory_bytes=200_000, **how)
    names = ["clusters.parquet", *(f"signatures/part-0000{number}.parquet" for number in range(3))]
    for name in names:
        assert (tmp_path / "here/out" / name).read_bytes() == (tmp_path / "elsewhere/out" / name).read_bytes()


@pytest.mark.slow
def test_workers_change_no_byte(tmp_path, monkeypatch):
    monkeypatch.setattr("shikomi.corpus.copies.search.FEW", 0)
    rows = crowd()
    for workers in (1, 2):
        search(tmp_path / str(workers), rows, in_parts(300, 3), workers=workers)
    assert (tmp_path / "1/out/clusters.parquet").read_bytes() == (tmp_path / "2/out/clusters.parquet").read_bytes()


@pytest.mark.parametrize("url", ["all", "first"])
def test_a_later_snapshot_keeps_what_it_would_keep_of_both_at_once(tmp_path, url):
    page = PAGE.model_copy(update={"url": url})
    rows = crowd(400)
    rows["url_key"] = rows["url_key"] % np.uint64(150)
    rows["date_key"] += np.where(np.arange(400) < 180, 0, 10**10).astype(np.uint64)
    both = search(tmp_path / "both", rows, in_parts(400, 4, 9), page)
    older, newer = pick(rows, np.arange(180)), pick(rows, np.arange(180, 400))
    alone = search(tmp_path / "older", older, in_parts(180, 2), page)
    later = search(tmp_path / "newer", newer, in_parts(220, 3), page, earlier=[tmp_path / "older" / "out"])
    assert {**alone, **later}.keys() == both.keys()
    assert {identity: original for identity, (original, _) in {**alone, **later}.items()} == {
        identity: original for identity, (original, _) in both.items()
    }
    kinds = {kind for _, kind in later.values()}
    assert kinds == {"exact", "near", "earlier"} | ({"url"} if url != "all" else set())


def test_three_snapshots_one_after_the_other(tmp_path):
    rows = crowd(360)
    rows["date_key"] += (np.arange(360) // 120 * 10**10).astype(np.uint64)
    both = search(tmp_path / "all", rows, in_parts(360, 4, 5))
    gone, earlier = {}, []
    for number in range(3):
        part = pick(rows, np.arange(number * 120, number * 120 + 120))
        gone |= search(tmp_path / str(number), part, in_parts(120, 2), earlier=earlier)
        earlier.append(tmp_path / str(number) / "out")
    assert gone.keys() == both.keys()


def test_what_an_earlier_corpus_kept_stays_though_it_is_alike(tmp_path):
    rnd = np.random.default_rng(3)
    one = rnd.integers(0, 1 << 32, (1, PAGE.slots), dtype=np.uint32)
    rows = make_rows(np.concatenate([one, change(one, 0.9, rnd)]), 3)
    strict = PAGE.model_copy(update={"jaccard": 0.999})
    assert search(tmp_path / "one", rows, in_parts(2, 1), strict) == {}
    third = make_rows(change(one, 0.9, rnd), 4)
    gone = search(tmp_path / "two", third, in_parts(1, 1), earlier=[tmp_path / "one" / "out"])
    assert list(gone.values()) == [(int(rows["id"][np.argmin(rows["date_key"])]), "earlier")]


def test_a_search_that_was_killed_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("shikomi.corpus.copies.search.FEW", 0)
    rows = crowd()
    expected = search(tmp_path / "whole", rows, in_parts(300, 3), memory_bytes=200_000)
    whole = (tmp_path / "whole/out/clusters.parquet").read_bytes()
    done = []

    class Dying(LocalPool):
        def map(self, function, items, *, on_tick=None, on_death=None):
            for task in items:
                if len(done) == limit:
                    raise KeyboardInterrupt
                done.append(str(task))
                yield function(task)

    total = 0
    for limit in (2, 4, 8, 10_000):
        done.clear()
        try:
            gone = search(tmp_path / "killed", rows, in_parts(300, 3), memory_bytes=200_000, pool=Dying())
        except KeyboardInterrupt:
            total += limit
            continue
        assert gone == expected
    assert total == 2 + 4 + 8
    assert (tmp_path / "killed/out/clusters.parquet").read_bytes() == whole


def test_of_one_address_the_first_or_the_latest_stays(tmp_path):
    rnd = np.random.default_rng(1)
    rows = make_rows(rnd.integers(0, 1 << 32, (6, PAGE.slots), dtype=np.uint32), 1)
    rows["url_key"] = np.array([5, 5, 5, 8, 0, 0], dtype=np.uint64)
    rows["date_key"] = np.array([20250102, 20250101, 20250103, 1, 2, 3], dtype=np.uint64)
    ids = rows["id"].tolist()
    for url, keeper in (("first", 1), ("latest", 2), ("all", None)):
        gone = search(tmp_path / url, rows, in_parts(6, 2), PAGE.model_copy(update={"url": url}))
        others = [] if keeper is None else [number for number in range(3) if number != keeper]
        assert gone == {ids[number]: (ids[keeper], "url") for number in others}


def test_a_mirror_loses_what_is_left_of_it_but_for_originals_of_copies(tmp_path):
    rnd = np.random.default_rng(2)
    site = rnd.integers(0, 1 << 32, (20, PAGE.slots), dtype=np.uint32)
    alone = rnd.integers(0, 1 << 32, (5, PAGE.slots), dtype=np.uint32)
    rows = make_rows(np.concatenate([site, change(site[:16], 0.95, rnd), alone]), 2)
    rows["host_key"] = np.repeat([1, 2, 3], [20, 18, 3]).astype(np.uint64)
    rows["date_key"] = np.concatenate([np.tile([5, 1], 10), np.tile([3], 18), [1, 1, 1]]).astype(np.uint64)
    page = PAGE.model_copy(update={"mirror_share": 0.8, "mirror_documents": 5})
    gone = search(tmp_path, rows, in_parts(41, 2), page)
    ids = rows["id"].tolist()
    # Of the 16 pairs every second one was fetched first from the mirror, whose document stays then.
    assert {ids.index(identity) for identity, (_, kind) in gone.items() if kind == "near"} == {
        *range(0, 16, 2),
        *range(21, 36, 2),
    }
    assert {ids.index(identity) for identity, (_, kind) in gone.items() if kind == "host"} == {36, 37}
    loose = page.model_copy(update={"mirror_share": 0.95})
    assert "host" not in {kind for _, kind in search(tmp_path / "loose", rows, in_parts(41, 2), loose).values()}


def test_clusters_list_every_copy_with_its_original(tmp_path):
    import pyarrow.parquet as parquet

    rows = crowd()
    gone = search(tmp_path, rows, in_parts(300, 3))
    listed = parquet.read_table(tmp_path / "out/clusters.parquet").to_pylist()
    copies = {int(row["id"], 16): (int(row["cluster"], 16), row["kind"]) for row in listed if row["kind"] != "original"}
    assert copies == gone
    originals = {row["id"]: row["size"] for row in listed if row["kind"] == "original"}
    assert originals.keys() == {row["cluster"] for row in listed}
    for cluster, size in originals.items():
        assert size == sum(row["cluster"] == cluster for row in listed)
    row = listed[-1]
    assert read_ids(tmp_path / "signed" / row["shard"])[row["row"]] == int(row["id"], 16)


def test_signatures_of_another_form_are_refused(tmp_path):
    rows = crowd(20)
    search(tmp_path / "one", rows, in_parts(20, 1))
    other = CopiesPage(bands=5, rows=8)
    with pytest.raises(DataError, match="another form") as caught:
        search(tmp_path / "two", crowd(0, page=other), in_parts(0, 1), other, earlier=[tmp_path / "one/out"])
    assert caught.value.hint
    with pytest.raises(DataError, match="no signatures in this earlier corpus"):
        search(tmp_path / "three", rows, in_parts(20, 1), earlier=[tmp_path / "nothing"])


def test_no_documents_and_empty_shards(tmp_path):
    rows = crowd(4)
    assert search(tmp_path / "none", pick(rows, np.arange(0)), [np.arange(0)] * 2) == {}
    parts = [np.arange(0), np.arange(4), np.arange(0)]
    assert search(tmp_path / "some", rows, parts) == plain_search(rows)
    only_exact = PAGE.model_copy(update={"near": False})
    rows = crowd(50)
    gone = search(tmp_path / "exact", rows, in_parts(50, 2), only_exact)
    assert gone.keys() == {identity for identity, (_, kind) in plain_search(rows).items() if kind == "exact"}


def test_a_crowd_of_one_form_is_not_compared_pair_by_pair():
    count = 4000
    compared = []

    def unlike(first, second):
        compared.append(len(first))
        return np.zeros(len(first))

    groups = bands.Groups(np.arange(count, dtype=np.uint32), np.array([count], dtype=np.uint32))
    original, _ = clusters.greedy(groups, count, np.zeros(count, dtype=bool), unlike, 0.8)
    assert np.array_equal(original, np.arange(count))
    assert sum(compared) <= clusters.COMPARED * count


@pytest.mark.parametrize("slots", [8, 112, 800, 13, 2048])
def test_agreement_counts_slots_and_takes_chance_away(slots):
    rnd = np.random.default_rng(slots)
    one, other = rnd.integers(0, 4, (2, 50, slots), dtype=np.uint8)
    same = (one == other).mean(axis=1)
    assert clusters.agreement(one, other) == pytest.approx((same - 1 / 256) / (255 / 256))
