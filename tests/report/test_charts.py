"""Charts: thinning keeps extremes, ticks are round, drawings stay inside their frame."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from shikomi.report import charts
from shikomi.report.charts import Line, Span


def numbers(svg: str, attribute: str) -> list[float]:
    return [float(found) for found in re.findall(rf'{attribute}="(-?[\d.]+)"', svg)]


def test_thinning_keeps_ends_and_extremes():
    pairs = [(float(x), math.sin(x / 50) + (5 if x == 777 else 0)) for x in range(1, 2001)]
    points = charts.thin(pairs, 100)
    assert len(points) == 100
    assert points[-1].x == 2000
    assert max(point.high for point in points) == max(y for _, y in pairs)
    assert min(point.low for point in points) == min(y for _, y in pairs)
    assert sum(point.mean for point in points) / 100 == pytest.approx(sum(y for _, y in pairs) / 2000)
    assert charts.thin(pairs[:5], 100)[2] == charts.Point(3.0, pairs[2][1], pairs[2][1], pairs[2][1])
    assert charts.thin([(1.0, math.nan), (2.0, math.inf)]) == []


def test_smoothing_keeps_the_ends_and_constants():
    values = [8.0, 2.0, 4.0, 1.0, 3.0, 2.0]
    smoothed = charts.smooth(values)
    assert (smoothed[0], smoothed[-1]) == (8.0, 2.0)
    assert smoothed[2] == pytest.approx((2 + 4 + 1) / 3)
    assert charts.smooth([3.0] * 200) == [3.0] * 200


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.72, 0.77), (3, 3), (-4, 1200), (0, 1e-5), (0, 0)])
def test_ticks_are_round_and_enclose(low, high):
    found = charts.ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8
    steps = {round(b - a, 12) for a, b in pairwise(found)}
    leading = {f"{step:e}"[0] for step in steps}
    assert leading <= {"1", "2", "5"}


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.5"), (1500, "1.5k"), (2e6, "2M"), (300, "300")])
def test_tick_texts_are_short(value, text):
    assert charts.tick_text(value) == text


def test_a_curve_stays_inside_its_frame_and_carries_its_points():
    svg = str(charts.curve([(float(x), 8 / x) for x in range(1, 300)], label='a "b" <c>', style="m0", x_name="step"))
    tree = ET.fromstring(svg)
    assert tree.get("aria-label") == 'a "b" <c>'
    assert tree.get("data-points", "").startswith("[[2")
    for line in tree.iter("polyline"):
        for pair in line.get("points", "").split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= charts.WIDTH
            assert 0 <= y <= 194
    assert charts.curve([], label="", style="m0", x_name="step") == ""
    assert "polyline" not in charts.curve([(1.0, 2.0)], label="", style="m0", x_name="step")


def test_intervals_place_values_on_one_axis():
    rows = [Span("ベース", "m0", 0.0, 0.0, 0.06, "0.0%"), Span("DPO", "m3", 1.0, None, None, "100.0%")]
    svg = str(charts.intervals(rows, label="x", low=0, high=1, lines=[Line(0.5, "最頻値")]))
    tree = ET.fromstring(svg)
    dots = [float(dot.get("cx", "")) for dot in tree.iter("circle")]
    (baseline,) = (line for line in tree.iter("line") if line.get("class") == "baseline")
    assert float(baseline.get("x1", "")) == pytest.approx(sum(dots) / 2, abs=0.1)
    assert len([line for line in tree.iter("line") if "whisker" in line.get("class", "")]) == 1
    assert all(0 <= x <= charts.WIDTH for x in dots)


def test_a_change_points_to_its_side_and_never_leaves():
    down = numbers(charts.change(-0.1, -0.2, 0.0, 0.2, "worse"), "cx")[0]
    up = numbers(charts.change(9.0, None, None, 0.2, "better"), "cx")[0]
    assert down < 60 < up <= 120
    assert "whisker" not in charts.change(9.0, None, None, 0.0, "better")
