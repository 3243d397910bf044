"""Evaluation-only files are known by their bytes and by their contents, whatever they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shikomi.data import eval_only
from shikomi.data.eval_only import (
    TABLE,
    content_digest,
    eval_only_prompt,
    make_table,
    refuse_eval_only,
    table,
    text_digest,
)
from shikomi.errors import DataError
from shikomi.io import read_json

ROWS = [{"id": 1, "turns": ["社内の会議を短くするには？", "続けて"]}, {"id": 2, "turns": ["海の色はなぜ青い？"]}]


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of our own, put into the table."""
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    made = make_table({"our-questions": path}, {"our-questions": path})
    monkeypatch.setattr(eval_only, "table", lambda: made)
    return path


def test_the_file_itself_is_refused_and_named(known: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "train.jsonl"
    renamed.write_bytes(known.read_bytes())
    with pytest.raises(DataError, match="our-questions is for evaluation only") as caught:
        refuse_eval_only(renamed)
    assert caught.value.where == str(renamed)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: "".join(json.dumps(row) + "\r\n" for row in rows[::-1]),
        lambda rows: "\ufeff" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows),
        lambda rows: json.dumps(rows, ensure_ascii=False, indent=4),
        lambda rows: "".join(json.dumps({"n": row["id"], "messages": row["turns"]}) + "\n" for row in rows),
    ],
)
def test_other_order_layout_and_keys_are_refused(known: Path, tmp_path: Path, change) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(change(ROWS), encoding="utf-8", newline="")
    with pytest.raises(DataError, match="our-questions"):
        refuse_eval_only(path)


def test_other_contents_pass(known: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(ROWS[0]), encoding="utf-8")
    refuse_eval_only(path)
    assert content_digest(path) != content_digest(known)


def test_a_text_table_is_known_in_any_line_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("質問一,A,B\n質問二,C,D\n", encoding="utf-8")
    second.write_text("質問二,C,D\n\n質問一, A,B", encoding="utf-8")
    assert content_digest(first) == content_digest(second)


def test_prompts_are_known_through_width_and_space(known: Path) -> None:
    assert eval_only_prompt("海の色は なぜ青い?\n") == "our-questions"
    assert eval_only_prompt("続けて") == ""
    assert text_digest("ＡＢＣ　１") == text_digest("abc1")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read file"):
        refuse_eval_only(tmp_path / "none")


def test_the_shipped_table_holds_hashes_only() -> None:
    found = read_json(TABLE)
    assert found == table()
    assert set(found) == {"files", "contents", "prompts"}
    assert all(len(key) == 64 and int(key, 16) >= 0 for kind in ("files", "contents") for key in found[kind])
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in found["prompts"])


@pytest.mark.real
def test_the_shipped_table_is_that_of_the_real_sets(real_data: Path) -> None:
    trainable = ("jcommonsenseqa-train", "jsts-train", "jaquad_train")
    paths = [path for path in sorted((real_data / "nlu").rglob("*")) if path.is_file()]
    paths = [path for path in paths if not path.name.startswith(trainable)]
    paths += sorted((real_data / "instruct" / "ja-mt-bench").glob("*"))
    paths += sorted((real_data / "instruct").glob("ja-vicuna*")) + sorted((real_data / "instruct").glob("rakuda*"))
    files = {path.relative_to(real_data).as_posix(): path for path in paths}
    open_ended = {name: path for name, path in files.items() if name.startswith("instruct") and "question" in name}
    assert make_table(files, open_ended) == table()
    for path in sorted((real_data / "nlu").rglob("*train*")) + sorted((real_data / "instruct").glob("mega*")):
        if path.name.startswith((*trainable, "mega")):
            refuse_eval_only(path)
