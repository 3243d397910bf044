"""Whether a machine will do, and how fast it is; with invented findings and measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shikomi.cli import doctor_verb
from shikomi.cli.doctor_verb import LEAST_MEMORY_BYTES, LIBRARIES, findings_text
from shikomi.cli.main import run
from shikomi.plan import hardware
from shikomi.plan.rates import read_measured, read_rates, save_rates
from tests.cli.shell import Shell

MEASURED: dict[str, Any] = {
    "measured": 1, "torch": "2", "device": "cpu", "gemm_gflops": 31.5, "reference": "192 wide", "torch_threads": 1,
    "train_tokens_per_second": 2000,
    "rates": {"train": [[192, 2e10], [768, 5e10]], "generate": 5e9, "start": 3.0,
              "crawl": 900.0, "pages": 300.0, "corpus": 210.0, "tokenizer": 4e5, "encode": 2e6},
}  # fmt: skip


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that will do, whichever it is, and whose disk has room."""
    monkeypatch.setattr(hardware, "memory_bytes", lambda: 8_000_000_000)
    monkeypatch.setattr(doctor_verb.shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000_000_000))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The programs that are started; each prints measurements."""
    started: list[list[str]] = []

    def start(words: list[str], **given: Any) -> subprocess.CompletedProcess[bytes]:
        started.append(words)
        out = b"a word of some library\n" + json.dumps(MEASURED).encode() + b"\n"
        return subprocess.CompletedProcess(words, 0, out, b"")

    monkeypatch.setattr(subprocess, "run", start)
    return started


def fails(monkeypatch: pytest.MonkeyPatch, how: Callable[[list[str]], Any]) -> None:
    monkeypatch.setattr(subprocess, "run", lambda words, **given: how(words))


def ended(shikomi: Shell, *words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr, however the verb leaves."""
    shikomi.capsys.readouterr()
    try:
        code = run([str(word) for word in words])
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    told = shikomi.capsys.readouterr()
    return code, told.out, told.err


def test_the_first_time_the_machine_is_measured(shikomi: Shell, programs: list[list[str]]):
    out = shikomi.done("doctor").out
    assert programs == [[sys.executable, "-m", "shikomi.cli.measure"]]
    for name in ("python", "processor", "cores", "memory", "accelerators", "torch", "free disk"):
        assert any(line.split()[:2] == ["ok", name] or line.startswith(f"ok  {name}") for line in out.splitlines()), (
            name
        )
    assert "2,000 tokens/s (192 wide)" in out
    assert "32 GFLOP/s (cpu)" in out
    assert "210 pages/s" in out
    assert read_rates().corpus == 210


def test_a_machine_that_was_measured_is_not_measured_again_unless_asked(shikomi: Shell, programs: list[list[str]]):
    save_rates(MEASURED | {"gemm_gflops": 99.0})
    assert "99 GFLOP/s" in shikomi.done("doctor").out
    assert programs == []
    assert "32 GFLOP/s" in shikomi.done("doctor", "--bench").out
    assert len(programs) == 1


def test_as_json(shikomi: Shell, programs: list[list[str]], tmp_path: Path):
    told = json.loads(shikomi.done("doctor", "--json", "--store", tmp_path / "not" / "there").out)
    assert told["fit"] is True
    assert set(LIBRARIES) <= set(told["findings"])
    assert told["findings"]["torch"]["found"] == metadata.version("torch")
    assert told["measured"]["gemm_gflops"] == 31.5
    assert Path(told["rates_path"]).is_file()
    assert not (tmp_path / "not").exists()


def test_too_little_memory_is_told_in_three_lines(
    shikomi: Shell, programs: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hardware, "memory_bytes", lambda: LEAST_MEMORY_BYTES - 1)
    code, out, err = ended(shikomi, "doctor")
    assert code == 3
    assert programs == []
    assert any(line.split()[:2] == ["NO", "memory"] for line in out.splitlines())
    assert [line.split()[0] for line in err.splitlines()] == ["error:", "at:", "hint:"]
    assert "memory: 3.5 GB" in err


def test_everything_that_will_not_do_is_told(shikomi: Shell, monkeypatch: pytest.MonkeyPatch):
    def version(name: str) -> str:
        if name == "torch":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(doctor_verb.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    code, out, err = ended(shikomi, "doctor", "--json")
    told = json.loads(out)
    assert code == 3
    assert told["fit"] is False
    assert {name for name, one in told["findings"].items() if not one["fit"]} == {"torch", "free disk"}
    assert told["measured"] is None
    assert err.count("error: ") == 2
    assert "make setup" in err


def test_a_measurement_that_fails_is_told_and_the_machine_still_does(shikomi: Shell, monkeypatch: pytest.MonkeyPatch):
    fails(monkeypatch, lambda words: subprocess.CompletedProcess(words, 1, b"", b"Boom: no torch\n"))
    done = shikomi.done("doctor")
    assert "Boom: no torch" in done.err
    assert "a guess" in done.err
    assert "GFLOP/s" not in done.out
    assert read_measured() is None


def test_a_measurement_that_takes_too_long_is_given_up(shikomi: Shell, monkeypatch: pytest.MonkeyPatch):
    def late(words: list[str]) -> None:
        raise subprocess.TimeoutExpired(words, 1)

    save_rates(MEASURED)
    fails(monkeypatch, late)
    done = shikomi.done("doctor", "--bench")
    assert "given up" in done.err
    assert "32 GFLOP/s" in done.out
    assert read_rates().corpus == 210


def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_verb.os, "getloadavg", lambda: (10_000.0, 0, 0))
    load = next(one for one in doctor_verb.look_at_machine() if one.name == "load")
    assert load.is_fit
    assert load.found == "10000.0 (busy: measurements will be low)"
    assert "10000.0" in findings_text([load], None)
