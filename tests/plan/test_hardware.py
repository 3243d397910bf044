"""Processors and memory as this process may use them."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from shikomi.plan import hardware


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty control group on a machine of eight processors and 8 GB."""
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 8_000_000_000 // 4096}.__getitem__)
    return tmp_path


def place(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("told", "cores"),
    [
        ("200000 100000\n", 2),
        ("250000 100000\n", 3),
        ("50000 100000\n", 1),
        ("max 100000\n", 8),
        ("6400000 100000\n", 8),
        ("nonsense\n", 8),
    ],
)
def test_a_quota_of_the_second_version(cgroup: Path, told: str, cores: int):
    place(cgroup, "cpu.max", told)
    assert hardware.usable_cores() == cores


@pytest.mark.parametrize(("granted", "cores"), [("150000", 2), ("-1", 8), ("", 8)])
def test_a_quota_of_the_first_version(cgroup: Path, granted: str, cores: int):
    place(cgroup, "cpu/cpu.cfs_quota_us", granted)
    place(cgroup, "cpu/cpu.cfs_period_us", "100000")
    assert hardware.usable_cores() == cores


def test_without_a_quota_the_affinity_decides(cgroup: Path, monkeypatch: pytest.MonkeyPatch):
    assert hardware.usable_cores() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert hardware.usable_cores() == 1


def test_where_the_system_has_no_affinity_its_processors_count(cgroup: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert hardware.usable_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert hardware.usable_cores() == 1


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
@pytest.mark.parametrize(
    ("told", "found"),
    [("4000000000\n", 4_000_000_000), ("9223372036854771712\n", 8_000_000_000), ("max\n", 8_000_000_000)],
)
def test_memory_is_the_least_of_machine_and_limit(cgroup: Path, name: str, told: str, found: int):
    place(cgroup, name, told)
    assert hardware.memory_bytes() == pytest.approx(found, abs=4096)


def test_the_machine_as_it_is_told():
    told = hardware.describe()
    assert told["cores"] == hardware.usable_cores() >= 1
    assert told["memory_mb"] > 100
    assert told["processor"]
    assert told["system"].split()[0] == os.uname().sysname
    assert isinstance(told["accelerators"], list)
    assert os.uname().nodename not in set(map(str, told.values()))


def test_a_processor_that_the_kernel_does_not_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "read_text", lambda *given, **more: "flags : fpu\n")
    assert hardware.processor() in (platform.processor(), platform.machine())


def test_devices_are_named_as_the_driver_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number, name in enumerate(["NVIDIA A", "NVIDIA B"]):
        place(tmp_path, f"{number}/information", f"IRQ: 1\nModel: \t {name}\n")
    monkeypatch.setattr(hardware, "Path", _Folders)
    _Folders.found = [tmp_path / "1" / "information", tmp_path / "0" / "information", tmp_path / "absent"]
    assert hardware.accelerators() == ["NVIDIA A", "NVIDIA B"]


class _Folders:
    """Stands for the driver's folder."""

    found: list[Path] = []

    def __init__(self, name: str) -> None:
        assert name.startswith("/proc/driver")

    def glob(self, pattern: str) -> list[Path]:
        return self.found
