"""A store as a finished build leaves it, made of small invented files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from shikomi.io import write_json, write_jsonl

STAGES = (
    "crawl", "dialogues", "pages", "corpus", "tokenizer", "tokens", "pretrain", "release_base",
    "anneal", "sft", "dpo", "evaluate", "release",
)  # fmt: skip
STARTED = 1_700_000_000.0
HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> \u202egpj.exe\x00\x1b[31m \ud800 {{ 7 * 7 }} ]]> -->'
"""What a page, an answer or a recipe may hold: markup, template code, direction and control characters."""


def identity(stage: str) -> str:
    return (stage.encode().hex() * 4)[:16]


def cell(value: float, n: int = 300, clusters: int = 60, low: float | None = None, high: float | None = None) -> dict:
    low = max(0.0, value - 0.05) if low is None else low
    high = value + 0.05 if high is None else high
    return {"value": value, "low": low, "high": high, "n": n, "clusters": clusters}


def metric(ja: str, en: str, unit: str = "share", by: str = "company") -> dict:
    return {"ja": ja, "en": en, "unit": unit, "better": "lower" if unit == "bits" else "higher", "by": by}


def change(before: str, after: str, name: str, value: float, low: float, high: float, **counts: Any) -> dict:
    row = {"before": before, "after": after, "metric": name, "value": value, "low": low, "high": high}
    return {**row, "n": 300, "clusters": 60, "gained": counts.get("gained"), "lost": counts.get("lost")}


def answer(question: str, given: str, gold: str, right: bool) -> dict:
    return {"question": question, "answer": given, "gold": gold, "right": right, "seen_form": right}


def scores() -> dict[str, Any]:
    order = ["base", "anneal", "sft", "dpo"]
    shares = {
        "facts": (0.0, 0.7, 0.72, 0.7),
        "facts_seen": (0.0, 0.91, 0.93, 0.92),
        "facts_unseen": (0.0, 0.5, 0.52, 0.5),
    }
    shares |= {"preference": (0.0, 0.3, 0.4, 0.98)}
    models = {name: {key: cell(row[place]) for key, row in shares.items()} for place, name in enumerate(order)}
    for place, name in enumerate(order):
        bits = 0.8 + place / 100
        models[name]["bits_per_byte"] = cell(bits, 60, 60, bits - 0.02, bits + 0.02)
    return {
        "format": 1,
        "order": order,
        "headline": {
            "seen_forms": 0.92, "unseen_forms": 0.5, "n": 300, "n_seen_forms": 300, "n_unseen_forms": 300,
            "seen_forms_interval": [0.87, 0.97], "unseen_forms_interval": [0.45, 0.55], "base": 0.0,
            "most_frequent": 0.06, "shuffled": 0.02, "bits_per_byte": 0.83, "bits_per_byte_base": 0.8,
            "preference": 0.98, "preference_sft": 0.4,
        },
        "metrics": {
            "facts": metric("評価企業の事実", "facts, evaluation companies"),
            "facts_seen": metric("評価企業・既知の問い方", "wordings used in tuning"),
            "facts_unseen": metric("評価企業・未知の問い方", "wordings never used"),
            "preference": metric("選好", "preference"),
            "bits_per_byte": metric("バイト当たりビット", "bits per byte", "bits", "document"),
        },
        "models": models,
        "baselines": {
            "most_frequent": {name: cell(0.06) for name in ("facts", "facts_seen", "facts_unseen")},
            "shuffled": {name: cell(0.02) for name in order},
        },
        "differences": [
            change("base", "anneal", "facts", 0.7, 0.65, 0.75, gained=210, lost=0),
            change("anneal", "sft", "facts", 0.02, -0.01, 0.05, gained=12, lost=6),
            change("sft", "dpo", "facts", -0.02, -0.035, -0.005, gained=3, lost=9),
            change("sft", "dpo", "bits_per_byte", 0.01, 0.008, 0.012),
            change("anneal", "dpo", "facts", 0.0, -0.02, 0.02, gained=9, lost=9),
        ],
        "by_field": {"founded": {"dpo": {"seen": cell(0.9, 50), "unseen": cell(0.4, 50)}}, "未知の欄": {"dpo": {}}},
        "answers": [
            answer("架空堂の設立年は。", "1987年です。", "1987年", True),
            answer("架空堂、本社は。", "京都市です。", "大阪市", False),
        ],
        "chats": [
            {
                "kind": "multi_turn", "subject": "架空堂", "gold": "1987年", "right": False,
                "messages": [
                    {"role": "user", "content": "架空堂について。" * 120},
                    {"role": "assistant", "content": "はい。"},
                    {"role": "user", "content": "設立年は。"},
                    {"role": "assistant", "content": ""},
                ],
            }
        ],
        "subjects_in_training": 0, "prompts_cut": 0, "resamples": 2000, "seed": 5,
    }  # fmt: skip


def funnel() -> dict[str, Any]:
    return {
        "read": 1000, "kept": 800,
        "dropped_by_reason": {"not_japanese": 120, "near_copy": 50, "duplicate_7gram_fraction": 20, "letters": 10},
        "characters_read": 2_000_000, "characters_kept": 1_480_000, "num_hosts": 2,
        "hosts": [{"host": "kaisha.example", "read": 900, "kept": 780, "characters_kept": 1_400_000}],
        "years": {"2024": 300, "2026": 500}, "masked": {"mail": 12, "phone": 3},
        "sources": {
            "web": {"read": 900, "kept": 780, "characters_kept": 1_400_000},
            "規程集": {"read": 100, "kept": 20, "characters_kept": 80_000},
        },
    }  # fmt: skip


def samples(text: str = "本文の一部。") -> dict[str, Any]:
    row = {"id": "1", "host": "h", "date": "", "duplicate_of": "", "characters": 342, "excerpt": text}
    measures = {"letters": 342, "hiragana_fraction": 0.4567}
    letters = {"reason": "letters", "detail": "letters 342 < 400"}
    foreign = {"reason": "not_japanese", "detail": ""}
    return {
        "kept": [{**row, "url": "https://kaisha.example/1", "reason": "", "detail": "", "measures": measures}],
        "dropped": [
            {**row, "url": "https://kaisha.example/2", **letters, "measures": measures},
            {**row, "url": "https://kaisha.example/3", **foreign, "measures": {}, "excerpt": ""},
        ],
    }  # fmt: skip


def duplicates(text: str = "本文の一部。") -> dict[str, Any]:
    one = {"id": "1", "url": "https://kaisha.example/1", "date": "", "kind": "original", "similarity": 1.0}
    differs = {"at": 9, "here": text, "there": text + "ほか"}
    near = {
        **one,
        "id": "2",
        "url": "https://kaisha.example/utsushi",
        "kind": "near",
        "similarity": 0.91,
        "differs": differs,
    }
    return {"clusters": 7, "copies": 50, "shown": [{"size": 2, "documents": [one, near]}]}


def contents(stage: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(files by name, facts) of a stage."""
    if stage == "corpus":
        told = {"read": 1000, "kept": 800, "characters_kept": 1_480_000, "licences": {"synthetic": 800}}
        return {"funnel.json": funnel(), "samples.json": samples(), "duplicates.json": duplicates()}, told
    if stage == "tokenizer":
        return {"summary.json": {"vocab_size": 4096, "split": "qwen2"}}, {}
    if stage == "tokens":
        sizes = {"tokens": 500_000, "documents": 780, "characters": 1_450_000, "bytes": 4_200_000}
        return {"index.json": {"vocab_size": 4096, "train": sizes, "heldout": {**sizes, "tokens": 12_000}}}, {}
    if stage in ("pretrain", "anneal", "sft", "dpo"):
        rows = metrics(400)
        if stage == "dpo":
            rows = [{**row, "accuracy": 1.0} for row in rows]
        told = {"parameters": 2_412_096, "first_loss": 8.0, "final_loss": 0.4, "tokens_per_second": 6120.4}
        told |= {"mfu": 0.413, "peak_flops": 4.39e11, "peak_basis": "measured"}
        if stage == "anneal":
            tokens = {"corpus": {"tokens": 800_000, "epochs": 1.6}, "dialogues": {"tokens": 838_400, "epochs": 12.0}}
            told |= {"sources": tokens}
        return {"metrics.jsonl": rows}, told
    if stage == "dialogues":
        return {}, {"synthetic": True, "licences": {"CC0-1.0": 7232}}
    return ({"scores.json": scores()} if stage == "evaluate" else {}), {}


def metrics(steps: int) -> list[dict[str, Any]]:
    """Rows of a training stage as the loop writes them."""
    return [
        {
            "step": step, "tokens": 4096 * step, "loss": 8 / step**0.5 + 0.05 * math.sin(7 * step),
            "grad_norm": 0.6 + 3 / step + 0.2 * math.sin(5 * step), "update_norm": 0.02 * min(1.0, 2 - step / 200),
            "rate": min(step / 8, 1.0, 2 - step / 200), "tokens_per_second": 6100 + 300 * math.sin(step),
            "mfu": 0.41, "memory_mb": 1234.5,
        }
        for step in range(1, steps + 1)
    ]  # fmt: skip


def put_in_work(root: Path, stage: str, rows: list[dict[str, Any]], recipe: str = "試し") -> None:
    """Leave a stage as a build that is at work on it does."""
    scratch = root / "work" / f"{stage}-{identity(stage)}" / "scratch"
    scratch.mkdir(parents=True)
    write_jsonl(scratch / "metrics.jsonl", rows)
    path = root / "builds" / f"{recipe}.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "finished": None})


def make_store(
    root: Path,
    recipe: str = "試し",
    *,
    stages: tuple[str, ...] = STAGES,
    finished: tuple[str, ...] | None = None,
    files: dict[str, dict[str, Any]] | None = None,
    facts: dict[str, dict[str, Any]] | None = None,
    overrides: tuple[str, ...] = (),
) -> Path:
    """Write a store; ``files`` and ``facts`` replace what a stage holds."""
    for place, stage in enumerate(stages if finished is None else finished):
        folder = root / stage / identity(stage)
        folder.mkdir(parents=True)
        found, told = contents(stage)
        for name, value in {**found, **(files or {}).get(stage, {})}.items():
            write_jsonl(folder / name, value) if name.endswith(".jsonl") else write_json(folder / name, value)
        page = {"release": {"licence": "Apache-2.0"}} if stage == "release" else {"seed": 7}
        write_json(folder / "manifest.json", manifest(stage, place, page, {**told, **(facts or {}).get(stage, {})}))
    steps = [{"name": stage, "id": identity(stage)} for stage in stages]
    record = {"recipe": recipe, "file": "some/where/試し.toml", "overrides": list(overrides), "steps": steps}
    write_json(root / "builds" / f"{recipe}.json", record | {"started": STARTED, "finished": STARTED + 90})
    return root


def manifest(stage: str, place: int, page: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    # The first stage was finished before the latest build began: that build passed it over.
    finished = STARTED - 100 if place == 0 else STARTED + place
    machine = {"processor": "Some CPU", "cores": 2, "memory_mb": 4096, "accelerators": [], "system": "Linux x86_64"}
    return {
        "step": stage, "version": 1, "id": identity(stage), "page": page,
        "inputs": {"crawl": {"step": "crawl", "id": identity("crawl")}}, "facts": facts,
        "seconds": 10.0 * (place + 1), "cpu_seconds": 15.0, "peak_mb": 100 * (place + 1),
        "versions": {"shikomi": "0.1.0", "python": "3.11.7"},
        "machine": machine,
        "finished": finished,
    }  # fmt: skip


def real_scores() -> dict[str, Any]:
    """Scores of a recipe with outside sources: reading and pairs, no company."""
    told = scores()
    order = told["order"]
    told["metrics"] = {
        "reading": metric("読解・完全一致", "reading comprehension", by="article"),
        "pairs_sum": metric("選好対", "held-out pairs", by="prompt"),
        "bits_per_byte": metric("バイト当たりビット", "bits per byte", "bits", "document"),
    }
    unknown = cell(1.9, 1, 1) | {"low": None, "high": None}
    told["models"] = {
        name: {"reading": cell(0.03), "pairs_sum": cell(0.55, 24, 24), "bits_per_byte": unknown}
        for name in order
    }  # fmt: skip
    told["baselines"] = {"most_frequent": {}, "shuffled": {name: cell(0.001) for name in order}}
    told["differences"] = [change("sft", "dpo", "reading", -0.01, -0.02, 0.0, gained=1, lost=4)]
    told["by_field"] = {}
    told["headline"] |= {"seen_forms": 0.03, "unseen_forms": None, "unseen_forms_interval": None, "most_frequent": None}
    return json.loads(json.dumps(told))
