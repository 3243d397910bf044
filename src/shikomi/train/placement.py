"""What one rank of a large mesh holds: the placements that training makes, made on meta tensors in this process alone.

A fake process group stands for all ranks; the model has no memory behind it. One layer is placed and counted for all,
as layers are alike, so that a 100B model on 1,024 ranks takes seconds.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from shikomi.compute.mesh import AXES
from shikomi.errors import MachineError
from shikomi.model.config import ModelConfig
from shikomi.model.parallel import parallelize
from shikomi.model.transformer import Transformer
from shikomi.plan.layout import Degrees, Held
from shikomi.recipe.mesh import TrainingSite


def held_of(config: ModelConfig, degrees: Degrees) -> Held:
    """Elements that the first rank holds, which has the largest piece of each tensor; with a pipeline, of the fullest
    stage with one end of the model. The rows that fill up the vocabulary are counted.

    Raises:
        MachineError: this process already shares a model with others, or this PyTorch has no fake process group.
        RecipeError: heads that the tensor ranks cannot share.
    """
    if dist.is_initialized():
        raise MachineError("placements are made in a process of its own", hint="run `shikomi plan` outside torchrun")
    try:
        from torch.testing._internal.distributed.fake_pg import FakeStore
    except ImportError as error:
        raise MachineError("this PyTorch has no fake process group", hint="PyTorch 2.11 and 2.13 have one") from error
    with torch.device("meta"):
        model = Transformer(replace(config, layers=1, full_layers=()))
    if degrees.ranks > 1:
        dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=degrees.ranks)
        try:
            sizes = tuple(getattr(degrees, axis) for axis in AXES)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about slices of meshes
                mesh = init_device_mesh("cpu", sizes, mesh_dim_names=AXES)
                parallelize(model, mesh, torch.device("meta"), TrainingSite())
        finally:
            dist.destroy_process_group()
    layers = -(-config.layers // degrees.pipeline)
    matrices = others = 0
    for name, parameter in model.named_parameters():
        count = (parameter.to_local() if isinstance(parameter, DTensor) else parameter).numel()
        if ".layers." in name:
            matrices += layers * count * (parameter.ndim == 2)
            others += layers * count * (parameter.ndim != 2)
        elif not (degrees.pipeline > 1 and name == "lm_head.weight"):
            others += count
    return Held(matrices, others)
