"""The world of ranks: what is wrong with it is said in three lines before anything starts."""

from __future__ import annotations

import socket

import pytest

from shikomi.compute import mesh
from shikomi.compute.mesh import close_world, open_world, resolve_degrees
from shikomi.errors import MachineError, UsageError
from shikomi.recipe.mesh import MeshPage
from tests.dist.crew import free_port


@pytest.fixture
def ranks_of_two(monkeypatch):
    """The environment of rank 0 of 2, whose rank 1 is nowhere."""
    monkeypatch.setattr(mesh, "_worlds", {})
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    return monkeypatch


def test_a_process_alone_is_a_world_without_a_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = open_world(MeshPage())
    assert (world.rank, world.size, world.mesh) == (0, 1, None)
    assert (world.data_rank, world.data_size, world.main) == (0, 1, True)
    assert world.any(True)
    assert not world.any(False)
    world.barrier()
    close_world()


def test_shard_takes_the_ranks_that_are_left():
    assert resolve_degrees(MeshPage(tensor=4, pipeline=2), 64)["shard"] == 8
    assert resolve_degrees(MeshPage(replicate=2, shard=4), 8)["shard"] == 4


@pytest.mark.parametrize(
    ("page", "size", "message"),
    [
        (MeshPage(tensor=3), 4, r"the mesh \(tensor 3\) needs a multiple of 3 ranks, and there are 4"),
        (MeshPage(shard=2, tensor=4), 4, r"the mesh \(shard 2 x tensor 4\) needs 8 ranks, and there are 4"),
        (MeshPage(shard=2), 1, r"the mesh \(shard 2\) needs 2 ranks, and there is 1"),
        (MeshPage(shard=1), 2, r"the mesh \(all 1\) needs 1 rank, and there are 2"),
        (MeshPage(pipeline=8), 4, r"the mesh \(pipeline 8\) needs a multiple of 8 ranks, and there are 4"),
    ],
)
def test_degrees_that_do_not_make_the_world_are_named(page, size, message):
    with pytest.raises(UsageError, match=message) as caught:
        resolve_degrees(page, size)
    assert str(caught.value).splitlines()[1:] == ["  at: site: [training.mesh]", f"hint: {caught.value.hint}"]
    assert caught.value.hint


def test_a_rank_that_never_joins_is_named(ranks_of_two):
    with pytest.raises(MachineError, match=r"rank 1 of 2 never joined within 0 seconds \(1 did\)") as caught:
        open_world(MeshPage(), join_seconds=0.3)
    assert "logs of the missing ranks" in caught.value.hint


def test_many_missing_ranks_are_counted(ranks_of_two):
    ranks_of_two.setenv("WORLD_SIZE", "64")
    with pytest.raises(MachineError, match=r"ranks 1, 2, 3, 4, 5, 6, 7, 8 and 55 more of 64 never joined"):
        open_world(MeshPage(), join_seconds=0.3)


def test_a_port_in_use_is_named(ranks_of_two):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ranks_of_two.setenv("MASTER_PORT", str(port))
        with pytest.raises(MachineError, match=f"port {port} is in use") as caught:
            open_world(MeshPage(), join_seconds=1)
    assert "MASTER_PORT" in caught.value.hint


def test_a_main_rank_that_is_not_there_is_told(ranks_of_two):
    ranks_of_two.setenv("RANK", "1")
    with pytest.raises(MachineError, match="rank 1 could not meet rank 0 within 1 seconds"):
        open_world(MeshPage(), join_seconds=1)
