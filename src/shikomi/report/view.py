"""From a build's files to what the page shows; whatever is missing is left out, never guessed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shikomi.io import dumps
from shikomi.report import words
from shikomi.report.score_view import score_view
from shikomi.report.status import BuildStatus, StageStatus, as_dict, as_list
from shikomi.report.training_view import training_view

REFRESH_SECONDS = 15
"""How often the page of a build in work loads itself anew."""
KEPT_SHOWN = 20
DROPPED_SHOWN = 24
HOSTS_SHOWN = 10


def page_view(build: BuildStatus) -> dict[str, Any]:
    """Everything that the template names."""
    scores = build.scores
    return {
        "recipe": build.recipe,
        "synthetic": build.synthetic,
        "complete": build.complete,
        "unfinished": [words.named(words.STAGES, stage.name) for stage in build.stages if not stage.finished],
        "warnings": _warnings(build),
        "summary": _summary(build, scores),
        "tiles": _tiles(build, scores),
        "funnel": _funnel(build.stage("corpus")),
        "language": _language(build),
        "curves": training_view(build),
        "in_work": build.in_work,
        "refresh_seconds": REFRESH_SECONDS,
        "scores": score_view(scores),
        "stages": _stages(build),
        "provenance": _provenance(build),
        "when": _when(build),
    }


def _count(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _when(build: BuildStatus) -> str:
    """When the last stage was finished, local time; empty if none is."""
    last = max((_count(stage.manifest.get("finished")) or 0 for stage in build.stages), default=0)
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(last)) if last else ""


# ---- the head -------------------------------------------------------------------------------------------------------


def _warnings(build: BuildStatus) -> list[words.Pair]:
    found = []
    facts = build.stage("dialogues").facts
    if facts.get("mechanics_only"):
        found.append(
            (
                "選好対に評価専用の指示が含まれます。仕組みの試験用であり、このモデルは公開できません。",
                "Preference pairs use prompts of an evaluation set: mechanics only, this model must not be released.",
            )
        )
    shared = build.scores.get("subjects_in_training")
    if shared:
        found.append(
            (
                f"評価対象のうち {shared} 件は学習用の対話にも現れます。事実の得点は暗記を含みます。",
                f"{shared} evaluation subjects also occur in training dialogues: scores on facts include memorising.",
            )
        )
    return found


def _summary(build: BuildStatus, scores: Mapping[str, Any]) -> dict[str, str]:
    """What was built, in what time, and how it scored: one paragraph a language, as far as it is known."""
    ja, en = [], []
    funnel, facts = build.stage("corpus").facts, build.stage("dpo").facts or build.stage("pretrain").facts
    if funnel.get("read"):
        web = ("合成したウェブ", "synthetic pages") if build.synthetic else ("クロールした", "crawled pages")
        joined = "の " if build.synthetic else " "
        ja.append(
            f"{web[0]}{joined}{words.number(funnel['read'])} ページから {words.number(funnel['kept'])} ページ"
            f"（{words.large(funnel.get('characters_kept', 0))}文字）を残しました。"
        )
        en.append(
            f"Of {words.number(funnel['read'])} {web[1]}, {words.number(funnel['kept'])} were kept "
            f"({words.short(funnel.get('characters_kept', 0))} characters)."
        )
    if facts.get("parameters"):
        took = words.duration(build.build_seconds)
        ja.append(f"{words.large(facts['parameters'])}パラメータのモデルを {took[0]}で作りました。")
        en.append(f"A model of {words.short(facts['parameters'])} parameters was built in {took[1]}.")
    told = _scores_said(scores.get("headline") or {}, "facts" in (scores.get("metrics") or {}))
    return {"ja": "".join([*ja, told[0]]), "en": " ".join([*en, told[1]]).strip()}


def _scores_said(headline: Mapping[str, Any], companies: bool) -> words.Pair:
    seen, unseen = headline.get("seen_forms"), headline.get("unseen_forms")
    if seen is None:
        return "", ""
    interval = _ends(headline.get("seen_forms_interval"))
    if not companies:
        return (
            f"読解の質問に {words.percent(seen)}{interval}正答します。",
            f"It answers {words.percent(seen)} of reading questions exactly.",
        )
    other = (
        f"、学習にない問い方で {words.percent(unseen)}{_ends(headline.get('unseen_forms_interval'))}"
        if unseen is not None
        else ""
    )
    other_en = f" and {words.percent(unseen)} in wordings never used" if unseen is not None else ""
    return (
        f"対話に一度も出ない企業について、学習した問い方で {words.percent(seen)}{interval}{other}正答します。",
        f"Asked about companies that no dialogue mentions, it is right on {words.percent(seen)} in wordings used in "
        f"tuning{other_en}.",
    )


def _ends(interval: Any) -> str:
    if not isinstance(interval, list) or len(interval) != 2 or None in interval:
        return ""
    return f"（95% 区間 {100 * interval[0]:.1f}–{100 * interval[1]:.1f}）"


def _tiles(build: BuildStatus, scores: Mapping[str, Any]) -> list[dict[str, str]]:
    """Key figures: name in two languages, value, and a note below it."""
    headline = scores.get("headline") or {}
    reading = "facts" not in (scores.get("metrics") or {})
    found = []

    def tile(ja: str, en: str, value: str, note: str = "") -> None:
        found.append({"ja": ja, "en": en, "value": value, "note": note})

    if headline.get("seen_forms") is not None:
        n = f"n = {words.number(headline.get('n_seen_forms'))}"
        names = ("読解", "reading") if reading else ("既知の問い方", "wordings used in tuning")
        tile(*names, words.percent(headline["seen_forms"]), n)
    if headline.get("unseen_forms") is not None:
        n = f"n = {words.number(headline.get('n_unseen_forms'))}"
        tile("未知の問い方", "wordings never used", words.percent(headline["unseen_forms"]), n)
    if headline.get("preference") is not None:
        note = f"SFT {words.percent(headline['preference_sft'])}" if headline.get("preference_sft") is not None else ""
        tile("選好", "preference", words.percent(headline["preference"]), note)
    if headline.get("bits_per_byte") is not None:
        base = headline.get("bits_per_byte_base")
        note = f"ベース base {base:.3f}" if base is not None else ""
        tile("バイト当たりビット", "bits per byte", f"{headline['bits_per_byte']:.3f}", note)
    facts = build.stage("dpo").facts or build.stage("pretrain").facts
    if facts.get("parameters"):
        tile("パラメータ", "parameters", words.short(facts["parameters"]), f"{words.large(facts['parameters'])}個")
    if build.build_seconds:
        peak = f"最大メモリ peak {words.megabytes(build.peak_mb)}" if build.peak_mb else ""
        tile("所要時間", "time", words.duration(build.build_seconds)[1], peak)
    return found


# ---- corpus ---------------------------------------------------------------------------------------------------------


def _funnel(stage: StageStatus) -> dict[str, Any]:
    counts = stage.read("funnel.json")
    if not isinstance(counts, dict) or not counts.get("read"):
        return {}
    read, left, rows = counts["read"], counts["read"], []
    for name, dropped in (counts.get("dropped_by_reason") or {}).items():
        ja, en = words.reason(name)
        left -= dropped
        rows.append({"ja": ja, "en": en, "name": name, "count": dropped, "share": dropped / read, "left": left / read})
    hosts = as_list(counts.get("hosts"))[:HOSTS_SHOWN]
    samples = stage.read("samples.json")
    samples = samples if isinstance(samples, dict) else {}
    return {
        "read": read,
        "kept": counts["kept"],
        "share": counts["kept"] / read,
        "rows": rows,
        "characters_read": counts.get("characters_read"),
        "characters_kept": counts.get("characters_kept"),
        "hosts": hosts,
        "num_hosts": counts.get("num_hosts"),
        "years": _years(counts.get("years")),
        "sources": counts.get("sources") if len(as_dict(counts.get("sources"))) > 1 else {},
        "masked": [(*words.named(words.MASKED, kind), n) for kind, n in as_dict(counts.get("masked")).items()],
        "duplicates": _duplicates(stage.read("duplicates.json")),
        "kept_samples": [_sample(row) for row in as_list(samples.get("kept"))[:KEPT_SHOWN]],
        "dropped_samples": [_sample(row) for row in _some_of_each(as_list(samples.get("dropped")), rows)],
    }


def _years(found: Any) -> list[dict[str, Any]]:
    """Documents kept by year of the fetch, each with its share of the fullest year."""
    counts = as_dict(found)
    most = max(counts.values(), default=1)
    return [{"year": year, "kept": kept, "share": kept / most} for year, kept in sorted(counts.items())]


def _duplicates(found: Any) -> dict[str, Any]:
    """The largest clusters of copies, each document with the name of its kind."""
    told = as_dict(found)
    shown = [
        {
            "size": cluster["size"],
            "documents": [
                {"differs": None, **one, "name": words.named(words.KINDS, one["kind"])}
                for one in as_list(cluster.get("documents"))
            ],
        }
        for cluster in as_list(told.get("shown"))
    ]
    return {**told, "shown": shown} if shown else {}


def _some_of_each(samples: list[Any], reasons: list[dict[str, Any]]) -> list[Any]:
    """Samples of the commonest reasons first: two of each, or one where there are many reasons."""
    of_each = 2 if len(reasons) <= DROPPED_SHOWN // 2 else 1
    found = []
    for reason in reasons:
        found += [row for row in samples if row.get("reason") == reason["name"]][:of_each]
    return found[:DROPPED_SHOWN]


def _sample(row: Mapping[str, Any]) -> dict[str, Any]:
    name = str(row.get("reason") or "")
    ja, en = words.reason(name) if name else ("残した", "kept")
    measures = []
    for measure, value in (row.get("measures") or {}).items():
        decided = bool(name) and measure == name.removeprefix("min_").removeprefix("max_")
        text = f"{value:.3f}" if isinstance(value, float) and value != int(value) else words.number(_count(value))
        known = words.reason(measure)
        measures.append({"ja": known[0], "en": known[1], "value": text, "decided": decided})
    return {
        "ja": ja,
        "en": en,
        "reason": name,
        "url": str(row.get("url") or ""),
        "detail": str(row.get("detail") or ""),
        "of": str(row.get("duplicate_of") or ""),
        "characters": words.number(_count(row.get("characters"))),
        "excerpt": str(row.get("excerpt") or ""),
        "measures": measures,
    }


def _language(build: BuildStatus) -> list[dict[str, str]]:
    """Tokenizer and tokens in a few figures."""
    index, summary = build.stage("tokens").read("index.json"), build.stage("tokenizer").read("summary.json")
    found = []
    if isinstance(summary, dict) and summary.get("vocab_size"):
        split = f"{summary['split']} の分割規則" if summary.get("split") else ""
        found.append({"ja": "語彙", "en": "vocabulary", "value": words.number(summary["vocab_size"]), "note": split})
    if isinstance(index, dict) and isinstance(index.get("train"), dict):
        train, heldout = index["train"], index.get("heldout") or {}
        note = f"{words.number(train.get('documents'))} 文書"
        found.append(
            {"ja": "学習用トークン", "en": "training tokens", "value": words.short(train["tokens"]), "note": note}
        )
        if train.get("tokens") and train.get("characters"):
            rate = f"{train['characters'] / train['tokens']:.2f}"
            found.append({"ja": "1トークンの文字数", "en": "characters a token", "value": rate, "note": ""})
        if heldout.get("tokens"):
            note = f"{words.number(heldout.get('documents'))} 文書、学習に使わない"
            value = words.short(heldout["tokens"])
            found.append({"ja": "評価用トークン", "en": "held-out tokens", "value": value, "note": note})
    return found


# ---- stages and provenance ------------------------------------------------------------------------------------------


def _stages(build: BuildStatus) -> list[dict[str, Any]]:
    longest = max((stage.seconds for stage in build.stages), default=0.0)
    rows = []
    for stage in build.stages:
        ja, en = words.named(words.STAGES, stage.name)
        state = "cached" if stage.cached else stage.state
        rows.append(
            {
                "ja": ja,
                "en": en,
                "name": stage.name,
                "state": state,
                "state_words": words.named(words.STATES, state),
                "time": words.duration(stage.seconds)[1] if stage.finished else "–",
                "cpu": words.duration(_count(stage.manifest.get("cpu_seconds")) or 0.0)[1] if stage.finished else "–",
                "share": stage.seconds / longest if longest else 0.0,
                "peak": words.megabytes(stage.peak_mb) if stage.peak_mb else "–",
            }
        )
    return rows


def _provenance(build: BuildStatus) -> dict[str, Any]:
    finished = [stage for stage in build.stages if stage.finished]
    versions: dict[str, str] = {}
    for stage in finished:
        told = stage.manifest.get("versions")
        versions.update(told if isinstance(told, dict) else {})
    record = build.record
    return {
        "file": Path(str(record["file"])).name if record.get("file") else "",
        "overrides": [str(one) for one in as_list(record.get("overrides"))],
        "versions": sorted(versions.items(), key=lambda item: (item[0] != "shikomi", item[0])),
        "machine": _machine(finished),
        "licences": _licences(build),
        "ids": [_identity(stage) for stage in build.stages],
    }


def _identity(stage: StageStatus) -> dict[str, Any]:
    ja, en = words.named(words.STAGES, stage.name)
    inputs = stage.manifest.get("inputs")
    inputs = inputs if isinstance(inputs, dict) else {}
    told = [
        f"{name} ← {given.get('step') or given.get('source', '')} {given.get('id', '')}"
        for name, given in inputs.items()
    ]
    page = dumps(stage.page) if stage.page else ""
    return {
        "ja": ja,
        "en": en,
        "name": stage.name,
        "id": stage.id,
        "finished": stage.finished,
        "inputs": told,
        "page": page,
    }


def _machine(finished: list[StageStatus]) -> str:
    told = next(
        (stage.manifest["machine"] for stage in reversed(finished) if isinstance(stage.manifest.get("machine"), dict)),
        {},
    )
    parts = [str(told.get("processor") or "")]
    if told.get("cores"):
        parts.append(f"{told['cores']} cores")
    if _count(told.get("memory_mb")):
        parts.append(words.megabytes(told["memory_mb"]))
    parts += [str(one) for one in as_list(told.get("accelerators"))]
    parts.append(str(told.get("system") or ""))
    return ", ".join(part for part in parts if part)


def _licences(build: BuildStatus) -> list[dict[str, Any]]:
    """Licences of what was learned from, with counts; and of the weights."""
    rows = []
    for name, what in (("corpus", ("ページ", "pages")), ("dialogues", ("対話と選好対", "dialogues and pairs"))):
        counts = build.stage(name).facts.get("licences")
        for licence, count in (counts if isinstance(counts, dict) else {}).items():
            rows.append(
                {"ja": what[0], "en": what[1], "licence": licence or "unknown", "count": words.number(_count(count))}
            )
    page = build.stage("release").page.get("release")
    if isinstance(page, dict) and page.get("licence"):
        rows.append({"ja": "重み", "en": "weights", "licence": str(page["licence"]), "count": "–"})
    return rows
