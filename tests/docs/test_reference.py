"""The references say what the code says: every recipe field with its meaning, every verb with its options."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from shikomi.cli.main import VERBS
from shikomi.recipe.load import load
from shikomi.recipe.site import load_site
from tests.docs.conftest import ROOT

REFERENCE = ROOT / "docs" / "reference"


def script(name: str) -> ModuleType:
    """One of the scripts beside the references, as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", REFERENCE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recipe_script() -> ModuleType:
    return script("generate")


def test_every_recipe_field_has_a_meaning(recipe_script):
    found = list(recipe_script.fields())
    assert {"name", "corpus.warc", "pretrain.optim.rate", "dialogues.sources.form"} <= {key for key, _, _ in found}
    assert [key for key, _, meaning in found if len(meaning) < 10] == []


def test_every_recipe_field_is_in_the_reference(recipe_script):
    text = (REFERENCE / "recipe.md").read_text(encoding="utf-8")
    tables, table = {"": ""}, ""
    for line in text.splitlines():
        if line.startswith("## `"):
            table = line.strip("# `[]") + "."
        elif line.startswith("## "):
            table = ""
        elif line.startswith("| `"):
            tables[table + line.split("`")[1]] = line
    missing = [key for key, _, _ in recipe_script.fields() if key not in tables]
    assert missing == []


def test_the_recipe_reference_is_up_to_date(recipe_script):
    assert (REFERENCE / "recipe.md").read_text(encoding="utf-8") == recipe_script.render(), "run: make reference"


def test_defaults_in_the_reference_are_those_of_each_stage(recipe_script):
    sections = recipe_script.render().split("\n## ")
    rates = {
        section.split("`")[1]: next(line for line in section.splitlines() if line.startswith("| `rate`"))
        for section in sections
        if ".optim]`" in section.splitlines()[0]
    }
    assert len(rates) == 4
    assert rates["[pretrain.optim]"] != rates["[sft.optim]"] != rates["[dpo.optim]"]


def test_the_command_reference_is_up_to_date():
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    assert text == script("generate_commands").render(), "run: make reference"
    for verb in VERBS:
        assert f"\n## `shikomi {verb}`\n" in text


@pytest.mark.parametrize("recipe", sorted(path.name for path in (ROOT / "recipes").glob("*.toml")))
def test_shipped_recipes_load(recipe):
    assert load(ROOT / "recipes" / recipe).name == recipe.removesuffix(".toml")


@pytest.mark.parametrize("site", sorted(path.name for path in (ROOT / "sites").glob("*.toml")))
def test_shipped_sites_load(site):
    assert load_site(ROOT / "sites" / site).workers >= 0
