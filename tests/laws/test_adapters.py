"""Adapters train the same however many ranks share the model, and nothing but them changes."""

from __future__ import annotations

import numpy as np
import pytest

from shikomi.model.transformer import Transformer, initialise
from tests.laws import adapters
from tests.laws.layouts import CONFIG
from tests.laws.test_layouts import differ

WORK = "tests.laws.adapters:train"


def test_only_adapters_change():
    model = Transformer(CONFIG)
    initialise(model, 1)
    run = adapters.train(merge=False)
    for name, value in model.named_parameters():
        assert np.array_equal(run["weights"][name], value.detach().numpy()), name
    moved = [name for name, value in run["weights"].items() if name.endswith("lora_B.weight") and value.any()]
    assert len(moved) == 7 * CONFIG.layers


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_ranks_that_share_an_adapted_model_train_the_same(kind, crews):
    run = crews(2).run(WORK, mesh={"shard": 2}, kind=kind)[0]
    plain = adapters.train(kind=kind)
    assert plain["rows"][-1]["loss"] < plain["rows"][0]["loss"]
    assert differ(plain, run) <= 1e-6
    assert run["weights"].keys() == plain["weights"].keys()
    for name, weight in plain["weights"].items():
        apart = np.linalg.norm(weight - run["weights"][name]) / np.linalg.norm(weight)
        assert apart <= 1e-3, f"{name} is {apart:.1e} apart"
