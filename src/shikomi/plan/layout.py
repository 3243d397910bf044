"""Memory of one rank in training: every part with its formula, and what would fit where it is too much.

Weights, gradients and optimiser state are float32; matrix products and what they keep are bfloat16 or float32. Letters:
L layers, D width, F feed-forward width, Q = heads · head_dim, K = kv_heads · head_dim, V vocabulary, N positions of a
micro-batch on one rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from shikomi.errors import RecipeError
from shikomi.plan.shape import Shape, of_page
from shikomi.recipe.dial import resolve
from shikomi.recipe.model import ModelPage
from shikomi.units import format_bytes, format_count

MASTER = 4
"""Bytes of a weight, a gradient, and each number of the optimiser's state (float32)."""
FULL_KEPT = {"D": 16, "Q": 16, "F": 16, "norm": 4}
"""Bytes a layer keeps of a position for its backward pass, in float32, for each of D (two inputs of norms, two
outputs), Q (queries, keys and values repeated for their heads, what attention gives), F (gate, up, silu, product) and
of Q + K where they are normalised. Measured with saved-tensor hooks (tests/train/test_memory.py does it again)."""
HALF_KEPT = {"D": 12, "Q": 10, "F": 8, "norm": 2}
"""The same with products in bfloat16: the residual stream stays float32. Measured: 12 D, 10 to 14 Q, 8 F, 3 (Q + K)."""
WORKING = "half of one layer's: its gradients, as they come and go"
"""What a layer's backward pass has at a time. Measured: with all of it a model of 1M is counted 9 % too large."""
CHUNK_POSITIONS = 128
"""Positions whose logits are in memory at once, at least (``model.linear_loss`` has the same; a test holds them)."""
CHUNK_ELEMENTS = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Logits of a chunk where that is more (as there)."""


@dataclass(frozen=True)
class Degrees:
    """Ranks along each axis of a mesh."""

    replicate: int = 1
    shard: int = 1
    tensor: int = 1
    context: int = 1
    pipeline: int = 1

    @property
    def ranks(self) -> int:
        """All of them."""
        return self.replicate * self.shard * self.tensor * self.context * self.pipeline

    @property
    def holders(self) -> int:
        """Ranks that share parameters beyond tensor parallelism (FSDP over shard and context)."""
        return self.shard * self.context

    @property
    def data(self) -> int:
        """Parts into which a step's rows are split."""
        return self.replicate * self.shard


@dataclass(frozen=True)
class Work:
    """What a training stage asks of a rank.

    Attributes:
        rows: of a micro-batch, at most.
        step_rows: of a whole step, over all ranks.
        sequence_tokens: of a row.
        optimiser: ``muon`` or ``adamw``.
        recompute: only layers' inputs are kept for the backward pass.
        half: products in bfloat16.
        device: ``cpu`` or ``cuda``.
        lora_rank: of adapters; 0: all weights are trained.
        lora_targets: names of the matrices that have one.
    """

    rows: int
    step_rows: int
    sequence_tokens: int
    optimiser: Literal["muon", "adamw"] = "adamw"
    recompute: bool = False
    half: bool = True
    device: str = "cuda"
    lora_rank: int = 0
    lora_targets: Sequence[str] = ()


@dataclass(frozen=True)
class Held:
    """Elements of parameters that one rank holds.

    Attributes:
        matrices: of hidden matrices (what Muon updates).
        others: of embedding, head, norms and biases.
        adapters: of low-rank adapters.
    """

    matrices: int
    others: int
    adapters: int = 0

    @property
    def all(self) -> int:
        """Together."""
        return self.matrices + self.others + self.adapters


@dataclass(frozen=True)
class Part:
    """One part of a rank's memory: its name, its bytes, and how they come about."""

    name: str
    bytes: int
    formula: str


@dataclass(frozen=True)
class Memory:
    """A rank's memory by parts, and the most of it that is used at one time."""

    parts: tuple[Part, ...]
    peak: int

    def part(self, name: str) -> int:
        """Bytes of a part; 0 where there is none."""
        return sum(part.bytes for part in self.parts if part.name == name)


def memory(shape: Shape, work: Work, degrees: Degrees = Degrees(), held: Held | None = None) -> Memory:
    """What the rank that holds most needs.

    Args:
        shape: the model.
        work: the stage.
        degrees: how ranks share the model.
        held: what that rank really holds; None: by division.
    """
    work = replace(work, rows=min(work.rows, max(1, work.step_rows // degrees.data)))
    held = held or hold(shape, work, degrees)
    trained = held.adapters or held.all
    matrices = 0 if held.adapters else held.matrices
    if work.optimiser == "muon":
        state, told = MASTER * (2 * trained - matrices), "4 B · matrices + 8 B · others (Muon)"
    else:
        state, told = 2 * MASTER * trained, "8 B · trained (AdamW)"
    parameters = Part("parameters", MASTER * held.all, f"4 B · {held.all:,}")
    gradients = Part("gradients", MASTER * trained, f"4 B · {trained:,} trained")
    optimiser = Part("optimiser", state, told)
    gathered = _gathered(shape, work, degrees)
    kept = _activations(shape, work, degrees)
    logits = _logits(shape, work, degrees)
    parts = [parameters, gradients, optimiser, *gathered, *kept, *logits]
    micros = math.ceil(work.step_rows / degrees.data / work.rows)
    passing = sum(part.bytes for part in (*gathered, *kept, *logits))
    # Gradients wait for the next micro-batch; with one only, they come as what was kept goes.
    backward = passing + gradients.bytes if micros > 1 else max(passing, gradients.bytes)
    updating = gradients.bytes + (2 * MASTER * matrices if work.optimiser == "muon" else 0)
    peak = parameters.bytes + optimiser.bytes + max(backward, updating)
    return Memory(tuple(part for part in parts if part.bytes), peak)


def hold(shape: Shape, work: Work, degrees: Degrees) -> Held:
    """Elements that the first rank of the fullest stage holds, by division."""
    layers = math.ceil(shape.layers / degrees.pipeline)
    matrices = layers * sum(_share(a * b, degrees.tensor * degrees.holders) for a, b in sides(shape).values())
    ends = shape.head_parameters * (1 if shape.tie_embeddings or degrees.pipeline > 1 else 2)
    norms = layers * (2 * shape.hidden_size + (2 * shape.head_dim if shape.qk_norm else 0)) + shape.hidden_size
    biases = (
        shape.heads + 2 * shape.kv_heads
    ) * shape.head_dim * shape.qkv_bias + shape.hidden_size * shape.output_bias
    biases += (2 * shape.intermediate_size + shape.hidden_size) * shape.mlp_bias
    others = _share(ends, degrees.tensor * degrees.holders) + _share(norms + layers * biases, degrees.holders)
    thin = sum(sum(pair) for name, pair in sides(shape).items() if name in work.lora_targets)
    return Held(matrices, others, _share(layers * work.lora_rank * thin, degrees.holders))


def sides(shape: Shape) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of each matrix of a layer."""
    width, inner = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        "q_proj": (queries, width), "k_proj": (keys, width), "v_proj": (keys, width), "o_proj": (width, queries),
        "gate_proj": (inner, width), "up_proj": (inner, width), "down_proj": (width, inner),
    }  # fmt: skip


def _share(count: int, ranks: int) -> int:
    return math.ceil(count / ranks)


def _gathered(shape: Shape, work: Work, degrees: Degrees) -> list[Part]:
    """Weights made whole for their use, and copies of them in the products' type."""
    layer = sum(a * b for a, b in sides(shape).values()) // degrees.tensor
    ends = shape.head_parameters * (1 if shape.tie_embeddings or degrees.pipeline > 1 else 2) // degrees.tensor
    size = 2 if work.half else MASTER
    found = []
    if degrees.holders > 1:
        found.append(
            Part(
                "gathered", 2 * layer * size + layer * MASTER + ends * MASTER,
                f"FSDP: 2 layers · {size} B + a layer's gradients · 4 B + embedding and head · 4 B, "
                f"over {degrees.tensor} tensor ranks",
            )
        )  # fmt: skip
    elif work.half:
        layers = math.ceil(shape.layers / degrees.pipeline)
        found.append(Part("gathered", 2 * layer * layers, "autocast: 2 B · matrices, from forward to backward"))
    return found


def _activations(shape: Shape, work: Work, degrees: Degrees) -> list[Part]:
    """What is kept for the backward pass, and the gradients of one layer's in it."""
    kept = HALF_KEPT if work.half else FULL_KEPT
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layers = math.ceil(shape.layers / degrees.pipeline)
    each = kept["D"] * shape.hidden_size + kept["Q"] * queries + kept["F"] * shape.intermediate_size
    told = f"{kept['D']}·{shape.hidden_size} D + {kept['Q']}·{queries} Q + {kept['F']}·{shape.intermediate_size} F"
    if shape.qk_norm:
        each += kept["norm"] * (queries + keys)
        told += f" + {kept['norm']}·{queries + keys} (Q+K)"
    if degrees.context > 1:
        # Keys and values of the whole sequence are on every rank that shares it.
        whole = (degrees.context - 1) * 2 * (2 if work.half else MASTER)
        each += whole * queries
        told += f" + {whole}·{queries} Q of the other context ranks"
    positions = work.rows * work.sequence_tokens // degrees.context
    waiting = min(degrees.pipeline, math.ceil(work.step_rows / degrees.data / work.rows))
    over = f" / {degrees.tensor} tensor" if degrees.tensor > 1 else ""
    times = f" · {waiting} micro-batches under way" if waiting > 1 else ""
    one = positions * each // degrees.tensor
    if work.recompute:
        inputs = positions * waiting * layers * MASTER * shape.hidden_size // degrees.tensor
        formula = f"{positions:,} N{times} · {layers} L · 4·{shape.hidden_size} D{over}, and one layer's ({told}) B · N"
        return [Part("activations", inputs + one, formula), Part("working", one // 2, WORKING)]
    formula = f"{positions:,} N{times} · {layers} L · ({told}) B{over}"
    return [Part("activations", waiting * layers * one, formula), Part("working", one // 2, WORKING)]


def _logits(shape: Shape, work: Work, degrees: Degrees) -> list[Part]:
    """One chunk of logits, and the head's gradient beside it."""
    rows = _share(shape.vocab_size, degrees.tensor)
    positions = max(CHUNK_POSITIONS, CHUNK_ELEMENTS.get(work.device, 1 << 24) // rows)
    positions = min(positions, work.rows * work.sequence_tokens // degrees.context)
    size = 2 if work.half else MASTER
    # On a GPU the whole chunk is float32 for a while, on a CPU a few rows of it.
    wide = MASTER if work.half and work.device == "cuda" else 0
    head = rows * shape.hidden_size
    copy = size if work.half else 0
    return [
        Part("logits", positions * rows * (size + wide), f"{positions:,} positions · {rows:,} V · {size + wide} B"),
        Part(
            "head", head * ((0 if work.lora_rank else MASTER) + copy),
            f"{rows:,} V · {shape.hidden_size} D · {(0 if work.lora_rank else MASTER) + copy} B: gradient and copy",
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """One change that makes a stage fit: the key to set, its value, and the bytes a rank then needs."""

    key: str
    value: Any
    bytes: int


def what_fits(
    shape: Shape, work: Work, degrees: Degrees, limit: int, stage: str, *, scratch: bool = False
) -> list[Fit]:
    """Changes that bring a stage to at most ``limit`` bytes a rank, the mildest of each kind.

    Args:
        shape, work, degrees: as they are.
        limit: bytes a rank has.
        stage: its name, for the keys.
        scratch: whether the recipe says how large the model is.
    """
    found = list(_fits(shape, work, degrees, limit, stage))
    if scratch:
        found += _smaller(shape, work, degrees, limit)
    return found


def _smaller(shape: Shape, work: Work, degrees: Degrees, limit: int) -> list[Fit]:
    """The largest model of the same vocabulary, by halves, that fits."""
    for power in range(1, 16):
        params = int(float(f"{shape.parameters / 2**power:.1e}"))
        try:
            page = resolve(ModelPage(params=params), shape.vocab_size)
        except RecipeError:
            return []
        need = memory(of_page(page, shape.vocab_size), work, degrees).peak
        if need <= limit:
            return [Fit("model.params", format_count(params), need)]
    return []


def _fits(shape: Shape, work: Work, degrees: Degrees, limit: int, stage: str) -> Iterator[Fit]:
    def first(key: str, tries: Sequence[tuple[Any, Work, Degrees]]) -> Iterator[Fit]:
        for value, changed, spread in tries:
            need = memory(shape, changed, spread).peak
            if need <= limit:
                yield Fit(key, value, need)
                return

    name = "micro_batch_pairs" if stage == "dpo" else "micro_batch_sequences"
    rows_a_unit = 2 if stage == "dpo" else 1
    units = [work.rows // rows_a_unit // 2**power for power in range(1, 12)]
    smaller = [(unit, replace(work, rows=unit * rows_a_unit), degrees) for unit in units if unit >= 1]
    alone = [*first(f"{stage}.{name}", smaller)]
    if not work.recompute:
        alone += first("training.recompute", [(True, replace(work, recompute=True), degrees)])
    yield from alone
    if not work.recompute and not alone:
        both = [(value, replace(changed, recompute=True), spread) for value, changed, spread in smaller]
        yield from first(f"training.recompute = true and {stage}.{name}", both)
    more = [degrees.shard * 2**power for power in range(1, 11)]
    spread = [
        (ranks, work, replace(degrees, shard=ranks)) for ranks in more if degrees.replicate * ranks <= work.step_rows
    ]
    yield from first("training.mesh.shard", spread)


def told(need: Memory, limit: int) -> str:
    """A rank's need in one line: how much, its parts, and by how much it is too much."""
    parts = ", ".join(f"{part.name} {format_bytes(part.bytes)}" for part in need.parts)
    return f"{format_bytes(need.peak)} ({parts}); there are {format_bytes(limit)}"
