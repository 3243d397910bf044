"""Dependencies are justified and pinned, make tells what is missing, and CI checks what developers check."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.docs.conftest import ROOT

with open(ROOT / "pyproject.toml", "rb") as _handle:
    PROJECT = tomllib.load(_handle)
GROUPS = {"Needed to run": PROJECT["project"]["dependencies"]} | {
    f"Extra `{extra}`": needs for extra, needs in PROJECT["project"]["optional-dependencies"].items()
}


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(each).name) for each in requirements}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(row) == 2 for row in rows), "every line pins one version"
    return {canonicalize_name(package): version for package, version in rows}


@pytest.mark.parametrize("group", GROUPS)
def test_every_dependency_has_its_line_in_the_decision(group):
    text = (ROOT / "docs" / "adr" / "0004-dependencies.md").read_text(encoding="utf-8")
    section = re.split(r"^### ", text, flags=re.MULTILINE)
    (found,) = [part for part in section if part.startswith(group)]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines() if line.startswith("|")
    ]
    assert {canonicalize_name(row[0]) for row in rows[2:]} == names(GROUPS[group])
    assert all(len(row) == 3 and len(row[2]) > 10 for row in rows[2:])


def test_every_dependency_is_pinned_within_its_range():
    pinned = pins()
    for requirement in map(Requirement, (each for needs in GROUPS.values() for each in needs)):
        assert Version(pinned[canonicalize_name(requirement.name)]) in requirement.specifier, requirement


def test_what_is_installed_is_all_pinned():
    """Everything that our packages pull in on this machine stands in constraints.txt."""
    installed = GROUPS["Needed to run"] + GROUPS["Extra `cluster`"] + GROUPS["Extra `dev`"]
    pinned, seen, todo = pins(), set(), [*map(Requirement, installed)]
    while todo:
        requirement = todo.pop()
        package = canonicalize_name(requirement.name)
        if package in seen or package.startswith("nvidia-") or package in ("triton", "cuda-toolkit", "cuda-bindings"):
            continue  # torch's CUDA build names its own parts, each at one version
        seen.add(package)
        assert package in pinned, package
        for needed in map(Requirement, metadata.requires(package) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                todo.append(needed)
    assert len(seen) > 40


def test_torch_is_pinned_to_the_release_that_the_guide_names():
    for guide in ("quickstart.md", "quickstart.en.md"):
        assert pins()["torch"] in (ROOT / "docs" / "guides" / guide).read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path):
    """A folder with what `make setup` reads, and no .venv."""
    if shutil.which("make") is None:
        pytest.skip("make is absent")
    folder = tmp_path / "新しい checkout"
    folder.mkdir()
    for file in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / file, folder)
    return folder


def make(folder, *arguments: str) -> subprocess.CompletedProcess:
    """Run make as a user does: this very test may be running under a make that hands its own flags on."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    }
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_make_without_python_says_so(checkout):
    done = make(checkout, "setup", "PYTHON=")
    assert done.returncode != 0
    assert "Python 3.11, 3.12 or 3.13 was not found" in done.stderr
    assert "hint:" in done.stderr


def test_make_with_a_python_without_venv_says_what_to_install(checkout):
    fake = checkout / "python3"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    done = make(checkout, "setup", f"PYTHON={fake}")
    assert done.returncode != 0
    assert "venv module is not complete" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert not (checkout / ".venv").exists()


def test_setup_runs_once(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    for program in ("python", "shikomi"):
        fake = checkout / ".venv" / "bin" / program
        fake.write_text('#!/bin/sh\necho "$0 $*" >> log\n')
        fake.chmod(0o755)
    log = checkout / "log"
    assert make(checkout, "setup").returncode == 0
    installs = [line for line in log.read_text().splitlines() if " install " in line]
    assert all("-c constraints.txt" in line for line in installs)
    assert len(installs) == 2
    log.write_text("")
    assert make(checkout, "setup").returncode == 0
    assert " install " not in log.read_text()
    (checkout / "constraints.txt").touch()
    assert make(checkout, "setup").returncode == 0
    assert " install " in log.read_text()


def test_help_tells_every_target(checkout, targets):
    told = {line.split()[1] for line in make(checkout).stdout.splitlines()}
    assert told == targets - {"help"} | {"help"}


def test_commits_are_checked_by_what_lint_runs():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for tool in ("ruff check", "ruff format", "pyright", "lint-imports"):
        assert tool in hooks
        assert tool in makefile.split("\nlint:")[1].split("\n\n")[0]


def test_ci_checks_style_before_tests_and_demands_coverage():
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert "set -euo pipefail" in text
    order = [text.index(step) for step in ("make lint", "make test ", "--fail-under=90", "make test-quickstart\n")]
    assert order == sorted(order)
    assert "SHIKOMI_NO_SKIP=chromium,ray,other" in text
