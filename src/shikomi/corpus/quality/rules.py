"""Decisions, late: measures against the recipe's thresholds, the first rule that fails being the reason."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


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
            return explain(rule, value, threshold)
    return None


def first_failures(measures: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> np.ndarray:
    """The place, in ``thresholds``, of the first that each document fails, -1 if it passes all; int64 [documents].

    Args:
        measures: columns of the measures that the thresholds name, float64 [documents] each.
        thresholds: as for ``first_failure``, with which this agrees document by document; not empty.
    """
    failed = []
    for rule, threshold in thresholds.items():
        bound, _, name = rule.partition("_")
        failed.append(measures[name] < threshold if bound == "min" else measures[name] > threshold)
    table = np.stack(failed)
    return np.where(table.any(axis=0), table.argmax(axis=0), -1)


def explain(rule: str, value: float, threshold: float) -> tuple[str, str]:
    """``(measure, detail)`` of a document that fails a rule."""
    bound, _, name = rule.partition("_")
    sign = "<" if bound == "min" else ">"
    return name, f"{name} {_number(value)} {sign} {_number(threshold)}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"
