"""Pages of one's own with the sample's dialogues: the synthetic web is written for its facts, after the pages."""

from __future__ import annotations

from pathlib import Path

from shikomi.build import steps
from shikomi.flow.runner import Build
from shikomi.flow.step import Source
from shikomi.flow.store import Store
from shikomi.recipe.load import load
from tests.conftest import ROOT


def test_the_sample_is_written_for_its_facts_alone(tmp_path: Path):
    (tmp_path / "a.warc.gz").write_bytes(b"pages")
    path = ROOT / "recipes" / "quickstart.toml"
    own = steps(load(path, [f"corpus.warc={tmp_path}/*.warc.gz"]), path.parent)
    names = [step.name for step in own]
    assert names.index("crawl") < names.index("dialogues") < names.index("pages")
    by_name = {step.name: step for step in own}
    assert isinstance(by_name["pages"].inputs["crawl"], Source)
    assert by_name["dialogues"].inputs["crawl"] is by_name["crawl"]
    whole = {step.name: step for step in steps(load(path), path.parent)}
    build = Build(own, Store(tmp_path / "store"))
    for name in ("crawl", "dialogues"):
        assert build.id(by_name[name]) == build.id(whole[name]), name
    for name in ("pages", "corpus", "pretrain", "anneal"):
        assert build.id(by_name[name]) != build.id(whole[name]), name
