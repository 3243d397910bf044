"""From ``scores.json`` to what the page shows: interval charts, the table side by side, what tuning changed, chats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from shikomi.report import charts, words
from shikomi.report.status import as_list

Scores = Mapping[str, Any]

CHARTED = (
    "facts_seen", "facts_unseen", "tuned_seen", "tuned_unseen", "reading", "reading_f1",
    "extract_f1", "preference", "pairs_sum", "pairs_token", "bits_per_byte",
)  # fmt: skip
"""Metrics that get a chart, in this order; the table has all."""

FORGOTTEN = (
    "facts", "facts_seen", "facts_unseen", "tuned", "reading", "extract_f1", "preference", "pairs_sum", "bits_per_byte",
)  # fmt: skip
"""Metrics whose change from stage to stage is shown."""

LONG_TEXT = 600
"""Characters from which a turn of a chat is folded."""


def score_view(scores: Scores) -> dict[str, Any]:
    """Everything the evaluation's sections need; empty where there are no scores."""
    models = scores.get("models")
    if not isinstance(models, dict) or not models:
        return {}
    order = [name for name in as_list(scores.get("order")) if name in models] or list(models)
    return {
        "models": [_model(name, index) for index, name in enumerate(order)],
        "charts": _charts(scores, order),
        "table": _table(scores, order),
        "fields": _fields(scores, order),
        "forgotten": _forgotten(scores, order),
        "answers": [_answer(row) for row in as_list(scores.get("answers"))],
        "chats": [_chat(row) for row in as_list(scores.get("chats"))],
        "shared": scores.get("subjects_in_training") or 0,
        "prompts_cut": scores.get("prompts_cut") or 0,
        "resamples": scores.get("resamples"),
    }


def model_style(index: int) -> str:
    """The class that colours a model, by its place in the order of training."""
    return f"m{index % 4}"


def _model(name: str, index: int) -> dict[str, Any]:
    ja, en = words.named(words.MODELS, name)
    return {"name": name, "ja": ja, "en": en, "style": model_style(index)}


def _metric_names(scores: Scores, wanted: Sequence[str] | None = None) -> list[str]:
    known = scores.get("metrics") or {}
    return [name for name in (wanted or known) if name in known]


def _text(unit: str, value: float | None) -> str:
    if unit == "share":
        return words.percent(value)
    return "–" if value is None else f"{value:.3f}"


def _range(unit: str, found: Mapping[str, Any]) -> str:
    low, high = found.get("low"), found.get("high")
    if low is None or high is None:
        return ""
    return f"{100 * low:.1f} – {100 * high:.1f}" if unit == "share" else f"{low:.3f} – {high:.3f}"


# ---- charts ---------------------------------------------------------------------------------------------------------


def _charts(scores: Scores, order: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for name in _metric_names(scores, CHARTED):
        told = scores["metrics"][name]
        rows = _spans(scores, order, name, told["unit"])
        if rows:
            found.append(
                {"ja": told["ja"], "en": told["en"], "n": _n(scores, order, name), "svg": _chart(scores, name, rows)}
            )
    return found


def _spans(scores: Scores, order: Sequence[str], metric: str, unit: str) -> list[charts.Span]:
    rows = []
    for index, name in enumerate(order):
        cell = scores["models"][name].get(metric)
        if cell:
            label = words.named(words.MODELS, name)[0]
            text = _text(unit, cell["value"])
            rows.append(charts.Span(label, model_style(index), cell["value"], cell["low"], cell["high"], text))
    return rows


def _chart(scores: Scores, metric: str, rows: Sequence[charts.Span]) -> Markup:
    told = scores["metrics"][metric]
    label = f"{told['ja']}: " + ", ".join(f"{row.label} {row.text}" for row in rows)
    if told["unit"] == "share":
        constant = ((scores.get("baselines") or {}).get("most_frequent") or {}).get(metric)
        lines = [charts.Line(constant["value"], f"最頻値 {words.percent(constant['value'])}")] if constant else []
        return charts.intervals(rows, label=label, low=0.0, high=1.0, lines=lines)
    ends = [end for row in rows for end in (row.low, row.high, row.value) if end is not None]
    marks = charts.ticks(min(ends), max(ends), 3)
    return charts.intervals(rows, label=label, low=marks[0], high=marks[-1], percent=False)


def _n(scores: Scores, order: Sequence[str], metric: str) -> str:
    cell = next((scores["models"][name][metric] for name in order if metric in scores["models"][name]), None)
    if cell is None:
        return ""
    by = words.named(words.CLUSTERS, scores["metrics"][metric].get("by", ""))
    if cell["n"] == cell["clusters"]:
        return f"n = {words.number(cell['n'])}"
    return f"n = {words.number(cell['n'])}（{words.number(cell['clusters'])} {by[0]}）"


# ---- tables ---------------------------------------------------------------------------------------------------------


def _table(scores: Scores, order: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the table side by side: every metric, and under the facts what guessing is worth."""
    rows = []
    baselines = scores.get("baselines") or {}
    for name in _metric_names(scores):
        told = scores["metrics"][name]
        cells = [_cell(told, scores["models"][model].get(name)) for model in order]
        best = _best(told, [scores["models"][model].get(name) for model in order])
        for index in best:
            cells[index]["best"] = True
        rows.append(
            {"ja": told["ja"], "en": told["en"], "n": _n(scores, order, name), "cells": cells, "kind": "metric"}
        )
        constant = (baselines.get("most_frequent") or {}).get(name)
        if constant and name in ("facts", "tuned"):
            words_said = ("いつも最頻値で答えた場合", "always the commonest answer of the field")
            rows.append(_baseline(*words_said, [_cell(told, constant)]))
        if name in ("facts", "reading") and baselines.get("shuffled"):
            cells = [_cell(told, baselines["shuffled"].get(model)) for model in order]
            rows.append(_baseline("正解を入れ替えた対照", "shuffled control: others' gold answers", cells))
    return rows


def _baseline(ja: str, en: str, cells: list[dict[str, Any]]) -> dict[str, Any]:
    return {"ja": ja, "en": en, "n": "", "cells": cells, "kind": "baseline"}


def _cell(told: Mapping[str, str], found: Mapping[str, Any] | None) -> dict[str, Any]:
    if not found:
        return {"value": "–", "range": "", "best": False}
    return {"value": _text(told["unit"], found["value"]), "range": _range(told["unit"], found), "best": False}


def _best(told: Mapping[str, str], cells: Sequence[Mapping[str, Any] | None]) -> list[int]:
    """Places of the best value, all of equal ones; none where every model is equal."""
    values = [cell["value"] if cell else None for cell in cells]
    known = [value for value in values if value is not None]
    if len(set(known)) < 2:
        return []
    best = min(known) if told.get("better") == "lower" else max(known)
    return [index for index, value in enumerate(values) if value == best]


def _fields(scores: Scores, order: Sequence[str]) -> list[dict[str, Any]]:
    """By field of fact: the final model's share of right answers in both kinds of wordings."""
    rows = []
    for field, by_model in (scores.get("by_field") or {}).items():
        cells = by_model.get(order[-1]) or {}
        ja, en = words.named(words.FIELDS, field)
        row: dict[str, Any] = {"ja": ja, "en": en}
        for kind in ("seen", "unseen"):
            cell = cells.get(kind)
            row[kind] = {"share": cell["value"], "text": words.percent(cell["value"]), "n": cell["n"]} if cell else None
        rows.append(row)
    return rows


# ---- what tuning changed --------------------------------------------------------------------------------------------


def _forgotten(scores: Scores, order: Sequence[str]) -> dict[str, Any]:
    rows = [row for row in as_list(scores.get("differences")) if row.get("metric") in (scores.get("metrics") or {})]
    pairs = list(dict.fromkeys((row["before"], row["after"]) for row in rows))
    by_place = {(row["before"], row["after"], row["metric"]): row for row in rows}
    table = []
    for name in _metric_names(scores, FORGOTTEN):
        told = scores["metrics"][name]
        found = [by_place.get((*pair, name)) for pair in pairs]
        if not any(found):
            continue
        # A base cannot be asked yet: what the first stage adds would dwarf every other change.
        tuned = [row for row in found if row and row["before"] != order[0]]
        reach = max((_reach(row) for row in tuned), default=0.0)
        cells = [_change(told, row, reach if row in tuned else 0.0) if row else None for row in found]
        table.append({"ja": told["ja"], "en": told["en"], "cells": cells, "unit": _unit(told)})
    heads = []
    for before, after in pairs:
        (ja0, en0), (ja1, en1) = words.named(words.MODELS, before), words.named(words.MODELS, after)
        heads.append({"ja": f"{ja0} → {ja1}", "en": f"{en0} → {en1}"})
    return {"heads": heads, "rows": table, "said": _said(scores, by_place)}


def _unit(told: Mapping[str, str]) -> str:
    return "ポイント" if told["unit"] == "share" else "ビット/バイト"


def _reach(row: Mapping[str, Any]) -> float:
    return max(abs(value) for value in (row["value"], row["low"], row["high"]) if value is not None)


def _change(told: Mapping[str, str], row: Mapping[str, Any], reach: float) -> dict[str, Any]:
    share = told["unit"] == "share"
    low, high = row["low"], row["high"]

    def text(value: float) -> str:
        return words.points(value) if share else words.signed(value, 3)

    return {
        "value": text(row["value"]),
        "range": f"{text(low)} … {text(high)}" if low is not None and high is not None else "",
        "gained": row.get("gained"),
        "lost": row.get("lost"),
        "style": _direction(told, row),
        "svg": charts.change(row["value"], low, high, reach, _direction(told, row)) if reach else "",
    }


def _direction(told: Mapping[str, str], row: Mapping[str, Any]) -> str:
    """``better`` or ``worse`` where the interval excludes no change, else ``same``."""
    low, high = row["low"], row["high"]
    if low is None or high is None or low <= 0 <= high:
        return "same"
    return "better" if (low > 0) == (told.get("better") != "lower") else "worse"


def _said(scores: Scores, by_place: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> list[dict[str, str]]:
    """Sentences on what the tuning stages did to facts (or reading), one each."""
    order = as_list(scores.get("order"))
    name = "facts" if "facts" in (scores.get("metrics") or {}) else "reading"
    found = []
    for before, after in pairwise(order[1:]):
        row = by_place.get((before, after, name))
        if row is None:
            continue
        told = scores["metrics"][name]
        (ja0, en0), (ja1, en1) = words.named(words.MODELS, before), words.named(words.MODELS, after)
        cell = _change(told, row, 0.0)
        ranges = f"（95% 区間 {cell['range']}）" if cell["range"] else ""
        ja = f"{ja0} → {ja1}：{told['ja']}は {cell['value']} ポイント{ranges}。"
        ja += f"{row['lost']} 問を失い、{row['gained']} 問を得ました。"
        en = f"{en0} → {en1}: {cell['value']} points on {told['en']}; {row['lost']} lost, {row['gained']} gained."
        found.append({"ja": ja, "en": en})
    return found


# ---- answers and chats ----------------------------------------------------------------------------------------------


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("question", "answer", "gold", "right", "seen_form", "subject")
    return {name: row.get(name) for name in names}


def _chat(row: Mapping[str, Any]) -> dict[str, Any]:
    ja, en = words.named(words.CHATS, str(row.get("kind")))
    turns = [
        {
            "user": turn.get("role") == "user",
            "text": str(turn.get("content", "")),
            "long": len(str(turn.get("content", ""))) > LONG_TEXT,
        }
        for turn in as_list(row.get("messages"))
    ]
    gold = row.get("gold") or ""
    return {
        "ja": ja,
        "en": en,
        "turns": turns,
        "gold": gold,
        "right": row.get("right"),
        "subject": row.get("subject") or "",
    }
