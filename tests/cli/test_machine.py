"""How much of the machine a verb uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shikomi.cli.machine import open_pool, open_site, threads_and_workers
from shikomi.errors import RecipeError
from shikomi.plan import hardware

LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


@pytest.fixture(autouse=True)
def six_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six processors, and nothing told to any library."""
    monkeypatch.setattr(hardware, "usable_cores", lambda: 6)
    for name in LIBRARIES:
        monkeypatch.delenv(name, raising=False)


def told() -> set[str | None]:
    return {os.environ.get(name) for name in LIBRARIES}


def test_all_processors_unless_told():
    assert threads_and_workers() == (6, 6)
    assert told() == {"6"}


@pytest.mark.parametrize(
    ("text", "workers", "found"),
    [("", None, (6, 6)), ("threads = 2", None, (2, 6)), ("workers = 3", None, (6, 3)), ("workers = 3", 4, (6, 4))],
)
def test_the_site_says_how_much_and_the_user_has_the_last_word(
    tmp_path: Path, text: str, workers: int | None, found: tuple[int, int]
):
    (tmp_path / "site.toml").write_text(text)
    assert threads_and_workers(open_site(tmp_path / "site.toml"), workers) == found
    assert told() == {str(found[0])}


@pytest.mark.parametrize(("given", "threads"), [("3", 3), ("3,2", 3), ("0", 6), ("many", 6)])
def test_the_user_s_number_of_threads_counts(monkeypatch: pytest.MonkeyPatch, given: str, threads: int):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert threads_and_workers()[0] == threads
    assert os.environ["RAYON_NUM_THREADS"] == str(threads)


def test_a_site_that_is_wrong(tmp_path: Path):
    (tmp_path / "site.toml").write_text("threads = -1")
    with pytest.raises(RecipeError) as caught:
        threads_and_workers(open_site(tmp_path / "site.toml"))
    assert "site.toml" in caught.value.where


def test_data_stages_run_here_in_processes_of_their_own_unless_the_site_names_a_cluster(tmp_path: Path):
    from shikomi.compute.local import LocalPool
    from shikomi.compute.ray import RayPool

    here = open_pool(open_site(None), 3, tmp_path)
    assert isinstance(here, LocalPool)
    assert (here.workers, here.apart, here.limits.seconds, here.limits.memory_bytes) == (3, True, 60.0, 10**9)
    site = tmp_path / "site.toml"
    site.write_text('workers = 5\npage_time = "2min"\npage_memory = "2GB"\n[ray]\naddress = "head:6379"\n')
    there = open_pool(open_site(site), 3, tmp_path / "store")
    assert isinstance(there, RayPool)
    assert (there.address, there.workers, there.shared) == ("head:6379", 5, tmp_path / "store")
    assert (there.limits.seconds, there.limits.memory_bytes) == (120.0, 2 * 10**9)
    assert open_pool(open_site(site), 3, tmp_path, asked=7).workers == 7


@pytest.mark.parametrize(
    "text", ['[ray]\naddress = "no port"', 'page_time = "0s"', 'page_memory = "1MB"', "page_time = 60"]
)
def test_a_site_that_says_nonsense_is_refused(tmp_path: Path, text: str):
    site = tmp_path / "site.toml"
    site.write_text(text)
    with pytest.raises(RecipeError):
        open_pool(open_site(site), 1, tmp_path)
