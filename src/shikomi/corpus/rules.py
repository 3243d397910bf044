"""Decisions, late: measures against the recipe's thresholds, the first rule that fails being the reason."""

from __future__ import annotations

from collections.abc import Mapping


def first_failure(measures: Mapping[str, float], thresholds: Mapping[str, float]) -> tuple[str, str] | None:
    """The first threshold a document fails, as ``(measure, detail)``, or None if it passes all.

    Args:
        measures: by the names in ``data.document.MEASURES``.
        thresholds: ``min_<measure>`` and ``max_<measure>``, in the order of checking; a value on the threshold passes.
    """
    for rule, threshold in thresholds.items():
        bound, _, name = rule.partition("_")
        value = measures[name]
        if value < threshold if bound == "min" else value > threshold:
            sign = "<" if bound == "min" else ">"
            return name, f"{name} {_number(value)} {sign} {_number(threshold)}"
    return None


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"
