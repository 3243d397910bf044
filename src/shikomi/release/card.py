"""The model card, in Japanese and English: what the model is, what it has seen, its licences and scores."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from shikomi.io import atomic
from shikomi.recipe.release import ReleasePage

LICENCE_TEXTS = {
    "apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "mit": "https://opensource.org/license/mit",
    "cc-by-4.0": "https://creativecommons.org/licenses/by/4.0/legalcode",
    "cc-by-sa-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
    "cc-by-sa-3.0": "https://creativecommons.org/licenses/by-sa/3.0/legalcode",
    "cc-by-nc-4.0": "https://creativecommons.org/licenses/by-nc/4.0/legalcode",
    "cc0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    "bsd-3-clause": "https://opensource.org/license/bsd-3-clause",
}
"""Licences that model hubs know by these names; any other is written as ``other`` with its name beside it."""


def write_card(
    page: ReleasePage,
    out: Path,
    *,
    parameters: int,
    config: Any,
    counts: dict[str, Any],
    provenance: dict[str, Any],
    reasons: list[str],
) -> None:
    """Write ``README.md``; see ``bundle`` for the arguments."""
    parts = [
        _front(page, provenance),
        f"# {page.name}",
        page.description,
        _warnings(provenance, reasons),
        _what(config, parameters, provenance),
        _seen(counts, provenance),
        _corpus(provenance),
        _dialogues(provenance),
        _scores(provenance.get("scores")),
        _usage(bool(provenance.get("unflavoured"))),
        _licences(page, provenance),
        _reproduce(provenance),
    ]
    with atomic(out / "README.md") as handle:
        handle.write("\n\n".join(part for part in parts if part) + "\n")


def licence_note(licence: str, reasons: list[str]) -> str:
    """The ``LICENSE`` file: the licence by name and where its text is, or why there is none."""
    if reasons:
        return (
            "These weights must not be released: no licence is granted.\n"
            "この重みは公開できません。利用許諾はありません。\n\n" + "".join(f"- {reason}\n" for reason in reasons)
        )
    where = LICENCE_TEXTS.get(licence.lower(), "")
    text = f"The weights and the tokenizer in this folder are licensed under {licence}.\n"
    text += f"このフォルダの重みとトークナイザは {licence} の下で提供されます。\n"
    return text + (f"\nFull text: {where}\n" if where else "")


def _front(page: ReleasePage, provenance: dict[str, Any]) -> str:
    """The card's head, YAML (every value written as JSON, which YAML contains)."""
    licence = page.licence.lower()
    lines = ["---", "language:", "- ja"]
    if licence in LICENCE_TEXTS:
        lines.append(f"license: {licence}")
    else:
        lines += [
            "license: other",
            f"license_name: {json.dumps(page.licence, ensure_ascii=False)}",
            "license_link: LICENSE",
        ]
    lines += ["library_name: transformers", "pipeline_tag: text-generation", "tags:", "- shikomi", "- japanese"]
    lines.append("- base" if provenance.get("unflavoured") else "- chat")
    if provenance.get("synthetic"):
        lines.append("- synthetic-data")
    if provenance.get("base_model"):
        lines.append(f"base_model: {json.dumps(provenance['base_model'], ensure_ascii=False)}")
    return "\n".join([*lines, "---"])


def _warnings(provenance: dict[str, Any], reasons: list[str]) -> str:
    lines = []
    if reasons:
        lines.append("> **This model must not be released. / このモデルは公開できません。**")
        lines += [f"> - {reason}" for reason in reasons]
        lines.append(">")
    if provenance.get("synthetic"):
        lines += [
            "> **Synthetic: all pages, companies and people that this model learned from are fictional.**",
            "> **合成データ: 学習に使ったページ・会社・人物はすべて架空です。**",
        ]
    return "\n".join(lines).removesuffix("\n>")


def _what(config: Any, parameters: int, provenance: dict[str, Any]) -> str:
    if provenance.get("unflavoured"):
        kind = "An unflavoured base: it has seen crawled pages only, no instruction, no dialogue."
        japanese = "クロールしたページだけで学習した素のベースモデルです。指示や対話は一切学習していません。"
    else:
        kind = "A chat model: the base, then dialogues, then preferences."
        japanese = "ベースモデルに対話と選好を学習させたチャットモデルです。"
    rows = [
        ("architecture / 構成", f"{config.layout}, {config.layers} layers, width {config.hidden_size}"),
        ("parameters / パラメータ数", _number(parameters)),
        ("context / 文脈長", f"{_number(config.max_tokens)} tokens"),
        ("vocabulary / 語彙", f"{_number(config.vocab_size)} (byte-level BPE)"),
    ]
    return f"{kind}\n\n{japanese}\n\n{_table(('', ''), rows)}"


def _seen(counts: dict[str, Any], provenance: dict[str, Any]) -> str:
    """What it has seen; the base's instruction tokens are said even though, or because, they are 0."""
    instructions = counts.get("instruction_tokens", 0)
    rows = [("instruction tokens / 指示・対話のトークン数", _number(instructions))]
    if "crawl_tokens" in counts:
        rows.insert(0, ("crawl tokens / クロールのトークン数", _number(counts["crawl_tokens"])))
    if counts.get("flops"):
        rows.append(("training compute / 学習計算量", f"{counts['flops']:.3g} FLOPs"))
    tokens = _facts(provenance, "tokens")
    if isinstance(tokens.get("train"), dict) and tokens["train"].get("tokens"):
        rows.append(("tokens of the corpus / コーパスのトークン数", _number(tokens["train"]["tokens"])))
    text = "## Tokens seen / 学習したトークン\n\n" + _table(("", ""), rows)
    if not instructions:
        text += "\n\n**0 instruction tokens / 指示トークンは 0 です。**"
    if provenance.get("base_model"):
        text += "\n\nWhat the open base saw before is its own card's matter. / 元のベースの学習内容は元のカードを参照。"
    return text


def _corpus(provenance: dict[str, Any]) -> str:
    facts = _facts(provenance, "corpus")
    rows = [
        (label, _number(facts[name]))
        for name, label in (
            ("read", "pages read / 読んだページ"),
            ("kept", "kept / 採用"),
            ("dropped", "dropped / 除外"),
            ("characters_kept", "characters kept / 採用文字数"),
        )
        if isinstance(facts.get(name), int)
    ]
    if not rows:
        return ""
    reasons = facts.get("dropped_by_reason")
    text = "## Corpus / コーパス\n\n" + _table(("", ""), rows)
    if isinstance(reasons, dict) and reasons:
        ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        text += "\n\n" + _table(("dropped because / 除外理由", "pages"), [(name, _number(n)) for name, n in ranked])
    return text


def _dialogues(provenance: dict[str, Any]) -> str:
    facts = _facts(provenance, "dialogues")
    rows = [
        (label, _number(facts[name]))
        for name, label in (("dialogues", "dialogues / 対話"), ("preferences", "preference pairs / 選好対"))
        if isinstance(facts.get(name), int)
    ]
    return "## Tuning data / チューニングデータ\n\n" + _table(("", ""), rows) if rows else ""


def _scores(scores: Any) -> str:
    """Every score with its 95 % interval and n; models side by side."""
    models = scores.get("models") if isinstance(scores, dict) else None
    if not isinstance(models, dict) or not models:
        return ""
    metrics = list(dict.fromkeys(metric for found in models.values() for metric in found if _is_score(found[metric])))
    columns = list(models)
    rows = [(metric, *(_score(models[name].get(metric)) for name in columns)) for metric in metrics]
    table = _table(("metric / 指標", *columns), rows)
    lines = ["## Scores / 評価", table, "In brackets: 95 % interval and number of items. / 括弧内: 95 % 区間と件数。"]
    return "\n\n".join(lines) if rows else ""


def _is_score(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("value"), int | float)


def _score(value: Any) -> str:
    if not _is_score(value) or not math.isfinite(value["value"]):
        return "–"
    inside = []
    if isinstance(value.get("low"), int | float) and isinstance(value.get("high"), int | float):
        inside.append(f"{value['low']:.3f}–{value['high']:.3f}")
    if isinstance(value.get("n"), int):
        inside.append(f"n={value['n']}")
    return f"{value['value']:.3f}" + (f" ({', '.join(inside)})" if inside else "")


def _usage(unflavoured: bool) -> str:
    """How to run it, for the kind of model it is."""
    load = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained(".")\n'
        'model = AutoModelForCausalLM.from_pretrained(".")\n'
    )
    if unflavoured:
        ask = 'ids = tokenizer("株式会社", return_tensors="pt", add_special_tokens=True)\n'
    else:
        ask = (
            'messages = [{"role": "user", "content": "こんにちは"}]\n'
            "ids = tokenizer.apply_chat_template(\n"
            '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True\n'
            ")\n"
        )
    ask += "answer = model.generate(**ids, max_new_tokens=64)[0, ids['input_ids'].shape[1] :]\n"
    ask += "print(tokenizer.decode(answer, skip_special_tokens=True))\n"
    return f"## Use / 使い方\n\n```python\n{load}{ask}```"


def _licences(page: ReleasePage, provenance: dict[str, Any]) -> str:
    rows = []
    for stage, what in (("corpus", "pages / ページ"), ("dialogues", "tuning rows / チューニング行")):
        found = _facts(provenance, stage).get("licences")
        if isinstance(found, dict):
            rows += [(what, str(name or "unknown"), _count(value)) for name, value in sorted(found.items())]
    text = f"## Licences / ライセンス\n\nWeights / 重み: {page.licence}"
    return text + ("\n\n" + _table(("source", "licence", "count"), rows) if rows else "")


def _reproduce(provenance: dict[str, Any]) -> str:
    rows = [
        (name, f"`{value['id']}`")
        for name, value in sorted(provenance.items())
        if isinstance(value, dict) and isinstance(value.get("id"), str)
    ]
    text = "## Made by / 作り方\n\nBuilt with Shikomi; `reproduce.json` names every stage, `SHA256SUMS` every file."
    return text + ("\n\n" + _table(("stage", "id"), rows) if rows else "")


def _facts(provenance: dict[str, Any], stage: str) -> dict[str, Any]:
    found = provenance.get(stage)
    facts = found.get("facts") if isinstance(found, dict) else None
    return facts if isinstance(facts, dict) else {}


def _count(value: Any) -> str:
    return _number(value) if isinstance(value, int | float) else str(value)


def _number(value: float) -> str:
    return f"{value:,}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )
