"""Rotary position embedding (Su et al. 2021) and its scalings, as pure functions of the position.

The arithmetic is that of transformers, operation by operation, so that the tables agree to the last bit.
Shape letters: T positions, E head dim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from shikomi.recipe.model import RopeScaling

ROPE_TYPES = ("default", "linear", "dynamic", "llama3", "yarn")
"""Scalings that give a position the same angle in every sequence. ``dynamic`` (NTK) does so up to the length the model
is made for, where it is the default; ``longrope`` does not."""


@dataclass(frozen=True)
class Rope:
    """Frequencies of one model.

    Attributes:
        theta: base of the frequencies.
        kind: one of ``ROPE_TYPES``.
        factor: how many times longer than at first a context is meant to be.
        original_max_tokens: the context before scaling, in tokens (llama3, yarn).
        low_freq_factor, high_freq_factor: wavelengths above and below these shares of it are scaled, left alone
            (llama3).
        beta_fast, beta_slow: rotations over the original context between which the two are blended (yarn).
        attention_factor: what cosines and sines are multiplied by; 0: 0.1 · ln(factor) + 1 (yarn).
        mscale, mscale_all_dim: the ratio of two such terms instead, where both are given (yarn).
        truncate: whether the borders of the blend are whole dimensions (yarn).
    """

    theta: float = 10_000.0
    kind: str = "default"
    factor: float = 1.0
    original_max_tokens: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 0.0
    mscale: float = 0.0
    mscale_all_dim: float = 0.0
    truncate: bool = True


def of_page(theta: float, page: RopeScaling | None) -> Rope:
    """The frequencies that a recipe asks for."""
    if page is None:
        return Rope(theta)
    return Rope(
        theta, page.kind, page.factor, page.original_max_tokens, page.low_freq_factor, page.high_freq_factor,
        page.beta_fast, page.beta_slow,
    )  # fmt: skip


def inverse_frequencies(rope: Rope, head_dim: int, device: torch.device | None = None) -> tuple[Tensor, float]:
    """Radians a position for each pair of dimensions, float32 [E/2], and the factor of cosines and sines."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    wavelengths = rope.theta**exponent
    plain = 1.0 / wavelengths
    if rope.kind == "linear":
        return plain / rope.factor, 1.0
    if rope.kind == "llama3":
        return _llama3(rope, plain), 1.0
    if rope.kind == "yarn":
        return _yarn(rope, wavelengths, head_dim), _yarn_attention(rope)
    return plain, 1.0


def rotary_table(rope: Rope, head_dim: int, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each float32 [T, E], halves repeated as Hugging Face does."""
    # Made on the CPU whatever the device, so that a model's positions do not depend on where it runs.
    frequencies, factor = inverse_frequencies(rope, head_dim)
    angles = torch.arange(tokens, dtype=torch.float32)[:, None] * frequencies
    doubled = torch.cat((angles, angles), dim=-1)
    return (doubled.cos() * factor).to(device), (doubled.sin() * factor).to(device)


def _llama3(rope: Rope, plain: Tensor) -> Tensor:
    """Llama 3.1: long wavelengths are scaled, short ones stay, those between are blended (arXiv 2407.21783)."""
    original, low, high = rope.original_max_tokens, rope.low_freq_factor, rope.high_freq_factor
    wavelengths = 2 * math.pi / plain
    scaled = torch.where(wavelengths > original / low, plain / rope.factor, plain)
    smooth = (original / wavelengths - low) / (high - low)
    blended = (1 - smooth) * scaled / rope.factor + smooth * scaled
    between = ~(wavelengths < original / high) * ~(wavelengths > original / low)
    return torch.where(between, blended, scaled)


def _yarn(rope: Rope, wavelengths: Tensor, head_dim: int) -> Tensor:
    """YaRN: dimensions that turn often keep their frequency, slow ones are scaled (Peng et al. 2023)."""

    def dimension(rotations: float) -> float:
        return (head_dim * math.log(rope.original_max_tokens / (rotations * 2 * math.pi))) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += 0.001
    ramp = (torch.arange(head_dim // 2, dtype=torch.float32, device=wavelengths.device) - low) / (high - low)
    keep = 1 - torch.clamp(ramp, 0, 1)
    return (1.0 / (rope.factor * wavelengths)) * (1 - keep) + (1.0 / wavelengths) * keep


def _yarn_attention(rope: Rope) -> float:
    def scale(weight: float) -> float:
        return 1.0 if rope.factor <= 1 else 0.1 * weight * math.log(rope.factor) + 1.0

    if rope.attention_factor:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return float(scale(rope.mscale) / scale(rope.mscale_all_dim))
    return scale(1.0)
