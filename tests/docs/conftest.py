"""What the documents are checked against: the repository's own files."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@dataclass(frozen=True)
class Command:
    """A command line that a document shows: where it stands, and its words."""

    page: str
    line: str

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"

    @property
    def words(self) -> list[str]:
        """The words up to a comment, prompts and variables before the program left out."""
        bare = re.split(r"\s{2,}#|\s#\s", self.line)[0].split()
        while bare and ("=" in bare[0] or bare[0] == "$"):
            bare = bare[1:]
        return bare


def name(page: Path) -> str:
    """A page as the repository names it."""
    return page.relative_to(ROOT).as_posix()


def shell_commands(page: Path) -> list[Command]:
    """The lines of a page's ``sh`` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [Command(name(page), line) for block in blocks for line in block.splitlines() if line.strip()]


def tracked_files() -> list[Path]:
    """Files that git tracks or would track; outside a checkout, every text file that is ours."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    names = listed.stdout.splitlines() if listed.returncode == 0 else []
    found = [ROOT / each for each in names] or [path for path in ROOT.glob("[a-zA-Z]*/**/*") if path.is_file()]
    return [path for path in found if path.is_file()]


@pytest.fixture(scope="session")
def targets() -> set[str]:
    """The Makefile's targets."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
