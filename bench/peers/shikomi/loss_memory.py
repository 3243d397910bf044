"""The most memory that a loss over a large vocabulary takes, forward and backward, beyond what goes in.

    python loss_memory.py chunked|materialised --positions 2048 --vocab 131072 --hidden 512

``materialised`` is what Hugging Face models do: the head's products under bfloat16 autocast, float32 logits, PyTorch's
cross-entropy. Memory is what the kernel says the process held at most (VmHWM), on CUDA what PyTorch's allocator did.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from shikomi.model.halves import HAS_HALF_PRODUCTS, multiply
from shikomi.model.linear_loss import cross_entropy_sum

ROWS = 1 << 14


class Widened(torch.autograd.Function):
    """``hidden @ head.T`` in bfloat16 for processors whose own takes minutes: the same tensors, by rows of the head."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(hidden, head)
        logits = hidden.new_empty(len(hidden), len(head))
        for start in range(0, len(head), ROWS):
            logits[:, start : start + ROWS] = multiply(hidden, head[start : start + ROWS].T)
        return logits

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, head = ctx.saved_tensors
        grad_hidden, grad_head = torch.zeros(hidden.shape), torch.empty_like(head)
        for start in range(0, len(head), ROWS):
            grad = grad_outputs[0][:, start : start + ROWS]
            grad_hidden += multiply(grad, head[start : start + ROWS]).float()
            grad_head[start : start + ROWS] = multiply(grad.T, hidden)
        return grad_hidden.to(hidden.dtype), grad_head


def logits_of(hidden: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """The whole logits as autocast makes them."""
    if hidden.device.type != "cpu" or HAS_HALF_PRODUCTS:
        return F.linear(hidden, head)
    return Widened.apply(hidden.bfloat16(), head.bfloat16())  # type: ignore[return-value]


def held_mb(device: str, name: str) -> float:
    """Memory held now (``VmRSS``) or at most (``VmHWM``), in MB (10⁶ bytes)."""
    if device == "cuda":
        return (torch.cuda.memory_allocated() if name == "VmRSS" else torch.cuda.max_memory_allocated()) / 1e6
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"no {name}")


def main() -> None:
    """Make a loss and its gradients once; print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("way", choices=["chunked", "materialised"])
    for name in ("positions", "vocab", "hidden"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.manual_seed(0)
    hidden = torch.randn(given.positions, given.hidden, device=given.device, requires_grad=True)
    head = torch.randn(given.vocab, given.hidden, device=given.device).mul_(0.02).requires_grad_()
    targets = torch.randint(0, given.vocab, (given.positions,), device=given.device)
    weights = torch.ones(given.positions, device=given.device)
    before = held_mb(given.device, "VmRSS")
    with torch.autocast(given.device, dtype=torch.bfloat16):
        if given.way == "chunked":
            loss, _ = cross_entropy_sum(hidden, head, targets, weights)
        else:
            loss = F.cross_entropy(logits_of(hidden, head).float(), targets, reduction="sum")
    loss.backward()
    most = held_mb(given.device, "VmHWM")
    assert hidden.grad is not None
    facts = {"loss": loss.item(), "grad_norm": hidden.grad.norm().item(), "peak_mb": round(most - before, 1)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
