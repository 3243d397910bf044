"""The training stages as curves: loss, and beneath it rate, gradient norm and speed; of stages in work too."""

from __future__ import annotations

import time
from typing import Any

from shikomi.report import charts, words
from shikomi.report.status import BuildStatus, StageStatus, as_dict

TRAINED = ("pretrain", "anneal", "sft", "dpo")
LOSSES = {"dpo": ("−log σ(β·差)", "−log σ(β·margin)"), "sft": ("回答の損失", "loss on answers")}
SMALL = (
    ("rate", "学習率（最大に対する比）", "learning rate, share of its peak"),
    ("factor", "学習率（最大に対する比）", "learning rate, share of its peak"),
    ("grad_norm", "勾配ノルム", "gradient norm"),
    ("update_norm", "更新ノルム", "update norm"),
    ("tokens_per_second", "速さ（トークン/秒）", "tokens a second"),
)
"""Columns of a step's row that have a small curve: name, Japanese, English. ``factor`` is how older runs call the
rate."""


MOST_ROWS = 20_000
"""Rows of a run that are read for its curves: a hundred for each point that is drawn."""


def training_view(build: BuildStatus) -> list[dict[str, Any]]:
    """One panel for each training stage that has made a step."""
    return [found for found in (_panel(build.stage(name), index) for index, name in enumerate(TRAINED)) if found]


def _panel(stage: StageStatus, index: int) -> dict[str, Any]:
    read = stage.rows("metrics.jsonl", MOST_ROWS)
    rows = [row for row in read if _number(row.get("step")) and _number(row.get("loss"), True)]
    if not rows:
        return {}
    ja, en = words.named(words.STAGES, stage.name)
    style = f"m{index % 4}"
    pairs = [(row["step"], row["loss"]) for row in rows]
    label = f"{ja} {en}: {len(rows)} steps, loss {pairs[0][1]:.3f} to {pairs[-1][1]:.3f}"
    return {
        "ja": ja,
        "en": en,
        "loss": LOSSES.get(stage.name, ("損失（ナット/トークン）", "loss, nats a token")),
        "svg": charts.curve(pairs, label=label, style=style, x_name="step"),
        "small": [one for one in (_small(rows, *column, f"{ja} {en}", style) for column in SMALL) if one],
        "facts": _facts(stage, rows),
        "in_work": not stage.finished,
        "when": _when(stage),
    }


def _small(rows: list[dict[str, Any]], name: str, ja: str, en: str, stage: str, style: str) -> dict[str, Any]:
    pairs = [(row["step"], row[name]) for row in rows if _number(row.get(name), True)]
    if not pairs:
        return {}
    label = f"{stage}, {ja} {en}: {charts.tick_text(float(f'{pairs[-1][1]:.3g}'))}"
    exact = name in ("rate", "factor")
    svg = charts.curve(pairs, label=label, style=style, x_name="", small=True, exact=exact)
    return {"ja": ja, "en": en, "svg": svg}


def _facts(stage: StageStatus, rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Figures below the curves: Japanese, English, value."""
    facts, last, first = stage.facts, rows[-1], rows[0]
    tokens = last["tokens"] if _number(last.get("tokens")) else sum(row.get("positions") or 0 for row in rows)
    speed = facts.get("tokens_per_second") or last.get("tokens_per_second")
    share = facts.get("mfu") or last.get("mfu")
    loss = f"{facts.get('first_loss', first['loss']):.3f} → {facts.get('final_loss', last['loss']):.3f}"
    told = [
        ("ステップ", "steps", words.number(last["step"])),
        ("処理トークン", "tokens processed", words.short(tokens)),
        ("損失", "loss", loss),
    ]
    for name, seen in as_dict(facts.get("sources")).items():
        if len(facts["sources"]) > 1 and isinstance(seen, dict):
            told.append(
                (f"うち {name}", f"of these {name}", f"{words.short(seen['tokens'])} ({seen['epochs']:.2f} epochs)")
            )
    if speed:
        told.append(("速さ", "speed", f"{words.number(round(speed))} tokens/s"))
    if share:
        told.append(("計算効率 MFU", "model FLOPs over the peak", words.percent(share)))
    if facts.get("peak_flops"):
        peak = facts["peak_flops"]
        shown = f"{peak / 1e12:.3g} TFLOP/s" if peak >= 1e12 else f"{peak / 1e9:.3g} GFLOP/s"
        told.append(("分母のピーク", "peak it is measured against", shown))
    if _number(last.get("memory_mb")):
        told.append(("メモリ", "memory", words.megabytes(last["memory_mb"])))
    if _number(last.get("accuracy"), True):
        told.append(("選好の正解率（学習対）", "accuracy on training pairs", words.percent(last["accuracy"])))
    return told


def _when(stage: StageStatus) -> str:
    """When the last row of a stage in work was written, local time."""
    if stage.finished or stage.work is None:
        return ""
    try:
        written = (stage.work / "scratch" / "metrics.jsonl").stat().st_mtime
    except OSError:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(written))


def _number(value: Any, zero: bool = False) -> bool:
    """Whether a value is a number, and not 0 unless ``zero`` is allowed."""
    return isinstance(value, int | float) and not isinstance(value, bool) and (zero or value != 0)
