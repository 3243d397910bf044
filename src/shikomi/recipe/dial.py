"""One dial: a number of parameters becomes the shape of a dense decoder, and every number of it has a reason.

The rule is fitted to published models (``dense_models.json``; a test fits it anew): depth grows with width as
``LAYERS_FACTOR · width^LAYERS_POWER``, the feed-forward part is ``FEED_FORWARD`` times as wide as the model. Among all
shapes of whole tiles that have the parameters asked for, the one nearest to the rule is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shikomi.errors import RecipeError
from shikomi.recipe.model import ModelPage
from shikomi.units import format_count

LAYERS_FACTOR, LAYERS_POWER = 0.126, 0.692
"""Least squares of ln(layers) on ln(width) over ``dense_models.json``: 15 layers at 1,024, 40 at 4,096."""
FEED_FORWARD = 3.3
"""Median of intermediate size over width of its gated models (2.7 to 5.4)."""
TIED_BELOW = 5_000_000_000
"""Qwen3 and Llama 3.2 tie up to 4B and 3B; from 8B on none does."""
WIDE_HEADS_FROM, NARROW_HEAD, WIDE_HEAD = 1024, 64, 128
"""Heads of 64 below this width, of 128 from it on (llm-jp-3 150m and 440m; Qwen3)."""
MOST_KV_HEADS = 8
"""Key-value heads of Llama 3 and Qwen3: one for each of 8 tensor ranks."""
LONG_CONTEXT_FROM, LONG_CONTEXT = 100_000_000, 4096
"""From this size on models are made for so many tokens (Llama 2, OLMo 2, llm-jp-3), smaller ones for 512."""
PADDED_FROM, PADDING = 1_000_000_000, 1024
"""From this size on the vocabulary is filled up: tiles of 128 for each of 8 tensor ranks."""
TOLERANCE = 0.02
"""Most by which the parameters of a shape may miss the dial."""
_NEAR = 0.005
"""Shapes that miss by less are equally good."""

SHAPE_FIELDS = ("hidden_size", "layers", "heads", "kv_heads", "head_dim", "intermediate_size", "tie_embeddings")


@dataclass(frozen=True)
class Reason:
    """One number of a resolved shape: its field of the model page, its value, and where it comes from."""

    field: str
    value: Any
    why: str


@dataclass(frozen=True)
class _Shape:
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int


def resolve(page: ModelPage, vocab_size: int) -> ModelPage:
    """The page with every shape field filled in from its dial; one without a dial stays as it is.

    Fields that the recipe gives are kept, the others follow. Resolving twice gives the same.

    Args:
        page: the model page as it was read.
        vocab_size: of the tokenizer.

    Raises:
        RecipeError: the fields given cannot come within 2 % of the dial, or the page names a base.
    """
    if not page.params:
        return page
    if page.base:
        raise RecipeError(
            "model.params and model.base both say what shape the model has",
            where="model.params",
            hint="the shape of an open base is its folder's: leave model.params out",
        )
    tied = page.tie_embeddings if _given(page, "tie_embeddings") else page.params < TIED_BELOW
    shape = _best(page, vocab_size, tied)
    filled = {**vars(shape), "tie_embeddings": tied} | _beyond_shape(page)
    # Fields that follow from the dial do not become given ones.
    values = {name: getattr(page, name) for name in type(page).model_fields}
    return ModelPage.model_construct(page.model_fields_set, **values | filled)


def reasons(page: ModelPage, vocab_size: int) -> list[Reason]:
    """Where each number of a page with a dial comes from; empty without one."""
    if not page.params:
        return []
    found = resolve(page, vocab_size)
    rule = layers_of(found.hidden_size)
    texts = {
        "hidden_size": f"the width at which depth and feed-forward part come nearest to the rule, in tiles of "
        f"{_width_step(found.hidden_size)}",
        "layers": f"{LAYERS_FACTOR} · {found.hidden_size}^{LAYERS_POWER} = {rule:.1f} of published dense models "
        "(recipe/dense_models.json)",
        "heads": f"hidden_size / head_dim = {found.hidden_size} / {found.head_dim}",
        "kv_heads": f"largest power of two that divides heads, at most {MOST_KV_HEADS} and half of them "
        "(Llama 3, Qwen3)",
        "head_dim": f"{NARROW_HEAD} below a width of {WIDE_HEADS_FROM}, {WIDE_HEAD} from there on",
        "intermediate_size": f"what is left of the parameters, in tiles of {_tile(found.hidden_size)}: "
        f"{found.intermediate_size / found.hidden_size:.2f} · hidden_size (published: {FEED_FORWARD})",
        "tie_embeddings": f"tied below {format_count(TIED_BELOW)} parameters (Qwen3, Llama 3.2)",
        "max_tokens": f"{LONG_CONTEXT} from {format_count(LONG_CONTEXT_FROM)} parameters on",
        "vocab_multiple": f"tiles of 128 for 8 tensor ranks from {format_count(PADDED_FROM)} parameters on",
    }
    told = [Reason(name, getattr(found, name), "given" if _given(page, name) else why) for name, why in texts.items()]
    count = parameters(found, vocab_size)
    off = count / page.params - 1
    return [*told, Reason("parameters", count, f"{off:+.2%} of model.params = {format_count(page.params)}")]


def layers_of(width: float) -> float:
    """Layers that published dense models have at a width."""
    return LAYERS_FACTOR * width**LAYERS_POWER


def parameters(page: ModelPage, vocab_size: int) -> int:
    """All parameters of a page's shape, tied ones once, without padding of the vocabulary."""
    shape = _Shape(
        page.hidden_size, page.layers, page.heads, page.kv_heads, page.head_dim, page.intermediate_size
    )  # fmt: skip
    return _count(shape, page.layout, vocab_size, page.tie_embeddings)


def _count(shape: _Shape, layout: str, vocab_size: int, tied: bool) -> int:
    width, head = shape.hidden_size, shape.head_dim
    attention = 2 * width * head * (shape.heads + shape.kv_heads)
    extra = 2 * width + 2 * head * (layout == "qwen3") + head * (shape.heads + 2 * shape.kv_heads) * (layout == "qwen2")
    layer = attention + 3 * width * shape.intermediate_size + extra
    return shape.layers * layer + width + vocab_size * width * (1 if tied else 2)


def _given(page: ModelPage, name: str) -> bool:
    return name in page.model_fields_set


def _beyond_shape(page: ModelPage) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not _given(page, "max_tokens") and page.params >= LONG_CONTEXT_FROM:
        found["max_tokens"] = LONG_CONTEXT
    if not _given(page, "vocab_multiple") and page.params >= PADDED_FROM:
        found["vocab_multiple"] = PADDING
    return found


def _best(page: ModelPage, vocab_size: int, tied: bool) -> _Shape:
    """The shape nearest to the rule of those that have the parameters asked for.

    Raises:
        RecipeError: none has.
    """
    best = _nearest(page, vocab_size, tied, TOLERANCE)
    if best is None or best[0][0] > TOLERANCE:
        best = _nearest(page, vocab_size, tied, math.inf)
        raise _impossible(page, vocab_size, best[1] if best else None)
    return best[2]


def _nearest(
    page: ModelPage, vocab_size: int, tied: bool, off_by: float
) -> tuple[tuple[float, float], int, _Shape] | None:
    """The best shape, what it is judged by (lower is better) and its parameters; ``off_by`` as in ``_shapes``."""
    best: tuple[tuple[float, float], int, _Shape] | None = None
    for shape in _shapes(page, vocab_size, tied, off_by):
        count = _count(shape, page.layout, vocab_size, tied)
        off = abs(count / page.params - 1)
        cost = abs(math.log(shape.layers / layers_of(shape.hidden_size)))
        cost += abs(math.log(shape.intermediate_size / (FEED_FORWARD * shape.hidden_size)))
        # An odd number of layers does not cut into equal stages of a pipeline.
        cost += 0.02 * (shape.layers % 2)
        key = (off if off > _NEAR else 0.0, round(cost, 6))
        if best is None or key < best[0]:
            best = key, count, shape
    return best


def _impossible(page: ModelPage, vocab_size: int, nearest: int | None) -> RecipeError:
    given = [f"model.{name}" for name in SHAPE_FIELDS if _given(page, name)]
    said = format_count(page.params)
    if nearest is None or not given:
        return RecipeError(
            f'no decoder with a vocabulary of {vocab_size} has model.params = "{said}" parameters',
            where="model.params",
            hint="the embedding alone takes more: a larger model.params, or a smaller tokenizer.vocab_size",
        )
    return RecipeError(
        f'{", ".join(given)} and model.params = "{said}" contradict each other',
        where="model.params",
        hint=f'the nearest shape with them has {format_count(nearest)}: take model.params = "{format_count(nearest)}", '
        "or leave one of them out",
    )


def _shapes(page: ModelPage, vocab_size: int, tied: bool, off_by: float) -> Iterator[_Shape]:
    """Every shape of whole tiles, the feed-forward part as wide as the parameters left over allow.

    Args:
        off_by: shapes that miss the dial by a larger share than this are left out.
    """
    for width in [page.hidden_size] if _given(page, "hidden_size") else _widths(page.params, vocab_size, tied):
        head = page.head_dim if _given(page, "head_dim") else NARROW_HEAD if width < WIDE_HEADS_FROM else WIDE_HEAD
        heads = page.heads if _given(page, "heads") else max(1, width // head)
        kv_heads = page.kv_heads if _given(page, "kv_heads") else _kv_heads(heads)
        if heads % kv_heads:
            continue
        rule = layers_of(width)
        depths = range(max(1, math.floor(rule / 2)), math.ceil(rule * 2) + 1)
        if vocab_size * width > page.params / 2:
            # Most of a tiny model is its embedding: width is dear, depth is not.
            depths = range(2, 65)
        beside, with_one = (
            _count(_Shape(width, layers, heads, kv_heads, head, 0), page.layout, vocab_size, tied) for layers in (0, 1)
        )
        least, most, tile = 1.5 * width, 6 * width, _tile(width)
        for layers in [page.layers] if _given(page, "layers") else depths:
            room = (page.params - beside - layers * (with_one - beside)) / (3 * width * layers)
            inner = page.intermediate_size
            if not _given(page, "intermediate_size"):
                inner = round(min(max(room, least), most) / tile) * tile
            if abs(room - inner) * 3 * width * layers <= off_by * page.params:
                yield _Shape(width, layers, heads, kv_heads, head, inner)


def _widths(params: int, vocab_size: int, tied: bool) -> Iterator[int]:
    """Widths in tiles that grow, up to one at which the embedding alone would be too large."""
    width = 64
    while vocab_size * width * (1 if tied else 2) < params and 12 * width * width < 4 * params:
        yield width
        width += _width_step(width)


def _width_step(width: int) -> int:
    """Heads come in pairs from 256 on, in fours from 1,024 on; from 4,096 on eight tensor ranks share them evenly."""
    return 64 if width < 256 else 128 if width < 1024 else 512 if width < 4096 else 1024


def _tile(width: int) -> int:
    """Tiles of the feed-forward part: what matrix units like (NVIDIA's guide asks for multiples of 64 at least)."""
    return 64 if width < 512 else 128 if width < 4096 else 256


def _kv_heads(heads: int) -> int:
    found = 1
    while 2 * found <= min(MOST_KV_HEADS, heads // 2) and heads % (2 * found) == 0:
        found *= 2
    return found
