"""Help and plan answer at once: little processor time, no heavy library."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processor_time import slower, start

ROOT = Path(__file__).resolve().parents[2]
SHIKOMI = ("-m", "shikomi.cli.main")
PLAN = ("plan", str(ROOT / "recipes" / "quickstart.toml"), "--store", "none")
MOST_SECONDS = 0.3
"""Beyond Python's own start (issue 4), on the machine that limits are for."""
HEAVY = {
    "importlib.metadata",
    "torch",
    "pyarrow",
    "numpy",
    "transformers",
    "ray",
    "tokenizers",
    "resiliparse",
    "fastwarc",
    "safetensors",
}


@pytest.mark.parametrize("words", [("--help",), ("plan", "--help"), PLAN], ids=["help", "plan help", "plan"])
def test_answers_at_once(tmp_path: Path, words: tuple[str, ...]):
    own, taken = [], []
    for _ in range(12):  # the least of several: others use the machine too
        own.append(start(tmp_path, "-c", "pass")[0])
        taken.append(start(tmp_path, *SHIKOMI, *words)[0])
        allowed = MOST_SECONDS * slower(min(own))
        if len(taken) >= 3 and min(taken) - min(own) < allowed:
            break
    assert min(taken) - min(own) < allowed


LOADED = """
import contextlib, io, sys
from shikomi.cli.main import run
with contextlib.redirect_stdout(io.StringIO()):
    code = run(sys.argv[1:])
print(*sorted({name.split(".")[0] for name in sys.modules} | {"importlib.metadata"} & set(sys.modules)))
sys.exit(code)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("chat", "--help"),
        ("build", "--help"),
        PLAN,
        ("status", *PLAN[1:]),
        ("status", *PLAN[1:], "--why", "dpo"),
    ],
    ids=" ".join,
)
def test_loads_nothing_heavy(tmp_path: Path, words: tuple[str, ...]):
    loaded = set(start(tmp_path, "-c", LOADED, *words)[1].splitlines()[-1].split())
    assert "shikomi" in loaded
    assert loaded & HEAVY == set()
