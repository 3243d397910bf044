"""Stopped and gone on with is the straight run: bit for bit in the same layout, to rounding in any other."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.laws import resumes

LAYOUTS: dict[str, tuple[int, dict[str, int]]] = {
    "alone": (1, {}),
    "fsdp-2": (2, {"shard": 2}),
    "fsdp-4": (4, {"shard": 4}),
    "hsdp-2x2": (4, {"replicate": 2, "shard": 2}),
    "tensor-2": (2, {"tensor": 2}),
    "fsdp-2-tensor-2": (4, {"shard": 2, "tensor": 2}),
    "pipeline-2": (2, {"pipeline": 2}),
    "context-2": (2, {"context": 2}),
}
MOVES = [
    ("alone", "fsdp-4"),
    ("alone", "tensor-2"),
    ("fsdp-4", "alone"),
    ("fsdp-2", "fsdp-4"),
    ("hsdp-2x2", "fsdp-2"),
    ("fsdp-2-tensor-2", "alone"),
    ("tensor-2", "fsdp-2-tensor-2"),
    ("pipeline-2", "fsdp-4"),
    ("tensor-2", "pipeline-2"),
    ("context-2", "alone"),
]
ALWAYS = [
    ("alone", "tensor-2"),
    ("fsdp-4", "alone"),
    ("fsdp-2", "fsdp-4"),
    ("tensor-2", "pipeline-2"),
    ("context-2", "alone"),
]
"""Moves that are made whenever tests are run, with Muon all but the first two; the others with ``make test-slow``."""


def moves() -> list[Any]:
    """Every move with both optimisers."""
    found = []
    for kind, often in (("adamw", ALWAYS), ("muon", ALWAYS[2:])):
        for move in MOVES:
            marks = () if move in often else pytest.mark.slow
            found.append(pytest.param(*move, kind, marks=marks, id=f"{'-'.join(move)}-{kind}"))
    return found


UNEVEN = {"vocab_size": 61, "head_dim": 6}
"""A vocabulary that ranks cannot share evenly, and norms of six numbers, of which a fourth rank gets none."""
STOP_AT = 7  # two steps after a checkpoint of its own, so that stopping writes one


def go(layout: str, crews: Any, folder: Any, **arguments: Any) -> dict[str, Any]:
    """A run in a layout, as its main rank tells it."""
    size, mesh = LAYOUTS[layout]
    if size == 1:
        return resumes.go(str(folder), mesh, **arguments)
    return crews(size).run("tests.laws.resumes:go", folder=str(folder), mesh=mesh, **arguments)[0]


@pytest.fixture(scope="module")
def straight(crews, tmp_path_factory):
    """``straight(layout, kind)`` is the run that nothing stops; each is made once."""

    @cache
    def made(layout: str, kind: str, uneven: bool = False) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp(f"{layout}-{kind}-{uneven}")
        return go(layout, crews, folder, kind=kind, config=UNEVEN if uneven else None)

    return made


def losses(*runs: dict[str, Any]) -> list[float]:
    return [row["loss"] for run in runs for row in run["rows"]]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_the_same_layout_a_stopped_run_goes_on_bit_for_bit(layout, kind, crews, straight, tmp_path):
    first = go(layout, crews, tmp_path, kind=kind, stop_at=STOP_AT)
    assert first["stopped"] == f"stopped on request at step {STOP_AT}; the same command goes on"
    second = go(layout, crews, tmp_path, kind=kind, seed=99)
    whole = straight(layout, kind)
    assert [row["step"] for row in second["rows"]] == list(range(STOP_AT + 1, resumes.STEPS + 1))
    assert losses(first, second) == losses(whole)
    assert whole["weights"].keys() == second["weights"].keys() != set()
    for name, value in whole["weights"].items():
        assert np.array_equal(value, second["weights"][name]), name


@pytest.mark.parametrize(("before", "after", "kind"), moves())
def test_in_another_layout_it_goes_on_to_rounding(before, after, kind, crews, straight, tmp_path):
    first = go(before, crews, tmp_path, kind=kind, stop_at=STOP_AT)
    second = go(after, crews, tmp_path, kind=kind, seed=99)
    assert np.allclose(losses(first, second), losses(straight("alone", kind)), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("before", "after"), [("fsdp-2", "fsdp-4"), ("fsdp-4", "alone"), ("alone", "fsdp-4")])
def test_a_model_that_ranks_cannot_share_evenly_resumes_right(before, after, crews, straight, tmp_path):
    first = go(before, crews, tmp_path, kind="adamw", stop_at=STOP_AT, config=UNEVEN)
    second = go(after, crews, tmp_path, kind="adamw", seed=99, config=UNEVEN)
    whole = straight("alone", "adamw", uneven=True)
    assert np.allclose(losses(first, second), losses(whole), rtol=1e-6, atol=0)
    for name, value in whole["weights"].items():
        assert np.allclose(value, second["weights"][name], atol=2e-5), name


@pytest.mark.parametrize("rank", [0, 1])
def test_a_full_disk_on_one_rank_is_known_to_all_and_ends_nothing(rank, crews, straight, tmp_path):
    size, mesh = LAYOUTS["fsdp-2"]
    work = "tests.laws.resumes:go_with_a_full_disk"
    main, other = crews(size).run(work, folder=str(tmp_path), mesh=mesh, rank=rank, step=10)
    told = f"the checkpoint of step 10 could not be written (No space left on device on rank {rank}); "
    assert main["said"] == other["said"] == [told + "the one of step 5 stays the last good one"]
    assert losses(main) == losses(straight("fsdp-2", "adamw"))
    folder = tmp_path / "scratch" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000005", "step-00000015"]


def test_a_shard_that_one_rank_cannot_read_is_passed_over_by_all(crews, straight, tmp_path):
    first = go("fsdp-2", crews, tmp_path, kind="adamw", stop_at=STOP_AT)
    with open(tmp_path / "scratch" / "checkpoints" / f"step-{STOP_AT:08d}" / "rank-00001.safetensors", "r+b") as handle:
        handle.write(b"\xff" * 16)
    second = go("fsdp-2", crews, tmp_path, kind="adamw", seed=99)
    assert second["rows"][0]["step"] == 6, "the checkpoint of step 5"
    whole = losses(straight("fsdp-2", "adamw"))
    assert losses(first)[:5] + losses(second) == whole


def test_a_checkpoint_of_another_model_is_refused_on_every_rank(crews, tmp_path):
    go("fsdp-2", crews, tmp_path, kind="adamw", stop_at=STOP_AT)
    with pytest.raises(AssertionError, match="the checkpoint is of another model: tensor model") as caught:
        go("fsdp-2", crews, tmp_path, kind="adamw", config={"intermediate_size": 64})
    assert "rank 0 of 2:" in str(caught.value)
    assert "rank 1 of 2:" in str(caught.value)
