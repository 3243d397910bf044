"""How a token is chosen, against the definitions that transformers has."""

from __future__ import annotations

from itertools import count

import pytest
import torch

from shikomi.model.sampling import Choice, Sampling, choose, log_probs

DRAWS = 4000


def logits(rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, 40, generator=torch.Generator().manual_seed(2)) * 2


def shares(row: torch.Tensor, sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Share of each token when random numbers are spread evenly."""
    number = count()
    monkeypatch.setattr(Choice, "draw", lambda self: (next(number) + 0.5) / DRAWS)
    found = choose(row.expand(DRAWS, -1), [Choice(sampling, [])] * DRAWS)
    return torch.bincount(torch.tensor(found), minlength=row.shape[-1]) / DRAWS


@pytest.mark.parametrize(
    ("sampling", "warpers"),
    [
        (Sampling(temperature=0.7), [("Temperature", 0.7)]),
        (Sampling(temperature=1.5, top_k=5), [("Temperature", 1.5), ("TopK", 5)]),
        (Sampling(temperature=1.0, top_p=0.8), [("TopP", 0.8)]),
        (Sampling(temperature=1.0, min_p=0.1), [("MinP", 0.1)]),
        (
            Sampling(temperature=2.0, top_k=12, top_p=0.7, min_p=0.05),
            [("Temperature", 2.0), ("TopK", 12), ("TopP", 0.7), ("MinP", 0.05)],
        ),
        (Sampling(temperature=1.0, top_k=400, top_p=0.01), [("TopP", 0.01)]),
    ],
)
def test_tokens_are_drawn_as_transformers_would(sampling, warpers, monkeypatch):
    transformers = pytest.importorskip("transformers")
    expected = logits()
    for name, value in warpers:
        expected = getattr(transformers, f"{name}LogitsWarper")(value)(None, expected)
    expected = torch.softmax(expected, -1)[0]
    found = shares(logits(), sampling, monkeypatch)
    assert (found - expected).abs().max() <= 1.5 / DRAWS
    assert not found[expected == 0].any()


def test_penalties_are_those_of_their_definitions():
    transformers = pytest.importorskip("transformers")
    row, prompt, said = logits()[0], [3, 4, 4], [7, 8]
    choice = Choice(Sampling(repetition_penalty=1.7), prompt)
    choice.penalise(row)
    for token in said:
        choice.said(token)
    processor = transformers.RepetitionPenaltyLogitsProcessor(1.7)
    assert torch.equal(choice.penalise(row), processor(torch.tensor([prompt + said]), row[None])[0])
    choice = Choice(Sampling(presence_penalty=0.5), prompt)
    choice.penalise(row)
    for token in (*said, *said):
        choice.said(token)
    expected = row.clone()
    expected[said] -= 0.5
    assert torch.equal(choice.penalise(row), expected)


def test_rows_are_chosen_each_by_its_own_settings():
    rows = logits(6)
    settings = [
        Sampling(),
        Sampling(temperature=1.0, seed=1),
        Sampling(temperature=0.8, top_k=3, seed=2),
        Sampling(temperature=2.0, top_p=0.9, seed=3),
        Sampling(repetition_penalty=4.0),
        Sampling(temperature=0.8, top_k=4, seed=2, presence_penalty=1.0),
    ]
    together = choose(rows, [Choice(sampling, [1, 2]) for sampling in settings])
    alone = [choose(rows[n : n + 1], [Choice(sampling, [1, 2])])[0] for n, sampling in enumerate(settings)]
    assert together == alone
    assert together[0] == rows[0].argmax()


def test_numbers_are_a_stream_of_the_seed():
    one, again, other = Choice(Sampling(seed=4), []), Choice(Sampling(seed=4), []), Choice(Sampling(seed=5), [])
    first = [one.draw() for _ in range(150)]
    assert first == [again.draw() for _ in range(150)]
    assert first != [other.draw() for _ in range(150)]
    assert len(set(first)) == 150
    assert 0 <= min(first) <= max(first) < 1


def test_log_probs_are_the_models():
    rows = logits(3)
    expected = torch.log_softmax(rows, -1)[torch.arange(3), torch.tensor([5, 0, 39])]
    assert log_probs(rows, [5, 0, 39]) == pytest.approx(expected.tolist(), abs=1e-6)
