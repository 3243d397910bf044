"""Model folders in Hugging Face layout: ``config.json`` and ``model.safetensors``, in and out."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from shikomi.errors import DataError
from shikomi.io import PARTIAL_SUFFIX, read_json, write_json
from shikomi.model.config import ModelConfig
from shikomi.model.config_json import from_hugging_face, to_hugging_face
from shikomi.model.transformer import Transformer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
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
    try:
        with safe_open(str(path), framework="pt") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError as error:
        raise DataError("weights not found", where=str(path)) from error
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"weights cannot be read: {error}", where=str(path), hint="the file is damaged or cut off; copy it again"
        ) from error


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
            hint="name a folder with config.json and model.safetensors (Llama or Qwen3 layout)",
        )
    return from_hugging_face(read_json(path), str(path))


def load(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[Transformer, ModelConfig]:
    """Read a model folder: single or sharded safetensors, weights cast to ``dtype``.

    Raises:
        DataError: a tensor is missing, left over, or of another shape than ``config.json`` says.
    """
    config = read_config(folder)
    tensors = _read_weights(folder)
    model = Transformer(config)
    own = model.state_dict()
    if config.tie_embeddings:
        tensors.pop("lm_head.weight", None)
    for name in sorted(own.keys() | tensors.keys()):
        if name not in tensors or name not in own:
            what = "missing from" if name in own else "unexpected in"
            raise DataError(f"tensor {name} is {what} the weights", where=str(folder))
        if own[name].shape != tensors[name].shape:
            raise DataError(
                f"tensor {name} has shape {list(tensors[name].shape)}, config.json says {list(own[name].shape)}",
                where=str(folder),
            )
    model.load_state_dict({name: value.to(dtype) for name, value in tensors.items()}, assign=False)
    return model.to(dtype), config


def _read_weights(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return load_tensors(folder / "model.safetensors")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(read_json(index)["weight_map"].values())):
        if Path(name).name != name:
            raise DataError(f"shard name {name!r} leaves the folder", where=str(index))
        tensors |= load_tensors(folder / name)
    return tensors


def save(model: Transformer, folder: Path, tokenizer: Path) -> None:
    """Write a model folder beside its tokenizer's files; equal weights give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    eos_id, pad_id = special_ids(tokenizer)
    save_tensors(folder / "model.safetensors", dict(model.state_dict()))
    write_json(folder / "config.json", to_hugging_face(model.config, eos_id=eos_id, pad_id=pad_id))


def special_ids(tokenizer: Path) -> tuple[int | None, int | None]:
    """Ids of the end-of-text and padding tokens, as ``tokenizer_config.json`` names them; None where it names none."""
    names = read_json(tokenizer / "tokenizer_config.json")
    ids = {row["content"]: row["id"] for row in read_json(tokenizer / "tokenizer.json").get("added_tokens", [])}

    def find(key: str) -> int | None:
        value = names.get(key)
        return ids.get(value["content"] if isinstance(value, dict) else value)

    return find("eos_token"), find("pad_token")
