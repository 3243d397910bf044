"""What must hold before a model folder is released, and after it was copied somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.io import read_json, sha256_file

CHECKSUMS = "SHA256SUMS"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
_LINE = re.compile(r"^([0-9a-f]{64})  (\S.*)$")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: one, or the shards its index names.

    Raises:
        DataError: there are none, or the index names a file outside the folder.
    """
    if (folder / INDEX).is_file():
        index = read_json(folder / INDEX)
        names = sorted(set(index.get("weight_map", {}).values())) if isinstance(index, dict) else []
        if not names or any(Path(name).name != name for name in names):
            raise DataError("the index of weights names no usable file", where=str(folder / INDEX))
        return [folder / name for name in names]
    return [folder / WEIGHTS]


def read_weights(folder: Path) -> dict[str, Any]:
    """Every tensor of a model folder by its name, sorted; memory-mapped, so that nothing is copied.

    Raises:
        DataError: a file is missing, cut off or damaged.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, Any] = {}
    for path in weight_files(folder):
        if not path.is_file():
            raise DataError("weights not found", where=str(path))
        try:
            with safe_open(str(path), framework="pt") as handle:
                found |= {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
        except (SafetensorError, OSError) as error:
            raise DataError(
                f"weights cannot be read: {error}",
                where=str(path),
                hint="the file is cut off or damaged: build the stage before again",
            ) from error
    return dict(sorted(found.items()))


def check_weights(tensors: dict[str, Any], config: Any, folder: Path) -> None:
    """Every tensor that the architecture needs is there, in its shape, and finite; none is left over.

    Args:
        config: the shape (``shikomi.model.config.ModelConfig``).

    Raises:
        DataError: the first tensor that is not so, by name.
    """
    import torch

    from shikomi.model.transformer import Transformer

    with torch.device("meta"):
        expected = {name: list(value.shape) for name, value in Transformer(config).state_dict().items()}
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            what = "missing from" if name in expected else "unexpected in"
            raise DataError(f"tensor {name} is {what} the weights", where=str(folder))
        shape = list(tensors[name].shape)
        if shape != expected[name]:
            raise DataError(
                f"tensor {name} has shape {shape}, config.json says {expected[name]}", where=str(folder / "config.json")
            )
        if not bool(torch.isfinite(tensors[name]).all()):
            raise DataError(
                f"tensor {name} holds values that are no numbers",
                where=str(folder),
                hint="the run diverged or the file is damaged: see the stage's loss curve",
            )


def write_checksums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over all other files, as ``sha256sum -c`` reads it."""
    from shikomi.io import atomic

    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS)
    with atomic(folder / CHECKSUMS) as handle:
        for name in names:
            handle.write(f"{sha256_file(folder / name)}  {name}\n")


def check_checksums(folder: Path) -> int:
    """Check a released folder's files against its ``SHA256SUMS``; returns how many were checked.

    Raises:
        DataError: no checksums there, a line that is none, a file missing or changed (named).
    """
    path = folder / CHECKSUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the folder has no readable checksums", where=str(path)) from error
    for number, line in enumerate(lines, start=1):
        match = _LINE.match(line)
        if not match or Path(match[2]).name != match[2]:
            raise DataError("line is not a checksum", where=f"{path}:{number}")
        if sha256_file(folder / match[2]) != match[1]:
            raise DataError(
                f"{match[2]} is not the file that was released",
                where=str(folder / match[2]),
                hint="it was damaged or changed on its way; copy it again",
            )
    if not lines:
        raise DataError("the list of checksums is empty", where=str(path))
    return len(lines)
