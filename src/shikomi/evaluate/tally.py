"""From marks to tables: every metric with n and an interval, baselines beside it, and what each stage changed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from shikomi.evaluate.answers import Result
from shikomi.evaluate.metrics import BITS, METRICS, Metric
from shikomi.evaluate.score import Interval, Resampler, difference, ratio
from shikomi.evaluate.task import Item, Rules
from shikomi.recipe.evaluate import EvaluatePage

SHUFFLES = 10
"""Other companies' gold answers that each answer is held against, at most: their mean is the control."""


class Tally:
    """Tables over the results of all models, in order."""

    def __init__(self, items: Sequence[Item], results: dict[str, Result], page: EvaluatePage, rules: Rules) -> None:
        self.items, self.results, self.page, self.rules = items, results, page, rules
        self.metrics = [metric for metric in METRICS if any(metric.takes(item) for item in items)]
        self.documents = next(iter(results.values())).bytes

    def names(self) -> dict[str, dict[str, str]]:
        """What each metric is called and how it is read."""
        shares = {metric.key: metric.described() for metric in self.metrics}
        return shares | ({"bits_per_byte": BITS} if self.documents else {})

    def models(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Every metric of every model."""
        table: dict[str, dict[str, dict[str, Any]]] = {}
        for name, result in self.results.items():
            row = {metric.key: self._metric(metric, result).plain() for metric in self.metrics}
            if self.documents:
                row["bits_per_byte"] = ratio(result.bits, result.bytes, self._by_document(), share=False).plain()
            table[name] = row
        return table

    def differences(self) -> list[dict[str, Any]]:
        """What each stage changed against the one before it; and, if there are more than two after the base, the last
        against the second (all that tuning did)."""
        order = list(self.results)
        pairs = list(pairwise(order))
        if len(order) > 3:
            pairs.append((order[1], order[-1]))
        rows = []
        for before, after in pairs:
            for metric in self.metrics:
                rows.append(self._difference(metric, before, after))
            if self.documents:
                sides = [(self.results[name].bits, self.results[name].bytes) for name in (before, after)]
                found = difference(sides[0], sides[1], self._by_document(), share=False)
                rows.append(_row(before, after, "bits_per_byte", found, None, None))
        return rows

    def most_frequent(self) -> dict[str, dict[str, Any]]:
        """The score of always giving the field's commonest gold answer: the best that one answer a field can do."""
        table = {}
        for metric in (metric for metric in self.metrics if metric.task == "fact"):
            items = self._items(metric)
            commonest = _commonest(items, self.rules)
            right = [float(self._gold(item) == commonest[item.row.field]) for item in items]
            table[metric.key] = ratio(right, [1.0] * len(right), self._draws(items)).plain()
        return table

    def shuffled(self) -> dict[str, dict[str, Any]]:
        """Each model's own answers held against other companies' gold answers of the same field: what guessing the
        right kind of answer is worth. Golds are exchanged by company, in an order drawn by the seed."""
        items = [item for item in self.items if item.task in ("fact", "reading") and item.row.split == "eval"]
        if not items:
            return {}
        others = _exchanged(items, self.page.seed, self._gold)
        table = {}
        for name, result in self.results.items():
            shares = []
            for item in items:
                value = self.rules.normalise(result.answers[item.row.id])
                golds = others[item.row.id]
                shares.append(sum(value == gold for gold in golds) / len(golds) if value and golds else 0.0)
            table[name] = ratio(shares, [1.0] * len(shares), self._draws(items)).plain()
        return table

    def by_field(self) -> dict[str, dict[str, Any]]:
        """Facts of evaluation companies by field, model and kind of wording."""
        table: dict[str, dict[str, Any]] = {}
        facts = [metric for metric in self.metrics if metric.key in ("facts_seen", "facts_unseen")]
        for field in dict.fromkeys(item.row.field for item in self.items if item.task == "fact"):
            for name, result in self.results.items():
                cell = {}
                for metric in facts:
                    items = [item for item in self._items(metric) if item.row.field == field]
                    if items:
                        cell[metric.forms] = self._ratio(metric, items, result).plain()
                table.setdefault(field, {})[name] = cell
        return table

    def _items(self, metric: Metric) -> list[Item]:
        return [item for item in self.items if metric.takes(item)]

    def _metric(self, metric: Metric, result: Result) -> Interval:
        return self._ratio(metric, self._items(metric), result)

    def _ratio(self, metric: Metric, items: Sequence[Item], result: Result) -> Interval:
        return ratio(*_parts(metric, items, result), self._draws(items))

    def _difference(self, metric: Metric, before: str, after: str) -> dict[str, Any]:
        items = self._items(metric)
        sides = [_parts(metric, items, self.results[name]) for name in (before, after)]
        found = difference(sides[0], sides[1], self._draws(items))
        if not metric.counted:
            return _row(before, after, metric.key, found, None, None)
        changes = Counter(new - old for old, new in zip(sides[0][0], sides[1][0], strict=True))
        return _row(before, after, metric.key, found, changes[1.0], changes[-1.0])

    def _gold(self, item: Item) -> str:
        return self.rules.normalise(item.gold[0])

    def _draws(self, items: Sequence[Item]) -> Resampler:
        return Resampler([item.cluster for item in items], self.page.resamples, self.page.seed)

    def _by_document(self) -> Resampler:
        names = [f"{number:09d}" for number in range(len(self.documents))]
        return Resampler(names, self.page.resamples, self.page.seed)


def _parts(metric: Metric, items: Sequence[Item], result: Result) -> tuple[list[float], list[float]]:
    marks = [result.grades[item.row.id] for item in items]
    return [metric.top(one) for one in marks], [metric.bottom(one) for one in marks]


def _row(before: str, after: str, metric: str, found: Interval, gained: int | None, lost: int | None) -> dict[str, Any]:
    return {"before": before, "after": after, "metric": metric, **found.plain(), "gained": gained, "lost": lost}


def _commonest(items: Sequence[Item], rules: Rules) -> dict[str, str]:
    """The commonest gold value of each field, every company counted once; of equals, the first in sorting order."""
    golds: dict[str, dict[str, str]] = defaultdict(dict)
    for item in items:
        golds[item.row.field][item.cluster] = rules.normalise(item.gold[0])
    counts = {field: Counter(values.values()) for field, values in golds.items()}
    return {field: min(found, key=lambda value: (-found[value], value)) for field, found in counts.items()}


def _exchanged(items: Sequence[Item], seed: int, gold: Callable[[Item], str]) -> dict[str, list[str]]:
    """For each item, gold values of the same field of up to ``SHUFFLES`` other companies, never of its own."""
    by_field: dict[str, dict[str, str]] = defaultdict(dict)
    for item in items:
        by_field[item.row.field].setdefault(item.cluster, gold(item))
    found = {}
    orders = {}
    for field, values in by_field.items():
        orders[field] = sorted(values)
        random.Random(f"shuffle:{seed}:{field}").shuffle(orders[field])
    places = {field: {name: index for index, name in enumerate(order)} for field, order in orders.items()}
    for item in items:
        order, values = orders[item.row.field], by_field[item.row.field]
        place = places[item.row.field][item.cluster]
        shifts = range(1, min(SHUFFLES, len(order) - 1) + 1)
        found[item.row.id] = [values[order[(place + shift) % len(order)]] for shift in shifts]
    return found
