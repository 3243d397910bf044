"""One dial: parameters hit, shapes that fall into tiles, reasons for each number, contradictions told."""

from __future__ import annotations

import json
import math
from importlib import resources
from statistics import median

import pytest

from shikomi.errors import RecipeError
from shikomi.recipe import dial
from shikomi.recipe.dial import parameters, reasons, resolve
from shikomi.recipe.load import load
from shikomi.recipe.model import ModelPage
from tests.recipe.conftest import Write

SIZES = ("10M", "13M", "25M", "60M", "125M", "300M", "780M", "1.3B", "3B", "7B", "13B", "33B", "70B", "100B")


def page(**given: object) -> ModelPage:
    return ModelPage.model_validate(given)


@pytest.mark.parametrize("vocab_size", [4096, 65_536, 131_072])
@pytest.mark.parametrize("params", SIZES)
def test_the_shape_has_the_parameters_asked_for(params: str, vocab_size: int):
    asked = page(params=params)
    shape = resolve(asked, vocab_size)
    assert abs(parameters(shape, vocab_size) / asked.params - 1) <= 0.0075
    assert shape.heads % shape.kv_heads == 0
    assert shape.head_dim in (64, 128)
    assert shape.heads * shape.head_dim == shape.hidden_size
    assert shape.intermediate_size % 64 == 0
    assert shape.tie_embeddings == (asked.params < dial.TIED_BELOW)
    assert resolve(shape, vocab_size) == shape
    if asked.params >= 7e9:
        assert shape.kv_heads in (4, 8)
        assert shape.intermediate_size % 128 == 0
        assert 0.7 < shape.layers / dial.layers_of(shape.hidden_size) < 1.4
        assert 2.5 < shape.intermediate_size / shape.hidden_size < 4.5


@pytest.mark.parametrize("layout", ["qwen3", "llama", "mistral", "qwen2"])
def test_parameters_are_those_that_the_model_has(layout: str):
    from shikomi.model.config import from_page
    from shikomi.plan.shape import of_page

    shape = resolve(page(params="30M", layout=layout), 4096)
    assert parameters(shape, 4096) == from_page(shape, 4096).parameters == of_page(shape, 4096).parameters


def test_the_rule_is_fitted_to_published_models():
    table = json.loads(resources.files("shikomi.recipe").joinpath("dense_models.json").read_text(encoding="utf-8"))
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["models"]]
    x, y = [[math.log(row[key]) for row in rows] for key in ("hidden_size", "layers")]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    assert slope == pytest.approx(dial.LAYERS_POWER, abs=0.001)
    assert math.exp(mean_y - slope * mean_x) == pytest.approx(dial.LAYERS_FACTOR, abs=0.001)
    gated = [row["intermediate_size"] / row["hidden_size"] for row in rows if "pythia" not in row["name"]]
    assert median(gated) == pytest.approx(dial.FEED_FORWARD, abs=0.05)


def test_fields_that_are_given_stay_and_the_others_follow():
    shape = resolve(page(params="1.3B", hidden_size=1536, head_dim=64, tie_embeddings=False), 65_536)
    assert (shape.hidden_size, shape.head_dim, shape.heads, shape.tie_embeddings) == (1536, 64, 24, False)
    assert parameters(shape, 65_536) == pytest.approx(1.3e9, rel=0.01)
    deep = resolve(page(params="1.3B", layers=40, max_tokens=2048), 65_536)
    assert (deep.layers, deep.max_tokens) == (40, 2048)
    assert parameters(deep, 65_536) == pytest.approx(1.3e9, rel=0.01)


def test_every_number_has_its_reason():
    told = {one.field: one for one in reasons(page(params="8B", layers=36), 131_072)}
    shape = resolve(page(params="8B", layers=36), 131_072)
    assert set(dial.SHAPE_FIELDS) <= told.keys()
    assert all(one.value == getattr(shape, name) for name, one in told.items() if name != "parameters")
    assert told["layers"].why == "given"
    assert "4096 / 128" in told["heads"].why
    assert told["vocab_multiple"].value == 1024
    assert reasons(ModelPage(), 4096) == []


def test_contradictions_are_told_with_their_line(write: Write):
    path = write('name = "x"\n[model]\nparams = "1.3B"\nhidden_size = 256\nlayers = 2\n')
    with pytest.raises(RecipeError, match="contradict each other") as told:
        load(path)
    assert "model.hidden_size, model.layers" in str(told.value)
    assert ":3" in str(told.value)
    assert "take model.params" in str(told.value)
    with pytest.raises(RecipeError, match=r"no decoder with a vocabulary of 65536"):
        load(write('name = "x"\n[tokenizer]\nvocab_size = 65536\n[model]\nparams = "2M"\n'))
    with pytest.raises(RecipeError, match=r"model\.params and model\.base"):
        load(write('name = "x"\n[model]\nparams = "1B"\nbase = "m"\n'))


def test_a_dial_and_the_fields_it_comes_to_are_one_identity(write: Write):
    by_dial = load(write('name = "x"\n[model]\nparams = "20M"\n')).model
    told = {name: getattr(by_dial, name) for name in (*dial.SHAPE_FIELDS, "max_tokens")}
    assert ModelPage(**told).identity() == by_dial.identity()
    assert "params" not in by_dial.identity()
    assert load(write('name = "x"\n[model]\nparams = "21M"\n')).model.identity() != by_dial.identity()
