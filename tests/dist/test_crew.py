"""The ranks of the tests: they stay, they say what failed where, and the world's axes are what a mesh says."""

from __future__ import annotations

import pytest

from tests.dist import crew as crew_module
from tests.dist.crew import Crew, RankFailed


def test_ranks_stay_alive_between_pieces_of_work(crews):
    assert crews(2).run("tests.dist.work:pid") == crews(2).run("tests.dist.work:pid")


def test_a_failure_comes_back_with_its_traceback_and_its_rank(monkeypatch):
    monkeypatch.setattr(crew_module, "GRACE_SECONDS", 0.2)
    crew = Crew(2)
    try:
        with pytest.raises(
            RankFailed, match=r"(?s)rank 1 of 2:.*fails_on.*a planted failure.*ranks \[0\] of 2 did not"
        ):
            crew.run("tests.dist.work:fails_on", rank=1)
    finally:
        crew.close()


def test_neighbours_share_tensors_then_sequences_then_parameters(crews):
    found = crews(4).run("tests.dist.work:places", mesh={"tensor": 2})
    assert [row["data"] for row in found] == [(0, 2), (0, 2), (1, 2), (1, 2)]
    assert [row["sum"] for row in found] == [101.0, 1010.0, 101.0, 1010.0]
    assert [row["main"] for row in found] == [True, False, False, False]
    found = crews(4).run("tests.dist.work:places", mesh={"replicate": 2, "shard": 2})
    assert [row["data"] for row in found] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert {row["sum"] for row in found} == {1111.0}
    assert {row["max"] for row in found} == {1000.0}
    found = crews(4).run("tests.dist.work:places", mesh={"pipeline": 2, "context": 2})
    assert [row["stage"] for row in found] == [(0, 2), (0, 2), (1, 2), (1, 2)]
    assert [row["context"] for row in found] == [(0, 2), (1, 2), (0, 2), (1, 2)]
    assert [row["sum"] for row in found] == [11.0, 11.0, 1100.0, 1100.0]
    assert all(row["any"] for row in found)
    assert not any(row["none"] for row in found)
