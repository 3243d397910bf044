"""Model folders in Hugging Face layout: ``config.json`` and safetensors, whole or in shards, in and out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shikomi.errors import DataError
from shikomi.io import PARTIAL_SUFFIX, read_json, write_json
from shikomi.model.config import ModelConfig
from shikomi.model.config_json import from_hugging_face, to_hugging_face
from shikomi.model.transformer import Transformer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
"""Largest shard: what transformers 4 writes; a web server or a file system with small files can still carry it."""
VOCABULARY = ("model.embed_tokens.weight", "lm_head.weight")
"""Tensors with a row for each token."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all; names in sorted order, so that equal tensors give equal bytes."""
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    ready = {name: tensors[name].detach().to("cpu").contiguous() for name in sorted(tensors)}
    save_file(ready, str(partial), metadata={"format": "pt"})
    partial.replace(path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        DataError: missing, truncated, or not a safetensors file.
    """
    return dict(iterate_tensors(path))


def iterate_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a safetensors file one after another; only one of them is in memory at a time.

    Raises:
        DataError: missing, truncated, or not a safetensors file.
    """
    try:
        with safe_open(str(path), framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118 - not a dict
                yield name, handle.get_tensor(name)
    except FileNotFoundError as error:
        raise DataError(
            "weights not found", where=str(path), hint=_other_weights(path.parent) or "copy the folder again, whole"
        ) from error
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"weights cannot be read: {error}", where=str(path), hint="the file is damaged or cut off; copy it again"
        ) from error


def _other_weights(folder: Path) -> str:
    """What to do with weights in a format that is not read: those hold code that would be run (pickle)."""
    others = sorted(path.name for kind in ("*.bin", "*.pth", "*.pt") for path in folder.glob(kind))
    if not others:
        return ""
    return f"{others[0]} is not read, as it may hold code: load it with transformers and save_pretrained it anew"


def read_config(folder: Path) -> ModelConfig:
    """The shape of a model folder.

    Raises:
        DataError: no such folder, no ``config.json``, or an unknown architecture.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise DataError(
            "not a model folder: config.json is missing",
            where=str(folder),
            hint="name a folder with config.json and safetensors (Llama, Mistral, Qwen2 or Qwen3 layout)",
        )
    return from_hugging_face(read_json(path), str(path))


def load(folder: Path, dtype: torch.dtype | None = torch.float32) -> tuple[Transformer, ModelConfig]:
    """Read a model folder, single or sharded safetensors; one tensor at a time is in memory besides the model.

    Args:
        folder: as Hugging Face or ``save`` wrote it.
        dtype: weights are cast to it; None: every tensor keeps its own.

    Raises:
        DataError: a tensor is missing, left over, or of another shape than ``config.json`` says; files missing,
            damaged, or outside the folder; weights in another format.
    """
    config = read_config(folder)
    with torch.device("meta"):
        model = Transformer(config)
    for name, tensor in stored(folder, model):
        # A copy of its own: what is read is a map of the file, which somebody may replace.
        module, _, leaf = name.rpartition(".")
        value = tensor.to(dtype or tensor.dtype, copy=True)
        setattr(model.get_submodule(module), leaf, nn.Parameter(value))
    return model, config


def stored(folder: Path, model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """The weights of a model folder that ``model`` (one without memory will do) has, by name, one at a time.

    Raises:
        DataError: as ``load``.
    """
    config, own = model.config, dict(model.named_parameters())
    missing = set(own)
    for name, tensor in _read(folder):
        if (config.tie_embeddings and name == "lm_head.weight") or name.endswith("rotary_emb.inv_freq"):
            continue
        if name not in own:
            raise DataError(f"tensor {name} is unexpected in the weights", where=str(folder))
        expected = list(own[name].shape)
        if list(tensor.shape) != expected:
            raise DataError(
                f"tensor {name} has shape {list(tensor.shape)}, config.json says {expected}", where=str(folder)
            )
        yield name, tensor
        missing.discard(name)
    if missing:
        raise DataError(f"tensor {min(missing)} is missing from the weights", where=str(folder))


def _read(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a folder: of its shards where an index names them, else of its one file."""
    index = folder / INDEX
    if not index.is_file() or (folder / WHOLE).is_file():
        yield from iterate_tensors(folder / WHOLE)
        return
    weight_map = read_json(index)
    weight_map = weight_map.get("weight_map") if isinstance(weight_map, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise DataError("weight_map is missing or no table of file names", where=str(index), hint="copy the file again")
    for name in sorted(set(weight_map.values())):
        if Path(name).name != name or "\\" in name:
            raise DataError(
                f"shard name {name!r} leaves the folder", where=str(index), hint="an index names files beside itself"
            )
    for name in sorted(set(weight_map.values())):
        yield from iterate_tensors(folder / name)


def save(model: Transformer, folder: Path, tokenizer: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a model folder beside its tokenizer's files; equal weights give equal bytes.

    Args:
        model: its weights keep their dtype; the padding of the vocabulary is cut off.
        folder: made if need be.
        tokenizer: folder of the tokenizer.
        shard_bytes: more than this is written as shards and their index; one tensor is never cut.
    """
    write(dict(model.state_dict()), model.config, folder, tokenizer, shard_bytes=shard_bytes)


def write(
    tensors: Mapping[str, Tensor], config: ModelConfig, folder: Path, tokenizer: Path, *,
    shard_bytes: int = SHARD_BYTES,
) -> None:  # fmt: skip
    """Write named tensors (whole, on any device) as a model folder; see ``save``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    eos_id, pad_id = special_ids(tokenizer)
    write_weights({name: _stripped(name, value, config) for name, value in tensors.items()}, folder, shard_bytes)
    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    write_json(folder / "config.json", to_hugging_face(config, eos_id=eos_id, pad_id=pad_id, dtype=dtype))


def _stripped(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    return tensor[: config.vocab_size] if name in VOCABULARY else tensor


def write_weights(tensors: Mapping[str, Tensor], folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write one safetensors file, or shards of at most ``shard_bytes`` and their index; one shard is copied at most."""
    sizes = {name: tensors[name].numel() * tensors[name].element_size() for name in sorted(tensors)}
    shards = cut(sizes, shard_bytes)
    if len(shards) == 1:
        save_tensors(folder / WHOLE, tensors)
        (folder / INDEX).unlink(missing_ok=True)
        return
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_tensors(folder / file, {name: tensors[name] for name in names})
        weight_map |= dict.fromkeys(names, file)
    index: dict[str, Any] = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
    write_json(folder / INDEX, index)
    (folder / WHOLE).unlink(missing_ok=True)


def cut(sizes: Mapping[str, int], most: int) -> list[list[str]]:
    """Names in order, cut before their sizes would add up to more than ``most`` (one may, alone)."""
    parts: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if parts[-1] and filled + size > most:
            parts.append([])
            filled = 0
        parts[-1].append(name)
        filled += size
    return parts


def special_ids(tokenizer: Path) -> tuple[int | None, int | None]:
    """Ids of the end-of-text and padding tokens, as ``tokenizer_config.json`` names them; None where it names none."""
    names = read_json(tokenizer / "tokenizer_config.json")
    ids = {row["content"]: row["id"] for row in read_json(tokenizer / "tokenizer.json").get("added_tokens", [])}

    def find(key: str) -> int | None:
        value = names.get(key)
        return ids.get(value["content"] if isinstance(value, dict) else value)

    return find("eos_token"), find("pad_token")
