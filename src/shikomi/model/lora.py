"""Low-rank adapters (Hu et al. 2021): weight + alpha / rank · B A, with B and A trained and the weight left alone.

Shape letters: O outputs, I inputs of a matrix, R rank. Names are those of PEFT: ``<matrix>.lora_A.weight`` [R, I] and
``<matrix>.lora_B.weight`` [O, R] beside the matrix, so that export renames nothing.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shikomi.errors import RecipeError
from shikomi.io import write_json
from shikomi.model.transformer import Transformer
from shikomi.model.weights import save_tensors
from shikomi.recipe.lora import LoraPage

PEFT_PREFIX = "base_model.model."
"""What PEFT puts in front of a causal model's names."""
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


class LoraLinear(nn.Linear):
    """A linear layer whose weight stays, with a trained product of two thin matrices added to what it gives."""

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        place = {"device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, **place)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, **place)
        self.scale = scale

    def forward(self, input: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        return F.linear(input, self.weight, self.bias) + self.lora_B(self.lora_A(input)) * self.scale


def adapt(model: Transformer, page: LoraPage | None, seed: int) -> None:
    """Give a model adapters, in place; from now on they alone ask for gradients. Without a page it stays as it is.

    A is drawn uniformly from ±1/√I and B is zero, as PEFT has it: the model's outputs are at first what they were.
    One seed gives one set of adapters, in name order.

    Raises:
        RecipeError: a rank that is no lower than a matrix has rows or columns.
    """
    if page is None:
        return
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    chosen = {name: module for name, module in model.named_modules() if name.rpartition(".")[2] in page.targets}
    for name, module in sorted(chosen.items()):
        assert isinstance(module, nn.Linear)
        smallest = min(module.in_features, module.out_features)
        if page.rank >= smallest:
            raise RecipeError(
                f"lora.rank = {page.rank} is not low: {name} has {smallest} rows or columns",
                where="lora.rank",
                hint=f"at most {smallest - 1}; without the lora table all weights are trained",
            )
        adapted = LoraLinear(module, page.rank, page.alpha / page.rank)
        with torch.no_grad():
            bound = 1 / math.sqrt(module.in_features)
            drawn = torch.rand(adapted.lora_A.weight.shape, generator=generator) * (2 * bound) - bound
            adapted.lora_A.weight.copy_(drawn)
            adapted.lora_B.weight.zero_()
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, adapted)


def adapters(model: nn.Module) -> dict[str, LoraLinear]:
    """The adapted layers of a model by name; none in a plain one."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add every adapter to its weight, in place, and take it away: a plain model that computes the same."""
    for name, module in adapters(model).items():
        module.weight += module.lora_B.weight @ module.lora_A.weight * module.scale
        plain = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None, device="meta")
        plain.weight, plain.bias = module.weight, module.bias
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, plain)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def save_adapter(model: nn.Module, folder: Path, base: str | None) -> None:
    """Write an adapted model's adapters, alone, as PEFT reads them.

    Only the settings that every version of PEFT knows are written: older readers refuse keys they do not know.

    Args:
        base: what ``base_model_name_or_path`` says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = adapters(model)
    first = next(iter(found.values()))
    rank, alpha = first.lora_A.out_features, first.scale * first.lora_A.out_features
    tensors = {
        f"{PEFT_PREFIX}{name}.{part}.weight": getattr(module, part).weight
        for name, module in found.items()
        for part in ("lora_A", "lora_B")
    }
    save_tensors(folder / ADAPTER_WEIGHTS, tensors)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": round(alpha) if math.isclose(alpha, round(alpha)) else alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted({name.rpartition(".")[2] for name in found}),
        "bias": "none",
        "use_rslora": False,
        "modules_to_save": None,
        "inference_mode": True,
    }
    write_json(folder / ADAPTER_CONFIG, settings)
