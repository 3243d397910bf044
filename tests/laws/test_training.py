"""Two ways of training agree: cut into micro-batches or not, packed or alone, straight or stopped and resumed."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shikomi.model.config import ModelConfig
from shikomi.model.transformer import Transformer, initialise
from shikomi.recipe.mesh import TrainingSite
from shikomi.recipe.train import OptimPage
from shikomi.train import loop
from shikomi.train.batches import DialogueRows, RowBatches, stack
from shikomi.train.loop import FitSpec, fit
from shikomi.train.objective import NextToken
from shikomi.train.optim import Optimiser, orthogonalise

EXACT = TrainingSite(precision="float32")
"""Laws hold to rounding: bfloat16, which some processors have, rounds a thousand times as coarsely."""
CONFIG = ModelConfig("qwen3", 64, 32, 2, 4, 2, 8, 48, 64)


def model(seed: int = 1) -> Transformer:
    made = Transformer(CONFIG)
    initialise(made, seed)
    return made


def dialogues(count: int = 40) -> list[tuple[list[int], list[int]]]:
    random = np.random.default_rng(0)
    sizes = random.integers(5, 15, count)
    return [(random.integers(2, 64, n).tolist(), [0, 0] + [1] * (int(n) - 2)) for n in sizes]


def rows(answers_only: bool = True) -> DialogueRows:
    return DialogueRows(dialogues(), 32, pad_id=0, seed=2, answers_only=answers_only)


def losses(folder) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_one_batch_equals_many_micro_batches(kind, tmp_path):
    curves = []
    for micro in (8, 1, 3):
        out = tmp_path / str(micro)
        trained = model()
        fit(trained, NextToken(), RowBatches(rows(), 8, micro), FitSpec(20, OptimPage(kind=kind), 50), out, site=EXACT)
        curves.append(losses(out))
    assert curves[0][-1] < curves[0][0]
    for other in curves[1:]:
        assert np.allclose(curves[0], other, rtol=2e-5)


def test_packed_equals_alone():
    made = model()
    source = rows()
    packed = stack([source.row(index) for index in range(6)])
    together, _ = NextToken().loss(made, packed)
    together.backward()
    gradients = {name: p.grad.clone() for name, p in made.named_parameters()}
    made.zero_grad()
    alone = torch.zeros(())
    for row in (source.row(index) for index in range(6)):
        for document in np.unique(row.documents_T[row.weights_T > 0]):
            inside = torch.from_numpy(row.documents_T == document)
            tokens, targets, weight = (
                torch.from_numpy(part)[inside][None] for part in (row.tokens_T, row.targets_T, row.weights_T)
            )
            scores = F.log_softmax(made.head(made(tokens)), -1).gather(2, targets[..., None])[..., 0]
            alone = alone - (scores * weight).sum()
    alone.backward()
    assert together.item() == pytest.approx(alone.item(), rel=1e-5)
    for name, parameter in made.named_parameters():
        assert torch.allclose(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4), name


class Stop(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("at", [3, 10, 17])
def test_stopped_and_resumed_is_bit_for_bit_the_straight_run(at, tmp_path):
    spec = FitSpec(20, OptimPage(), checkpoint_steps=4)
    straight = model()
    fit(straight, NextToken(), RowBatches(rows(), 4, 4), spec, tmp_path / "straight")

    def dies(done, total, unit, note=""):
        if done == at:
            raise Stop

    batches = RowBatches(rows(), 4, 4)
    with pytest.raises(Stop):
        fit(model(), NextToken(), batches, spec, tmp_path / "cut", progress=dies)
    resumed = model(seed=99)
    if at < 4:
        resumed = model()
    fit(resumed, NextToken(), batches, spec, tmp_path / "cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "straight")
    for (name, a), (_, b) in zip(straight.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_half_written_checkpoint_is_passed_over(tmp_path):
    spec = FitSpec(12, OptimPage(), checkpoint_steps=4)
    fit(model(), NextToken(), RowBatches(rows(), 4, 4), spec, tmp_path / "a")
    folder = tmp_path / "a" / "scratch" / "checkpoints"
    shutil.copytree(folder / "step-00000004", folder / "step-00000012.partial")
    (folder / "step-00000012.partial" / "model.safetensors").write_bytes(b"cut")
    again = model()
    fit(again, NextToken(), RowBatches(rows(), 4, 4), spec, tmp_path / "a")
    assert len(losses(tmp_path / "a")) == 12


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 6, 20), (3, 20, 6)])
def test_orthogonalise_brings_singular_values_near_one(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalise(x))
    # The quintic does not converge to 1: it lands between about 0.7 and 1.2 (Jordan et al. 2024).
    assert values.min() > 0.3
    assert values.max() < 1.35


def test_adamw_equals_torch():
    ours, theirs = model(), model()
    page = OptimPage(kind="adamw", rate=0.01, clip_norm=1e9, weight_decay=0.1)
    optimiser = Optimiser(ours, page)
    decayed = [p for n, p in theirs.named_parameters() if n in optimiser.matrices]
    plain = [p for n, p in theirs.named_parameters() if n not in optimiser.matrices]
    reference = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=0.01, betas=(page.beta1, page.beta2), eps=page.eps,
    )  # fmt: skip
    batch = stack([rows().row(0), rows().row(1)])
    for _ in range(5):
        for made in (ours, theirs):
            loss, _ = NextToken().loss(made, batch)
            (loss / batch.weight).backward()
        optimiser.clip()
        optimiser.step(1.0)
        reference.step()
        reference.zero_grad()
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-5), name


def test_clip_bounds_the_joint_norm():
    made = model()
    optimiser = Optimiser(made, OptimPage(clip_norm=0.5))
    loss, _ = NextToken().loss(made, stack([rows().row(0)]))
    loss.backward()
    before = optimiser.clip()
    after = optimiser.clip()
    assert before > 0.5
    assert after == pytest.approx(0.5, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    made = model()
    with torch.no_grad():
        made.model.norm.weight.fill_(float("nan"))
    with pytest.raises(loop.ShikomiError, match="loss is nan at step 1"):
        fit(made, NextToken(), RowBatches(rows(), 4, 4), FitSpec(3, OptimPage(), 5), tmp_path)


class Steep:
    """A finite loss whose gradient is not: the slope of a root at 0."""

    def loss(self, model, batch):
        return (model(batch.tokens_BT, batch.mask) * 0).sum().sqrt() + 1.0, {}


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_is_used(tmp_path):
    made, rows_seen = model(), []
    before = {name: p.detach().clone() for name, p in made.named_parameters()}

    class Keep:
        row, close = staticmethod(rows_seen.append), staticmethod(lambda: None)

    with pytest.raises(loop.ShikomiError, match="the gradient's norm is nan at step 1"):
        fit(made, Steep(), RowBatches(rows(), 4, 4), FitSpec(3, OptimPage(), 5), tmp_path, writers=[Keep()])
    assert np.isnan(rows_seen[0]["grad_norm"])
    assert rows_seen[0]["update_norm"] == 0.0
    assert all(torch.equal(p, before[name]) for name, p in made.named_parameters())


def test_an_embedding_with_a_head_of_its_own_may_have_its_own_rate():
    page = OptimPage(kind="muon", rate=0.01, embedding_rate=0.5)
    tied = Optimiser(model(), page)
    untied = Optimiser(Transformer(dataclasses.replace(CONFIG, tie_embeddings=False)), page)
    assert tied.rates["model.embed_tokens.weight"] == 0.01
    assert untied.rates["model.embed_tokens.weight"] == 0.5
    assert untied.rates["lm_head.weight"] == 0.01
    same = Optimiser(Transformer(dataclasses.replace(CONFIG, tie_embeddings=False)), OptimPage(rate=0.01))
    assert same.rates["model.embed_tokens.weight"] == 0.01


def test_the_summary_of_a_resumed_run_is_that_of_the_straight_run(tmp_path):
    """A loss that lies on the border of two roundings once came out as 5.9894 straight and 5.9893 resumed."""
    row = {"step": 1, "tokens": 8, "loss": 5.98935000001}
    straight = loop.Rows(tmp_path / "metrics.jsonl", 0, writes=True)
    straight.row(row)
    straight.close()
    resumed = loop.Rows(tmp_path / "metrics.jsonl", 1, writes=True)
    resumed.close()
    assert resumed.summary() == straight.summary()
