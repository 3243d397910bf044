"""Which ranks share what on a cluster: meshes as people write them, and the plainest one that fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from shikomi.errors import UsageError
from shikomi.plan.layout import Degrees, Work, memory
from shikomi.plan.shape import Shape

GPU_BYTES = 80_000_000_000
"""Memory of the accelerators most clusters have (A100 and H100 with 80 GB)."""
_NODES = re.compile(r"^([1-9][0-9]*)x([1-9][0-9]*)$")


@dataclass(frozen=True)
class Choice:
    """Degrees with the work they imply, and whether a rank's memory is enough."""

    degrees: Degrees
    work: Work
    fits: bool


def choose(text: str, shape: Shape, work: Work, limit: int) -> Choice:
    """The layout that ``text`` names, or the plainest one for so many nodes and GPUs.

    Plainest: FSDP over all ranks; then tensor ranks inside a node, then shared sequences, where the step has too few
    rows or a rank too little memory; recomputation before more of either.

    Args:
        text: ``64x8`` (nodes x GPUs of each) or degrees (``shard=64,tensor=8``; axes left out are 1).
        shape: the model.
        work: the stage; its ``recompute`` is kept where degrees are named.
        limit: bytes of a rank.

    Raises:
        UsageError: neither of both; or a step with fewer rows than ranks that see other rows.
    """
    nodes = _NODES.match(text.replace(" ", ""))
    if not nodes:
        degrees = named(text)
        _check(shape, work, degrees)
        return Choice(degrees, work, memory(shape, work, degrees).peak <= limit)
    ranks, gpus = int(nodes[1]) * int(nodes[2]), int(nodes[2])
    last = None
    for degrees in _plainest_first(shape, work, ranks, gpus):
        for recompute in (work.recompute, True):
            last = Choice(degrees, replace(work, recompute=recompute), True)
            if memory(shape, last.work, degrees).peak <= limit:
                return last
    if last is None:
        raise UsageError(
            f"a step of {work.step_rows} rows cannot be split over {ranks} ranks",
            where="--mesh",
            hint="a larger batch_tokens, or fewer nodes; degrees can be named too: --mesh shard=64,tensor=8",
        )
    return replace(last, fits=False)


def _plainest_first(shape: Shape, work: Work, ranks: int, gpus: int) -> Iterator[Degrees]:
    inside = [size for size in (1, 2, 4, 8, 16) if gpus % size == 0 and shape.kv_heads % size == 0]
    for context in (1, 2, 4, 8):
        for tensor in inside:
            if ranks % (tensor * context) or work.sequence_tokens % (2 * context):
                continue
            degrees = Degrees(shard=ranks // tensor // context, tensor=tensor, context=context)
            if degrees.data <= work.step_rows:
                yield degrees


def named(text: str) -> Degrees:
    """Degrees written as ``shard=64,tensor=8``.

    Raises:
        UsageError: an unknown axis, or no whole number from 1 on.
    """
    axes = [field.name for field in fields(Degrees)]
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in axes or name in found or not value.isdecimal() or int(value) < 1:
            raise UsageError(
                f'"{part}" is no degree of a mesh',
                where=f"--mesh {text}",
                hint=f"nodes and GPUs as 64x8, or degrees as shard=64,tensor=8; axes: {', '.join(axes)}",
            )
        found[name] = int(value)
    return Degrees(**found)


def _check(shape: Shape, work: Work, degrees: Degrees) -> None:
    problems = [
        (work.step_rows < degrees.data, f"a step of {work.step_rows} rows for {degrees.data} ranks with rows of their "
         "own", "a larger batch_tokens, or fewer shard and replicate ranks"),
        (shape.heads % degrees.tensor or shape.kv_heads % degrees.tensor,
         f"{shape.heads} heads and {shape.kv_heads} key-value heads cannot be shared by {degrees.tensor} ranks",
         "tensor must divide both"),
        (shape.layers < degrees.pipeline, f"{shape.layers} layers cannot be shared by {degrees.pipeline} stages",
         "a smaller pipeline"),
        (degrees.context > 1 and work.sequence_tokens % (2 * degrees.context),
         f"sequences of {work.sequence_tokens} tokens do not cut into {2 * degrees.context} equal pieces",
         "another context"),
    ]  # fmt: skip
    for wrong, what, hint in problems:
        if wrong:
            raise UsageError(what, where="--mesh", hint=hint)
