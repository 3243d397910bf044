"""How one plain model is spread over ranks, in a fixed order, beside the model itself.

The order: tensor and sequence parallel, then recomputation, then ``torch.compile``, then sharding (FSDP2), each of
which sees what the earlier ones made. The model's names, its state and its arithmetic stay those of the plain one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint

from shikomi.model.pipeline import Stage
from shikomi.model.transformer import Transformer
from shikomi.recipe.mesh import TrainingSite


def parallelize(model: Transformer | Stage, mesh: DeviceMesh | None, site: TrainingSite) -> None:
    """Spread ``model``, or one stage of it, over the ranks of ``mesh`` in place; it computes what the plain one does.

    Args:
        mesh: axes replicate, shard, context and tensor (a pipeline axis is not looked at); None: this process alone.
        site: what to compile and recompute, and in which precision matrices are multiplied.
    """
    layers = list(model.layers if isinstance(model, Stage) else model.model.layers)
    for layer in layers:
        if site.recompute:
            layer.forward = _recomputed(layer.forward)
        if site.compile:
            layer.forward = torch.compile(layer.forward)
    if mesh is not None:
        _shard(model, layers, mesh, site)


def _recomputed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(*inputs: Any) -> Tensor:
        return checkpoint(forward, *inputs, use_reentrant=False)  # type: ignore[return-value]

    return run


def _shard(model: nn.Module, layers: list[nn.Module], mesh: DeviceMesh, site: TrainingSite) -> None:
    data = data_mesh(mesh)
    if data is None:
        return
    # Gathered weights travel in the type that products use; gradients are summed in float32. Layers keep float32
    # activations, as autocast does on one rank, so that every layout rounds alike.
    half = torch.bfloat16 if mesh.device_type == "cuda" and site.precision != "float32" else None
    sums = torch.float32 if half else None
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=sums, cast_forward_inputs=False)
    for layer in layers:
        fully_shard(layer, mesh=data, mp_policy=policy)
    fully_shard(model, mesh=data)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # The loop divides by the step's weight: gradients are summed, not averaged.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def data_mesh(mesh: DeviceMesh) -> DeviceMesh | None:
    """The ranks that share parameters: shard and context as one axis, in front of it the copies, if there are any."""
    sizes = dict(zip(mesh.mesh_dim_names or (), mesh.shape, strict=True))
    if sizes["replicate"] * sizes["shard"] * sizes["context"] == 1:
        return None
    name = "shard"
    if sizes["context"] > 1:
        name = "shard_context"
        mesh["shard", "context"]._flatten(name)
    return mesh["replicate", name] if sizes["replicate"] > 1 else mesh[name]


def accumulate(model: nn.Module, last: bool) -> None:
    """Say before a backward pass whether it is the step's last: only then are gradients summed over ranks."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        model.set_is_last_backward(last)


def plain_copy(model: nn.Module) -> nn.Module:
    """The same modules without memory for their parameters (meta tensors): what ``restore`` fills again."""
    empty = {id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, empty)


def restore(model: nn.Module, plain: nn.Module, keep: bool) -> None:
    """Turn a spread model back into a plain one, in place; every rank of the model's mesh must call it.

    Args:
        plain: what ``plain_copy`` made before.
        keep: whether this rank keeps the whole weights; the others end with meta tensors.
    """
    for name, parameter in model.named_parameters():
        value = parameter.detach()
        if isinstance(value, DTensor):
            value = value.full_tensor()
        if keep:
            owner, _, last = name.rpartition(".")
            plain.get_submodule(owner)._parameters[last] = nn.Parameter(value, parameter.requires_grad)
    become(model, plain)


def become(model: nn.Module, other: nn.Module) -> None:
    """Make ``model`` the other module, for everyone who holds it."""
    model.__class__ = type(other)  # type: ignore[assignment]
    model.__dict__ = other.__dict__
