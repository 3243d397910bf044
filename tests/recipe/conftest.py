"""A recipe written into a folder of its own; its name is Japanese and has a space in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a recipe's text; returns its path."""

    def written(text: str) -> Path:
        path = tmp_path / "私の レシピ.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written
