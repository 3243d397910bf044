"""A small examination: questions on disk, held-out tokens, and examinees that answer by rule."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shikomi.data.dialogue import Dialogue, Message, Preference, Question, write_rows
from shikomi.io import write_json
from tests.evaluate.rule_examinee import CITIES, FIELDS, value_of


@pytest.fixture
def questions():
    """Six companies: four to be examined, two tuned on; two fields, two kinds of wording; extraction, style, a pair."""
    rows = []
    for company in range(6):
        split = "eval" if company < 4 else "tune"
        for field, noun in FIELDS.items():
            for form, seen in (("は何ですか。", True), ("を教えて。", False)):
                rows.append(
                    Question(
                        f"q{len(rows):03d}",
                        f"会社{company}番の{noun}{form}",
                        value_of(field, company),
                        subject=f"会社{company}番",
                        field=field,
                        form=form,
                        seen_form=seen,
                        split=split,
                    )
                )
    for company in range(4):
        gold = json.dumps({"本社": value_of("head_office", company)}, ensure_ascii=False)
        name = f"会社{company}番"
        rows.append(Question(f"q{len(rows):03d}", f"{name}は{CITIES[company]}にある。JSONで", gold, "extract", name))
        rows.append(Question(f"q{len(rows):03d}", f"{name}の本社は。", CITIES[company], "style", name, "head_office"))
    rows.append(
        Question(
            "pair", "どう思う。", "短い。", "preference", extra={"chosen": "短い。", "rejected": "とても長いのです。"}
        )
    )
    return rows


@pytest.fixture
def exam(tmp_path, questions):
    """Folders ``dialogues`` and ``tokens`` as earlier stages write them."""
    dialogues, tokens = tmp_path / "dialogues", tmp_path / "tokens"
    dialogues.mkdir()
    tokens.mkdir()
    write_rows(dialogues / "questions.jsonl", questions)
    turns = ("会社4番の本社はどこですか。", "京都市です。", "では設立年は。", "1954年です。")
    roles = ("user", "assistant", "user", "assistant")
    talk = tuple(Message(role, text) for role, text in zip(roles, turns, strict=True))
    write_rows(dialogues / "dialogues.jsonl", [Dialogue("d0", talk, "multi_turn", subject="会社4番")])
    pair = Preference("p0", talk[:1], "京都市です。", "京都市だよ。", subject="会社5番")
    write_rows(dialogues / "preferences.jsonl", [pair])
    sizes = [40, 60, 80, 100, 120]
    ends = [0, *np.cumsum(sizes).tolist()]
    np.arange(ends[-1], dtype="<u4").tofile(tokens / "heldout.bin")
    np.array(ends, dtype="<u8").tofile(tokens / "heldout.offsets.bin")
    counts = {"tokens": ends[-1], "documents": len(sizes), "characters": ends[-1], "bytes": ends[-1]}
    index = {"vocab_size": 70_000, "dtype": "uint32", "tokenizer": "0", "train": counts, "heldout": counts}
    write_json(tokens / "index.json", index)
    return tmp_path
