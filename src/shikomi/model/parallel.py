"""How one plain model is spread over ranks, in a fixed order, beside the model itself.

The order: tensor and sequence parallel, float8, then recomputation, then ``torch.compile``, then sharding (FSDP2), each
of which sees what the earlier ones made. The model's names, its state and its arithmetic stay those of the plain one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import (
    DTensor,
    Partial,
    Placement,
    Replicate,
    Shard,
    distribute_tensor,
)
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.utils.checkpoint import checkpoint

from shikomi.errors import RecipeError
from shikomi.model.float8 import check_float8, use_float8
from shikomi.model.kernels import rms_norm
from shikomi.model.pipeline import Stage
from shikomi.model.transformer import RMSNorm, Transformer
from shikomi.recipe.mesh import TrainingSite

Block = tuple[slice, ...]
"""What a rank holds of a tensor: a slice of each dimension."""


def parallelize(model: Transformer | Stage, mesh: DeviceMesh | None, device: torch.device, site: TrainingSite) -> None:
    """Spread ``model``, or one stage of it, over the ranks of ``mesh`` in place; it computes what the plain one does.

    Args:
        mesh: axes replicate, shard, context and tensor (a pipeline axis is not looked at); None: this process alone.
        device: where this rank computes; parameters go there piece by piece, so that no rank needs room for them all.
            Meta parameters get memory without values: ``fill`` gives them theirs.
        site: what to compile and recompute, and in which precision matrices are multiplied.

    Raises:
        RecipeError: heads that the tensor axis does not divide; float8 on a tensor axis.
        MachineError: float8 on hardware without it.
    """
    layers = list(model.layers if isinstance(model, Stage) else model.model.layers)
    if mesh is not None and mesh["tensor"].size() > 1:
        _share_products(model, layers, mesh["tensor"])
    if site.precision == "float8":
        _use_float8(layers, mesh, device)
    for layer in layers:
        if site.recompute:
            layer.forward = _recomputed(layer.forward)
        if site.compile:
            layer.forward = torch.compile(layer.forward)
    if mesh is not None:
        _shard(model, layers, mesh, site)
    if any(parameter.is_meta for parameter in model.parameters()):
        model.to_empty(device=device)
    else:
        model.to(device)


def _share_products(model: Transformer | Stage, layers: list[Any], mesh: DeviceMesh) -> None:
    """Tensor parallelism: heads, feed-forward and vocabulary are shared out; between them ranks hold parts of the
    sequence (Megatron-LM's sequence parallelism, arXiv 2205.05198)."""
    _check_heads(model, mesh.size())
    for layer in layers:
        columns = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
        plan: dict[str, Any] = {name: ColwiseParallel() for name in columns}
        plan |= {name: RowwiseParallel(output_layouts=Shard(1)) for name in ("self_attn.o_proj", "mlp.down_proj")}
        parallelize_module(layer, mesh, plan)
        layer.self_attn.heads //= mesh.size()
        layer.self_attn.kv_heads //= mesh.size()
        for module in (layer.self_attn, layer.mlp):
            module.register_forward_pre_hook(_whole_sequence(mesh))
    ends: Any = model if isinstance(model, Stage) else model.model
    if ends.embed_tokens is not None and not isinstance(ends.embed_tokens.weight, DTensor):
        embedding = RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1))
        parallelize_module(ends.embed_tokens, mesh, embedding)
    if getattr(model, "lm_head", None) is not None:
        _distribute(model.lm_head, "weight", mesh, Shard(0))  # type: ignore[arg-type]
    for module in model.modules():
        if isinstance(module, RMSNorm):
            _distribute(module, "weight", mesh, Replicate())
            module.forward = _local_norm(module)  # type: ignore[method-assign]
    if isinstance(model, Transformer):
        model.forward = _even(model.forward, mesh.size())
    if ends.norm is not None:
        ends.norm.register_forward_hook(lambda _, inputs, x_BTD: _gathered(x_BTD, mesh).to_local())


def _even(forward: Callable[..., Tensor], ranks: int) -> Callable[..., Tensor]:
    """Rows of any length: they are filled up on the right, where causal attention cannot see it, to cut evenly."""

    def run(tokens_BT: Tensor, mask: Any = None) -> Tensor:
        tokens = tokens_BT.shape[1]
        fill = -tokens % ranks
        if fill and mask is not None:
            raise RecipeError(
                f"rows of {tokens} tokens cannot be shared by {ranks} ranks",
                where="site: training.mesh.tensor",
                hint=f"take sequence_tokens as a multiple of tensor = {ranks}",
            )
        return forward(F.pad(tokens_BT, (0, fill)))[:, :tokens] if fill else forward(tokens_BT, mask)

    return run


def _use_float8(layers: list[Any], mesh: DeviceMesh | None, device: torch.device) -> None:
    check_float8(device)
    if mesh is not None and mesh["tensor"].size() > 1:
        raise RecipeError(
            'precision = "float8" and tensor parallelism do not go together yet',
            where="site: training.mesh.tensor",
            hint='take tensor = 1 (shard does more), or precision = "bfloat16"',
        )
    for layer in layers:
        use_float8(layer)


def _check_heads(model: Transformer | Stage, ranks: int) -> None:
    for name, heads in (("heads", model.config.heads), ("key-value heads", model.config.kv_heads)):
        if heads % ranks:
            raise RecipeError(
                f"{heads} {name} cannot be shared by {ranks} ranks",
                where="site: training.mesh.tensor",
                hint=f"tensor must divide the model's {model.config.heads} heads and "
                f"{model.config.kv_heads} key-value heads",
            )


def _distribute(module: nn.Module, name: str, mesh: DeviceMesh, placement: Placement) -> None:
    parameter = module.get_parameter(name)
    value = distribute_tensor(parameter.data, mesh, [placement])
    module.register_parameter(name, nn.Parameter(value, parameter.requires_grad))


def _local_norm(norm: RMSNorm) -> Callable[[Tensor], Tensor]:
    """Norms work on what a rank holds, a part of the sequence or of the heads: the weight's gradient is a sum."""

    def run(x: Tensor) -> Tensor:
        return rms_norm(x, norm.weight.to_local(grad_placements=[Partial()]), norm.eps)  # type: ignore[attr-defined]

    return run


def _gathered(x_BTD: Tensor, mesh: DeviceMesh) -> DTensor:
    """The whole sequence, of which each rank holds a part."""
    return DTensor.from_local(x_BTD, mesh, [Shard(1)], run_check=False).redistribute(placements=[Replicate()])


def _whole_sequence(mesh: DeviceMesh) -> Callable[[nn.Module, Any], Any]:
    return lambda module, inputs: (_gathered(inputs[0], mesh), *inputs[1:])


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


def holds_gradients(model: nn.Module, device: torch.device) -> bool:
    """Whether a rank may hold whole gradients between micro-batches, instead of its part of their sum: they may take
    an eighth of a GPU."""
    whole = 4 * sum(parameter.numel() for parameter in model.parameters())
    return device.type != "cuda" or whole <= torch.cuda.get_device_properties(device).total_memory / 8


def accumulate(model: nn.Module, last: bool, holds: bool = True) -> None:
    """Say before a backward pass whether it is the step's last: only then are gradients summed over ranks.

    Where a rank does not hold whole gradients (``holds``), its part of the sum is made every time, and only copies of
    the sharded model wait for the last.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last or not holds)
        model.set_requires_all_reduce(last)
        model.set_is_last_backward(last)


def block(shape: Sequence[int], parts: Sequence[int], dims: Sequence[int | None], place: Sequence[int]) -> Block:
    """The block of a tensor of ``shape`` that the rank at ``place`` of a mesh holds.

    Args:
        parts: ranks along each axis of the mesh.
        dims: the dimension each axis cuts, None where its ranks hold the same.

    The last axis cuts first, as tensor parallelism comes before FSDP; every cut is ``torch.chunk``'s: equal parts but
    the last, which may be smaller or empty.
    """
    bounds = [[0, side] for side in shape]
    for count, dim, number in reversed(list(zip(parts, dims, place, strict=True))):
        if dim is None:
            continue
        start, end = bounds[dim]
        size = -(-(end - start) // count)
        bounds[dim] = [min(start + number * size, end), min(start + (number + 1) * size, end)]
    return tuple(slice(*bound) for bound in bounds)


def cut_dims(tensor: DTensor) -> list[int | None]:
    """The dimension that each axis of a tensor's mesh cuts; None where its ranks hold the same."""
    return [getattr(placement, "dim", None) for placement in tensor.placements]


@torch.no_grad()
def fill(model: nn.Module, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Give a spread model its weights, of which each rank takes its pieces; one whole tensor at a time is in memory.

    Args:
        weights: by name, whole; names that this rank has no layer for are passed over.
    """
    own = dict(model.named_parameters())
    for name, whole in weights:
        target: Any = own.get(name)
        if isinstance(target, DTensor):
            mesh = target.device_mesh
            place = mesh.get_coordinate()
            assert place is not None
            target, whole = target.to_local(), whole[block(whole.shape, mesh.shape, cut_dims(target), place)]
        if target is not None:
            target.copy_(whole)


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
            value = value.full_tensor().cpu() if keep else value.full_tensor()
        if keep:
            owner, _, last = name.rpartition(".")
            plain.get_submodule(owner)._parameters[last] = nn.Parameter(value, parameter.requires_grad)
    become(model, plain)


def become(model: nn.Module, other: nn.Module) -> None:
    """Make ``model`` the other module, for everyone who holds it."""
    model.__class__ = type(other)  # type: ignore[assignment]
    model.__dict__ = other.__dict__
