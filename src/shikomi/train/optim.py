"""Optimisers with plain, named state: AdamW for vectors and embeddings, Muon for hidden matrices.

The state is a flat dict of tensors, so that checkpoints are safetensors files and hold no pickles.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from shikomi.recipe.train import OptimPage

# Quintic Newton–Schulz coefficients that push singular values towards 1 in five steps (Jordan et al. 2024, Muon).
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5
_MUON_MOMENTUM = 0.95
"""Nesterov momentum of Muon (Jordan et al. 2024)."""


def orthogonalise(matrices_NRC: Tensor) -> Tensor:
    """Replace each matrix by about U Vᵀ of its singular value decomposition; a stack [N, R, C], any R and C."""
    a, b, c = _NEWTON_SCHULZ
    x = matrices_NRC
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Optimiser:
    """Updates a model in place; ``state`` and ``load`` carry everything a resume needs.

    Hidden matrices (two-dimensional, neither embedding nor head) take Muon when the page says so; their update is
    scaled to a root mean square of 1, so that ``muon_rate`` and AdamW's ``rate`` are the same kind of number
    (Liu et al. 2025, arXiv 2502.16982, scale by 0.2 · sqrt(max(R, C)) to the same end). Weight decay is decoupled,
    and spares vectors and embeddings (OLMo 2).
    """

    def __init__(self, model: nn.Module, page: OptimPage) -> None:
        self.page = page
        self.parameters = dict(model.named_parameters())
        self.steps = 0
        muon = page.kind == "muon"
        self.matrices = [
            name for name, p in self.parameters.items() if p.ndim == 2 and "embed" not in name and "lm_head" not in name
        ]
        self.muon_groups = self._by_shape(self.matrices) if muon else []
        self.adam_names = [name for name in self.parameters if not (muon and name in set(self.matrices))]
        self.rates = {name: self._adam_rate(name) for name in self.adam_names}
        self.first = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.second = {name: torch.zeros_like(self.parameters[name]) for name in self.adam_names}

    def _adam_rate(self, name: str) -> float:
        """The page's peak rate for a parameter; a tied embedding is a head too, and keeps the head's rate."""
        own_head = "lm_head.weight" in self.parameters
        return self.page.embedding_rate or self.page.rate if own_head and "embed" in name else self.page.rate

    def _by_shape(self, names: list[str]) -> list[list[str]]:
        groups: dict[torch.Size, list[str]] = {}
        for name in names:
            groups.setdefault(self.parameters[name].shape, []).append(name)
        return list(groups.values())

    @torch.no_grad()
    def clip(self) -> float:
        """Scale all gradients so that their joint norm is at most ``clip_norm``; returns the norm before."""
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
        scale = torch.clamp(self.page.clip_norm / (norm + 1e-6), max=1.0)
        for gradient in gradients:
            gradient.mul_(scale)
        return float(norm)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One update with every rate times ``factor``; gradients are cleared."""
        self.steps += 1
        for name in self.adam_names:
            self._adam(name, self.rates[name] * factor)
        for names in self.muon_groups:
            self._muon(names, self.page.muon_rate * factor)
        for parameter in self.parameters.values():
            parameter.grad = None

    def _adam(self, name: str, rate: float) -> None:
        parameter, gradient = self.parameters[name], self.parameters[name].grad
        if gradient is None:
            return
        beta1, beta2 = self.page.beta1, self.page.beta2
        first, second = self.first[name], self.second[name]
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        if name in self.matrices:
            parameter.mul_(1 - rate * self.page.weight_decay)
        scale = (1 - beta2**self.steps) ** 0.5
        denominator = second.sqrt().div_(scale).add_(self.page.eps)
        parameter.addcdiv_(first, denominator, value=-rate / (1 - beta1**self.steps))

    def _muon(self, names: list[str], rate: float) -> None:
        updates = []
        for name in names:
            gradient = self.parameters[name].grad
            if gradient is None:
                gradient = torch.zeros_like(self.parameters[name])
            self.first[name].lerp_(gradient, 1 - _MUON_MOMENTUM)
            updates.append(gradient.lerp(self.first[name], _MUON_MOMENTUM))
        stacked = orthogonalise(torch.stack(updates))
        # A semi-orthogonal R x C matrix has root mean square 1 / sqrt(max(R, C)).
        stacked.mul_(max(stacked.shape[-2:]) ** 0.5)
        for name, update in zip(names, stacked, strict=True):
            parameter = self.parameters[name]
            parameter.mul_(1 - rate * self.page.weight_decay).sub_(update, alpha=rate)

    def state(self) -> dict[str, Tensor]:
        """Everything but the weights, as named tensors."""
        named = {f"first.{name}": value for name, value in self.first.items()}
        named |= {f"second.{name}": value for name, value in self.second.items()}
        return named | {"steps": torch.tensor(self.steps)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state written by ``state`` of the same model and page."""
        for prefix, target in (("first.", self.first), ("second.", self.second)):
            for name, value in target.items():
                value.copy_(state[prefix + name])
        self.steps = int(state["steps"])
