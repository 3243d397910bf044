"""Fixtures of the corpus tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.corpus.pages import Response, html_page, japanese_text, write_warc


@pytest.fixture
def crawl(tmp_path: Path) -> Callable[..., Path]:
    """Writes one WARC of ``count`` good pages starting at seed ``first``."""

    def make(name: str = "crawl.warc.gz", count: int = 3, first: int = 0, gzip: bool = True) -> Path:
        responses = [
            Response(f"https://example-{seed}.test/", html_page(japanese_text(seed)).encode())
            for seed in range(first, first + count)
        ]
        return write_warc(tmp_path / name, responses, gzip=gzip)

    return make
