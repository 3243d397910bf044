"""The bench driver: runs are measured in rounds, and what goes wrong is an error that says so."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("bench_driver", BENCH / "driver.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_driver", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "BENCH", tmp_path / "bench")
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "bench" / "peers").mkdir(parents=True)
    return module


def peer(driver, code: str):
    (driver.BENCH / "peers" / "script.py").write_text(code)
    return driver.Peer("peer", "env", "script.py")


def test_a_run_has_cpu_time_memory_and_what_was_said(driver):
    code = "import sys\nx = bytearray(60_000_000)\nsum(range(3_000_000))\n"
    code += "print('talk')\nprint('{\"pages\": %d}' % len(sys.argv))"
    run = driver.run(peer(driver, code), ["a", "b"])
    assert run.said == {"pages": 3}
    assert run.cpu_seconds > 0.02
    assert run.peak_mb > 60
    assert run.wall_seconds > 0


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit('broken')", r"failed \(1\): broken"),
        ("print('no json')", "did not end with a JSON object"),
        ("", "did not end with a JSON object"),
        ("import time; time.sleep(60)", r"failed \(-9\)"),
    ],
)
def test_a_run_that_is_not_complete_is_an_error(driver, code, message):
    with pytest.raises(driver.BenchError, match=message):
        driver.run(peer(driver, code), [], timeout_seconds=1 if "sleep" in code else 60)


def test_a_peer_that_is_not_installed_says_how_to_install_it(driver):
    with pytest.raises(driver.BenchError, match="run make bench-setup"):
        driver.run(driver.Peer("peer", "nowhere", "script.py"), [])


def test_peers_run_in_rounds_each_with_a_folder_of_its_own(driver):
    code = "import json, pathlib, sys\nempty = not list(pathlib.Path(sys.argv[2]).iterdir())\n"
    code += "print(json.dumps({'empty': empty, 'rest': sys.argv[3:]}))"
    one = peer(driver, code)
    other = driver.Peer("other", "env", "script.py")
    told: list[str] = []
    runs = driver.interleave([one, other], ["x"], 2, told.append)
    assert [run.said for run in runs["peer"] + runs["other"]] == [{"empty": True, "rest": ["x"]}] * 4
    assert [line.split(":")[0] for line in told] == ["peer 1/2", "other 1/2", "peer 2/2", "other 2/2"]


def test_ratios_are_of_pairs(driver):
    assert driver.ratios([4.0, 9.0, 10.0], [2.0, 3.0, 10.0]) == {"median": 2.0, "low": 1.0, "high": 3.0}


def test_results_are_written_by_name_and_date(driver):
    path = driver.write_result("corpus", {"ratio": 2.0, "machine": driver.machine()})
    assert path.parent == driver.BENCH / "results"
    assert json.loads(path.read_text())["machine"]["cores"] >= 1
