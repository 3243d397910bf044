"""Trafilatura as another extractor, for whom cleanliness counts more than completeness (bench/README.md has both)."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from shikomi.errors import MachineError

OURS, TRAFILATURA = "resiliparse", "trafilatura"


def require(extractor: str) -> None:
    """See, before a build begins, that an extractor is there.

    Raises:
        MachineError: it is not installed.
    """
    if extractor == TRAFILATURA and find_spec("trafilatura") is None:
        raise MachineError(
            "trafilatura is not installed",
            where="corpus.extractor",
            hint='pip install "shikomi[trafilatura]", or extractor = "resiliparse"',
        )


def lines_of(page: str) -> list[str]:
    """Main content of a page as Trafilatura sees it, without comments; as Swallow corpus v1, without tables.

    Args:
        page: HTML text.
    """
    text = import_module("trafilatura").extract(page, include_comments=False, include_tables=False) or ""
    return [line for line in map(str.strip, text.split("\n")) if line]
