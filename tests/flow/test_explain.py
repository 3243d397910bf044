"""Why a stage is to be built."""

from __future__ import annotations

from pathlib import Path

from shikomi.flow.explain import differences, why
from shikomi.flow.runner import Build
from shikomi.flow.step import Source
from shikomi.flow.store import Store
from tests.flow.toys import chain, toy


def test_cached_never_and_cut_off(tmp_path: Path) -> None:
    build = Build(chain(), Store(tmp_path))
    assert why(build, build.step("crawl")) == "never built in this store"
    build.run(until="corpus")
    assert why(build, build.step("corpus")) == "cached"
    (build.store.begin("tokens", build.id(build.step("tokens"))) / "half").write_text("")
    assert why(build, build.step("tokens")).startswith("never built in this store (cut off")


def test_the_first_field_that_differs_is_named_and_followed_to_its_cause(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Build(chain(), store).run()
    build = Build(chain(second=5), store)
    assert why(build, build.step("corpus")).startswith("page.rules.letters: 1 → 5 (nearest earlier build: ")
    assert why(build, build.step("tokens")).startswith("input corpus ← corpus: page.rules.letters: 1 → 5")


def test_the_nearest_of_several_earlier_builds_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Build([toy("a", {"x": 1, "y": 1, "z": 1})], store).run()
    Build([toy("a", {"x": 2, "y": 2, "z": 2})], store).run()
    build = Build([toy("a", {"x": 1, "y": 1, "z": 3})], store)
    assert why(build, build.steps[0]).startswith("page.z: 1 → 3")


def test_versions_new_inputs_and_changed_files_are_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "f").write_text("one")
    files = Source("files", [tmp_path / "f"])
    Build([toy("a", {}, {"files": files})], store).run()
    newer = Build([toy("a", {}, {"files": files}, version=2)], store)
    assert why(newer, newer.steps[0]).startswith("version: 1 → 2")
    more = Build([toy("a", {}, {"files": files, "more": toy("b", {})})], store)
    assert why(more, more.steps[0]) == "input more: new"
    fewer = Build([toy("a", {})], store)
    assert why(fewer, fewer.steps[0]) == "input files: no longer read"
    (tmp_path / "f").write_text("two")
    changed = Build([toy("a", {}, {"files": files})], store)
    assert why(changed, changed.steps[0]) == "input files: the contents of its files changed"


def test_damage_is_told(tmp_path: Path) -> None:
    build = Build(chain(), Store(tmp_path))
    build.run()
    (build.folder(build.step("crawl")) / "rows.jsonl").write_text("")
    assert why(build, build.step("crawl")).startswith("damaged: rows.jsonl has 0 bytes")


def test_an_input_whose_earlier_result_is_gone(tmp_path: Path) -> None:
    import shutil

    store = Store(tmp_path)
    Build(chain(), store).run()
    shutil.rmtree(tmp_path / "crawl")
    build = Build(chain(first=2), store)
    assert why(build, build.step("corpus")) == "input crawl: the result of stage crawl is another one"


def test_a_value_of_another_type_differs() -> None:
    one, other = ({"version": 1, "page": {"a": value}, "inputs": {}} for value in (1, True))
    assert differences(one, other) == [("page.a", 1, True)]
    gone = {"version": 1, "page": {}, "inputs": {}}
    assert differences(gone, one) == [("page.a", None, 1)]
