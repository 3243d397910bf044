"""Which token comes next: greedy, or drawn from a distribution that is narrowed first.

A row's choice depends on its own logits, settings and random numbers alone: rows that go through other arithmetic are
never mixed, and each row has its own stream of random numbers.

Shape letters: B rows, V vocabulary, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shikomi.errors import UsageError

NUMBERS_AT_ONCE = 64
"""Random numbers made at once for a row; how many changes nothing of what they are."""


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen, in this order (that of transformers): penalties, temperature, top_k, top_p, min_p.

    Attributes:
        temperature: 0 takes the likeliest token; above, logits are divided by it and a token is drawn.
        top_k: draw among so many likeliest tokens; 0: all.
        top_p: draw among the fewest likeliest tokens that have at least this probability together; 1: all.
        min_p: leave out tokens less likely than this times the likeliest; 0: none.
        repetition_penalty: logits of tokens in prompt or answer are divided by it where positive, multiplied where
            negative (Keskar et al. 2019); 1: none.
        presence_penalty: subtracted from the logits of tokens in the answer; 0: none.
        seed: of the random numbers.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "temperature": (self.temperature >= 0, "0 or more"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0, at most 1"),
            "min_p": (0 <= self.min_p <= 1, "from 0 to 1"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0"),
        }
        for name, (fits, range_) in allowed.items():
            if not fits:
                raise UsageError(f"{name} = {getattr(self, name)} cannot be", hint=f"{name} is {range_}")

    @property
    def penalised(self) -> bool:
        """Whether what was said before changes the logits."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0


class Choice:
    """One row's settings with what it has drawn and said so far.

    Args:
        sampling: the settings.
        prompt: ids before the answer.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self.sampling = sampling
        self._numbers = _numbers(sampling.seed)
        self._prompt = prompt
        self._seen: Tensor | None = None
        self._said: Tensor | None = None

    def draw(self) -> float:
        """The row's next random number, in [0, 1)."""
        return next(self._numbers)

    def said(self, token: int) -> None:
        """Take note of a token of the answer."""
        if self._seen is not None and self._said is not None:
            self._seen[token] = self._said[token] = True

    def penalise(self, logits_V: Tensor) -> Tensor:
        """The row's logits after its penalties."""
        if self._seen is None or self._said is None:
            self._said = torch.zeros(logits_V.shape[-1], dtype=torch.bool, device=logits_V.device)
            self._seen = self._said.clone()
            self._seen[torch.tensor(list(self._prompt), device=logits_V.device)] = True
        factor = self.sampling.repetition_penalty
        repeated = torch.where(logits_V > 0, logits_V / factor, logits_V * factor)
        return torch.where(self._seen, repeated, logits_V) - self._said * self.sampling.presence_penalty


def choose(logits_BV: Tensor, choices: Sequence[Choice]) -> list[int]:
    """The next token of each row, which its choice is then told by ``said``.

    Args:
        logits_BV: float32.
        choices: one for each row.
    """
    if any(choice.sampling.penalised for choice in choices):
        logits_BV = torch.stack(
            [
                choice.penalise(logits) if choice.sampling.penalised else logits
                for logits, choice in zip(logits_BV, choices, strict=True)
            ]
        )
    drawn = [row for row, choice in enumerate(choices) if choice.sampling.temperature > 0]
    if not drawn:
        return _likeliest(logits_BV)
    chosen = _likeliest(logits_BV) if len(drawn) < len(choices) else [0] * len(choices)
    alike: dict[tuple[int, bool], list[int]] = {}
    for row in drawn:
        sampling = choices[row].sampling
        alike.setdefault((sampling.top_k, sampling.top_p < 1), []).append(row)
    for (top_k, nucleus), rows in alike.items():
        found = _drawn(logits_BV[rows], [choices[row] for row in rows], top_k, nucleus)
        for row, token in zip(rows, found, strict=True):
            chosen[row] = token
    return chosen


def log_probs(logits_BV: Tensor, tokens: Sequence[int]) -> list[float]:
    """log p(token) in nats of each row, under the model as it is: before penalties, temperature and narrowing."""
    chosen = torch.tensor(tokens, device=logits_BV.device)[:, None]
    return (logits_BV.gather(1, chosen)[:, 0] - torch.logsumexp(logits_BV, dim=-1)).tolist()


def _likeliest(logits_BV: Tensor) -> list[int]:
    # NumPy's is vectorised: 8,192 wide 0.6 against 7 us a row.
    found = logits_BV.numpy() if logits_BV.device.type == "cpu" else logits_BV
    return found.argmax(-1).tolist()


def _drawn(logits_BV: Tensor, choices: Sequence[Choice], top_k: int, nucleus: bool) -> list[int]:
    """Draw by the inverse of the cumulative distribution, which takes one random number whatever the vocabulary."""

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).to(logits_BV.device, logits_BV.dtype)[:, None]

    scaled = logits_BV / column([choice.sampling.temperature for choice in choices])
    ids_BC = None
    if 0 < top_k < scaled.shape[-1]:
        scaled, ids_BC = scaled.topk(top_k, dim=-1)
    elif nucleus:
        scaled, ids_BC = scaled.sort(dim=-1, descending=True, stable=True)
    likely = torch.softmax(scaled, dim=-1)
    if nucleus:
        before = likely.cumsum(dim=-1) - likely
        likely = likely.masked_fill(before >= column([choice.sampling.top_p for choice in choices]), 0)
    least = column([choice.sampling.min_p for choice in choices]) * likely.amax(dim=-1, keepdim=True)
    summed = likely.masked_fill(likely < least, 0).double().cumsum(dim=-1)
    numbers = torch.tensor([choice.draw() for choice in choices], dtype=torch.float64, device=summed.device)[:, None]
    # The first candidate whose sum is above the number: one of probability 0 never is.
    found = torch.searchsorted(summed, numbers * summed[:, -1:], right=True).clamp_(max=summed.shape[-1] - 1)
    return (found if ids_BC is None else ids_BC.gather(1, found))[:, 0].tolist()


def _numbers(seed: int) -> Iterator[float]:
    generator = torch.Generator().manual_seed(seed % 2**63)
    while True:
        yield from torch.rand(NUMBERS_AT_ONCE, generator=generator, dtype=torch.float64).tolist()
