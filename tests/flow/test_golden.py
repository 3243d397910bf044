"""The quickstart's ids are pinned: a changed default, version or canonical form shows here as what it would rebuild."""

from __future__ import annotations

from shikomi.io import read_json
from tests.flow.refresh_golden import GOLDEN, quickstart_ids


def test_the_quickstart_s_ids_are_as_pinned():
    pinned, found = read_json(GOLDEN), quickstart_ids()
    rebuilt = [name for name in {**pinned, **found} if pinned.get(name) != found.get(name)]
    assert not rebuilt, (
        f"these stages of the quickstart have other ids and would be built anew: {', '.join(rebuilt)}. "
        "If that is meant, run `python -m tests.flow.refresh_golden` and commit the file."
    )
