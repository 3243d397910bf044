"""Charts as inline SVG, drawn at the size of a telephone's column, so that text keeps its size at every width.

Coordinates are in pixels of the drawing (``WIDTH`` wide). Colours come from the page's style by class name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 360
POINTS = 160
"""Points a curve keeps: more than one for every two pixels shows nothing more."""


@dataclass(frozen=True)
class Point:
    """A piece of a curve: where it ends, and the mean, least and largest value in it."""

    x: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Span:
    """One row of an interval chart: a value with its interval (None: unknown), its class, and what stands beside."""

    label: str
    style: str
    value: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Line:
    """A vertical line across an interval chart, with its name."""

    value: float
    label: str


def thin(pairs: Sequence[tuple[float, float]], wanted: int = POINTS) -> list[Point]:
    """Reduce (x, y) pairs, in order of x, to about ``wanted`` points; least and largest values are kept as a band."""
    finite = [pair for pair in pairs if math.isfinite(pair[0]) and math.isfinite(pair[1])]
    size = max(1, math.ceil(len(finite) / wanted))
    points = []
    for start in range(0, len(finite), size):
        part = finite[start : start + size]
        values = [y for _, y in part]
        points.append(Point(part[-1][0], sum(values) / len(values), min(values), max(values)))
    return points


def smooth(values: Sequence[float]) -> list[float]:
    """Means over a window of up to a twentieth of the curve, smaller towards both ends, which stay where they are."""
    half, count = max(1, len(values) // 40), len(values)
    found = []
    for index in range(count):
        reach = min(half, index, count - 1 - index)
        part = values[index - reach : index + reach + 1]
        found.append(sum(part) / len(part))
    return found


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from at or below ``low`` to at or above ``high``, about ``wanted`` steps of 1, 2 or 5 x 10ⁿ."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        low, high = min(low, high) - 0.5, max(low, high) + 0.5
    rough = (high - low) / wanted
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * factor for factor in (1, 2, 5, 10) if scale * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def tick_text(value: float) -> str:
    """A tick's number, short: ``1500`` → ``1.5k``."""
    if abs(value) >= 1000:
        return f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value / 1e6:g}M"
    return f"{value:g}"


def curve(
    pairs: Sequence[tuple[float, float]],
    *,
    label: str,
    style: str,
    x_name: str,
    small: bool = False,
    exact: bool = False,
) -> Markup:
    """A line over a band, with axes and its last value; empty markup where there are no points.

    Args:
        pairs: (x, y), in order of x.
        label: what it shows, for those who cannot see it.
        style: class of the line.
        x_name: what x counts, for the axis.
        small: a third as high, with fewer ticks and no numbers below; the y axis starts at 0.
        exact: the line goes through the values as they were (a schedule has no noise).
    """
    points = thin(pairs)
    if not points:
        return Markup("")
    left, right, top, bottom, height = (38, WIDTH - 14, 8, 62, 66) if small else (38, WIDTH - 14, 14, 164, 194)
    x_ticks = [] if small else ticks(0, points[-1].x, 4)
    lowest = 0.0 if small else min(point.low for point in points)
    y_ticks = ticks(lowest, max(point.high for point in points), 2 if small else 4)
    x_scale = (right - left) / (points[-1].x or 1)
    y_scale = (bottom - top) / (y_ticks[-1] - y_ticks[0])

    def at(x: float, y: float) -> str:
        return f"{left + x * x_scale:.1f},{bottom - (y - y_ticks[0]) * y_scale:.1f}"

    parts = [_axes(left, right, bottom, x_ticks, y_ticks, x_scale, y_scale, points[-1].x)]
    parts.append(f'<text class="axis" x="{right}" y="{height - 4}" text-anchor="end">{escape(x_name)}</text>')
    if len(points) > 1:
        band = [at(point.x, point.high) for point in points] + [at(point.x, point.low) for point in reversed(points)]
        parts.append(f'<polygon class="band {escape(style)}" points="{" ".join(band)}"/>')
        raw = " ".join(at(point.x, point.mean) for point in points)
        parts.append(f'<polyline class="raw {escape(style)}" points="{raw}"/>')
        means = [point.mean for point in points]
        means = means if exact else smooth(means)
        line = " ".join(at(point.x, mean) for point, mean in zip(points, means, strict=True))
        parts.append(f'<polyline class="line {escape(style)}" points="{line}"/>')
    end_x, end_y = at(points[-1].x, points[-1].mean).split(",")
    parts.append(f'<circle class="dot {escape(style)}" cx="{end_x}" cy="{end_y}" r="3.2"/>')
    parts.append(f'<g class="cursor" visibility="hidden"><line y1="{top}" y2="{bottom}"/><circle r="3.5"/></g>')
    data = json.dumps([[point.x, float(f"{point.mean:.6g}")] for point in points], separators=(",", ":"))
    frame = f'data-points="{escape(data)}" data-left="{left}" data-xs="{x_scale:.6g}" data-bottom="{bottom}" '
    frame += f'data-y0="{y_ticks[0]:g}" data-ys="{y_scale:.6g}"'
    return _svg("curve small" if small else "curve", height, label, parts, frame)


def _axes(
    left: int,
    right: int,
    bottom: int,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_scale: float,
    y_scale: float,
    x_last: float,
) -> str:
    parts = []
    for value in y_ticks:
        y = bottom - (value - y_ticks[0]) * y_scale
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{left - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick_text(value)}</text>')
    for value in x_ticks:
        if value <= x_last * 1.001:
            x = left + value * x_scale
            parts.append(
                f'<text class="axis" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick_text(value)}</text>'
            )
    return "".join(parts)


def intervals(
    rows: Sequence[Span], *, label: str, low: float, high: float, lines: Sequence[Line] = (), percent: bool = True
) -> Markup:
    """Dots with their intervals on one axis from ``low`` to ``high``, one row each, values written at the right."""
    left, right, top, pitch = 84, WIDTH - 64, 16 if lines else 8, 22
    bottom = top + pitch * len(rows)
    scale = (right - left) / ((high - low) or 1)

    def at(value: float) -> float:
        return left + (min(max(value, low), high) - low) * scale

    parts = []
    for value in ticks(low, high, 4):
        if low - 1e-9 <= value <= high + 1e-9:
            text = f"{100 * value:.0f}" if percent else f"{value:g}"
            parts.append(f'<line class="grid" x1="{at(value):.1f}" x2="{at(value):.1f}" y1="{top}" y2="{bottom}"/>')
            parts.append(f'<text class="axis" x="{at(value):.1f}" y="{bottom + 13}" text-anchor="middle">{text}</text>')
    for line in lines:
        x = at(line.value)
        parts.append(f'<line class="baseline" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 3}" y2="{bottom}"/>')
        anchor = "start" if x < left + 60 else "middle"
        parts.append(f'<text class="axis" x="{x:.1f}" y="{top - 6}" text-anchor="{anchor}">{escape(line.label)}</text>')
    for index, row in enumerate(rows):
        y = top + pitch * index + pitch / 2
        style = escape(row.style)
        parts.append(f'<text class="name" x="{left - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(row.label)}</text>')
        if row.low is not None and row.high is not None:
            ends = f'x1="{at(row.low):.1f}" x2="{at(row.high):.1f}"'
            parts.append(f'<line class="whisker {style}" {ends} y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<circle class="dot {style}" cx="{at(row.value):.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(f'<text class="value" x="{WIDTH - 2}" y="{y + 4:.1f}" text-anchor="end">{escape(row.text)}</text>')
    return _svg("intervals", bottom + 20, label, parts)


def change(value: float, low: float | None, high: float | None, reach: float, style: str) -> Markup:
    """A difference as a dot with its interval around a zero line, ``reach`` to either side; decoration for a number."""
    width, middle = 120, 60

    def at(found: float) -> float:
        return middle + max(-1.0, min(1.0, found / (reach or 1))) * (middle - 5)

    parts = [f'<line class="zero" x1="{middle}" x2="{middle}" y1="1" y2="15"/>']
    if low is not None and high is not None:
        parts.append(f'<line class="whisker {escape(style)}" x1="{at(low):.1f}" x2="{at(high):.1f}" y1="8" y2="8"/>')
    parts.append(f'<circle class="dot {escape(style)}" cx="{at(value):.1f}" cy="8" r="3.4"/>')
    body = "".join(parts)
    return Markup(
        f'<svg class="change" viewBox="0 0 {width} 16" width="{width}" height="16" aria-hidden="true">{body}</svg>'
    )


def _svg(kind: str, height: float, label: str, parts: Sequence[str], more: str = "") -> Markup:
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}" {more}>'
        f"{''.join(parts)}</svg>"
    )
