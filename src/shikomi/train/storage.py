"""Where checkpoints of many ranks live: safetensors shards and a JSON manifest under ``torch.distributed.checkpoint``.

PyTorch's planners decide who writes what and read any layout from any other; its own file storage keeps a pickled
``.metadata``. This one keeps none: each rank writes ``rank-00000.safetensors`` with the parts it holds, under the
tensors' names, and rank 0 writes ``manifest.json`` last: shapes, and which part of which tensor lies in which file.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.distributed.tensor import DTensor, Replicate
from torch.futures import Future

from shikomi.errors import DataError
from shikomi.io import atomic, damaged_files, dumps, read_json, sync_folder

MANIFEST = "manifest.json"
FORMAT = 1
"""Raised when a checkpoint of another number can no longer be read."""
_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""Types by their names in safetensors files (format description, huggingface/safetensors)."""
_TYPES = {name: kind for kind, name in _NAMES.items()}


@dataclass
class Part:
    """The part of a named tensor that this rank holds.

    Attributes:
        name: the tensor's name in the whole model.
        local: this rank's part, on whatever device; contiguous.
        offsets: where it begins in the whole tensor, a number for each dimension.
        shape: the whole tensor's shape.
        written: whether it is this rank's to write (of equal copies along an axis of the mesh, the first one's is).
    """

    name: str
    local: Tensor
    offsets: tuple[int, ...]
    shape: tuple[int, ...]
    written: bool


def part_of(name: str, tensor: Tensor) -> Part:
    """What this rank holds of a tensor: all of it, or for a DTensor its shard."""
    if not isinstance(tensor, DTensor):
        value = tensor.detach()
        return Part(name, value, (0,) * value.ndim, tuple(value.shape), True)
    (chunk,) = tensor.__create_chunk_list__()
    place = tensor.device_mesh.get_coordinate() or []
    first = all(
        number == 0 for number, kind in zip(place, tensor.placements, strict=True) if isinstance(kind, Replicate)
    )
    local = tensor.to_local().detach()
    written = first and local.numel() > 0
    return Part(name, local, tuple(chunk.offsets), tuple(tensor.shape), written)


class PartPlanner(DefaultSavePlanner):
    """Plans a save of ``{name: Part}``; a part that several ranks offer is written by one of them."""

    def __init__(self) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)

    def create_local_plan(self) -> SavePlan:
        """One item for each part that is this rank's to write."""
        self.plan = SavePlan([_item(part) for part in self.state_dict.values() if part.written])
        return self.plan

    def resolve_data(self, write_item: WriteItem) -> Tensor:
        """The bytes of an item."""
        return self.state_dict[write_item.index.fqn].local


def _item(part: Part) -> WriteItem:
    offsets = torch.Size(part.offsets)
    data = TensorWriteData(
        chunk=ChunkStorageMetadata(offsets, part.local.shape),
        properties=TensorProperties(dtype=part.local.dtype),
        size=torch.Size(part.shape),
    )
    return WriteItem(MetadataIndex(part.name, offsets), WriteItemType.SHARD, tensor_data=data)


class ShardWriter(StorageWriter):
    """Writes one checkpoint into a folder: a safetensors file a rank, then the manifest.

    Args:
        folder: the same folder on every rank; made when it is not there.
        rank: this rank's number.
        told: more for the manifest (the step).
    """

    def __init__(self, folder: Path, rank: int, told: dict[str, Any]) -> None:
        self.folder, self.rank, self.told = folder, rank, told

    def reset(self, checkpoint_id: Any = None) -> None:
        """Nothing is kept between checkpoints."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing to set up."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """The plans as they are."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this rank's parts to its file, and flush it to the disk.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        path, results = self.folder / f"rank-{self.rank:05d}.safetensors", []
        values: dict[str, Any] = {item.index.fqn: planner.resolve_data(item) for item in plan.items}
        assert len(values) == len(plan.items), "a rank holds one part of a tensor"
        if values:
            self.folder.mkdir(parents=True, exist_ok=True)  # every rank: one's folder may be late to show on another
            write_tensors(path, [(name, v.dtype, tuple(v.shape), lambda v=v: v) for name, v in values.items()])
        for item in plan.items:
            value = values[item.index.fqn]
            stored = (path.name, path.stat().st_size)
            results.append(WriteResult(item.index, value.numel() * value.element_size(), stored))
        done: Future[list[WriteResult]] = Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the manifest: the checkpoint is finished when it is there."""
        tensors: dict[str, dict[str, Any]] = {}
        files: dict[str, int] = {}
        for result in (result for of_rank in results for result in of_rank):
            about = metadata.state_dict_metadata[result.index.fqn]
            assert isinstance(about, TensorStorageMetadata)
            row = tensors.setdefault(
                result.index.fqn,
                {"dtype": _NAMES[about.properties.dtype], "shape": list(about.size), "parts": []},
            )
            sizes = next(chunk.sizes for chunk in about.chunks if chunk.offsets == result.index.offset)
            file, size = result.storage_data
            files[file] = size
            row["parts"].append([file, list(result.index.offset or ()), list(sizes)])
        told = {"files": dict(sorted(files.items())), "tensors": dict(sorted(tensors.items()))}
        with atomic(self.folder / MANIFEST) as handle:
            handle.write(dumps({"format": FORMAT, **self.told, **told}) + "\n")

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        """Never chosen by a name: a writer is always given."""
        return False


class ShardReader(StorageReader):
    """Reads a checkpoint that ``ShardWriter`` wrote, into any layout.

    Raises:
        DataError: the manifest or a shard is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, read_manifest(folder)
        self.files: dict[MetadataIndex, str] = {}

    def reset(self, checkpoint_id: Any = None) -> None:
        """Nothing is kept between checkpoints."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Shapes and parts of all tensors, from the manifest."""
        found: dict[str, Any] = {}
        for name, row in self.manifest["tensors"].items():
            chunks = [ChunkStorageMetadata(torch.Size(at), torch.Size(size)) for _, at, size in row["parts"]]
            kind = TensorProperties(dtype=_TYPES[row["dtype"]])
            found[name] = TensorStorageMetadata(kind, torch.Size(row["shape"]), chunks)
            self.files |= {MetadataIndex(name, at): file for file, at, _ in row["parts"]}
        return Metadata(found)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing to set up."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """The plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy what this rank needs of each file into its tensors; other parts of a file are not read."""
        by_file: dict[str, list[ReadItem]] = {}
        for item in plan.items:
            by_file.setdefault(self.files[item.storage_index], []).append(item)
        for name, items in by_file.items():
            path = self.folder / name
            try:
                with safe_open(str(path), framework="pt") as handle:
                    for item in items:
                        target = planner.resolve_tensor(item).detach()
                        target.copy_(_read(handle, item).view(target.shape))
                        planner.commit_tensor(item, target)
            except (OSError, SafetensorError) as error:
                raise DataError(
                    f"a checkpoint cannot be read: {error}", where=str(path), hint="the file is damaged or cut off"
                ) from error
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        """Never chosen by a name: a reader is always given."""
        return False


def _read(handle: Any, item: ReadItem) -> Tensor:
    name = item.storage_index.fqn
    if not item.lengths:
        return handle.get_tensor(name)
    region = tuple(
        slice(start, start + length) for start, length in zip(item.storage_offsets, item.lengths, strict=True)
    )
    return handle.get_slice(name)[region]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint.

    Raises:
        DataError: it is missing or damaged, or of a format that this version does not read.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise DataError(
            "a checkpoint of another format", where=str(folder / MANIFEST), hint="delete its folder to begin anew"
        )
    return manifest


def damage(folder: Path) -> str:
    """What is wrong with a finished checkpoint's files; empty if nothing is. Reads names and sizes alone."""
    try:
        return damaged_files(folder, read_manifest(folder)["files"])
    except DataError as error:
        return error.what


def write_tensors(
    path: Path, tensors: Iterable[tuple[str, torch.dtype, tuple[int, ...], Callable[[], Tensor]]]
) -> None:
    """Write a safetensors file tensor by tensor, and flush it to the disk.

    The library writes from one call that may hold the interpreter while the disk works; here the training thread goes
    on, and a tensor is asked for only when its turn comes.

    Args:
        path: the file.
        tensors: name, type and shape of each, and what gives it (on the CPU, contiguous).
    """
    rows = sorted(tensors, key=lambda row: (-row[1].itemsize, row[0]))  # aligned: wide types first
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, kind, shape, _ in rows:
        start, end = end, end + kind.itemsize * math.prod(shape)
        header[name] = {"dtype": _NAMES[kind], "shape": list(shape), "data_offsets": [start, end]}
    told = json.dumps(header, ensure_ascii=False).encode()
    told += b" " * (-len(told) % 8)  # data begins at a multiple of eight bytes
    with open(path, "wb", buffering=0) as handle:
        _write_all(handle, memoryview(struct.pack("<Q", len(told)) + told))
        for name, _, shape, give in rows:
            value = give()
            assert tuple(value.shape) == shape, name
            flat = value.detach().contiguous().reshape(-1)
            if flat.numel():
                _write_all(handle, flat.view(torch.uint8).numpy().data)
        os.fsync(handle.fileno())
    sync_folder(path.parent)


def _write_all(handle: Any, data: memoryview) -> None:
    while data:
        data = data[handle.write(data) :]
