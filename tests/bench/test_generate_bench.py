"""The generation bench from end to end on a tiny model, the peer being the transformers that tests have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.mark.slow
def test_both_answer_the_same_and_are_timed_in_turns(monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("driver", "generate", "pace", "paced"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import driver
    import generate

    if not (driver.ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("the bench runs in .venv (make setup-dev)")
    monkeypatch.setattr(generate, "BATCHES", (8,))
    told = []
    theirs = driver.Peer("transformers", ".venv", "huggingface/generate.py")
    found = generate.compare(True, 5, told.append, tiny=True, theirs=theirs)
    assert len(found["vs_generate"]) == 1
    assert found["low"][0] <= found["vs_generate"][0] <= found["high"][0]
    assert len(told) == 6
    for name in ("driver", "generate", "pace", "paced"):
        sys.modules.pop(name, None)
