"""The card says where a model comes from, in both languages, and nothing that is not known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shikomi.model.config import ModelConfig
from shikomi.recipe.release import ReleasePage
from shikomi.release.card import licence_note, write_card

CONFIG = ModelConfig("qwen3", 4096, 192, 4, 6, 2, 32, 512, 512)
COUNTS = {"crawl_tokens": 1_200_000, "instruction_tokens": 0, "flops": 1.5e13}


def card(
    tmp_path: Path, provenance: dict, *, page: ReleasePage | None = None, counts: dict | None = None, reasons=()
) -> str:
    write_card(
        page or ReleasePage(name="試作"),
        tmp_path,
        parameters=2_400_000,
        config=CONFIG,
        counts=COUNTS if counts is None else counts,
        provenance=provenance,
        reasons=list(reasons),
    )
    return (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_base_says_0_instruction_tokens(tmp_path: Path, provenance: dict) -> None:
    text = card(tmp_path, provenance)
    assert "**0 instruction tokens" in text
    assert "指示トークンは 0 です" in text
    assert "| instruction tokens / 指示・対話のトークン数 | 0 |" in text
    assert "apply_chat_template" not in text
    assert "An unflavoured base" in text


def test_a_chat_model_says_how_many_it_saw(tmp_path: Path, provenance: dict) -> None:
    text = card(tmp_path, provenance | {"unflavoured": False}, counts=COUNTS | {"instruction_tokens": 600_000})
    assert "| instruction tokens / 指示・対話のトークン数 | 600,000 |" in text
    assert "0 instruction tokens /" not in text
    assert "apply_chat_template" in text


def test_the_funnel_and_licences_are_told(tmp_path: Path, provenance: dict) -> None:
    provenance["dialogues"] = {"id": "d1", "facts": {"dialogues": 5, "preferences": 2, "licences": {"MIT": 7}}}
    text = card(tmp_path, provenance)
    for row in (
        "| pages read / 読んだページ | 1,500 |",
        "| kept / 採用 | 1,200 |",
        "| near_copy | 200 |",
        "| pages / ページ | synthetic | 1,200 |",
        "| tuning rows / チューニング行 | MIT | 7 |",
        "| dialogues / 対話 | 5 |",
        "| corpus | `c0ffee` |",
        "| tokens of the corpus / コーパスのトークン数 | 1,050,000 |",
    ):
        assert row in text, row
    assert text.index("near_copy") < text.index("not_japanese")


def test_synthetic_is_said_only_where_it_is_so(tmp_path: Path, provenance: dict) -> None:
    assert "fictional" in card(tmp_path, provenance)
    assert "架空" in card(tmp_path, provenance)
    text = card(tmp_path, provenance | {"synthetic": False})
    assert "fictional" not in text
    assert "synthetic-data" not in text


def test_scores_come_with_interval_and_number(tmp_path: Path, provenance: dict) -> None:
    scores = {
        "models": {
            "base": {"bits_per_byte": {"value": 1.2345, "low": 1.2, "high": 1.3, "n": 40}},
            "dpo": {
                "bits_per_byte": {"value": 1.3, "n": 40},
                "seen_forms": {"value": 0.91, "low": 0.88, "high": 0.94, "n": 330},
                "broken": {"value": float("nan")},
                "note": "text",
            },
        }
    }
    text = card(tmp_path, provenance | {"scores": scores})
    assert "| bits_per_byte | 1.234 (1.200–1.300, n=40) | 1.300 (n=40) |" in text
    assert "| seen_forms | – | 0.910 (0.880–0.940, n=330) |" in text
    assert "| broken | – | – |" in text
    assert "note" not in text.split("## Scores")[1].split("##")[0]


@pytest.mark.parametrize("scores", [None, {}, {"models": {}}, {"models": {"a": {}}}])
def test_without_scores_no_table_is_shown(tmp_path: Path, provenance: dict, scores: object) -> None:
    assert "## Scores" not in card(tmp_path, provenance | {"scores": scores})


def test_little_is_known_and_little_is_said(tmp_path: Path) -> None:
    text = card(tmp_path, {}, counts={})
    assert "## Corpus" not in text
    assert "## Tuning data" not in text
    assert "crawl tokens" not in text


@pytest.mark.parametrize(
    ("licence", "lines"),
    [
        ("Apache-2.0", ["license: apache-2.0"]),
        ("社内限り", ["license: other", 'license_name: "社内限り"', "license_link: LICENSE"]),
    ],
)
def test_the_head_is_yaml_with_the_licence(tmp_path: Path, provenance: dict, licence: str, lines: list[str]) -> None:
    yaml = pytest.importorskip("yaml")
    text = card(tmp_path, provenance, page=ReleasePage(name="試作", licence=licence))
    head = text.split("---\n")[1]
    assert all(line in head.splitlines() for line in lines)
    found = yaml.safe_load(head)
    assert found["library_name"] == "transformers"
    assert found["language"] == ["ja"]
    assert "base" in found["tags"]


def test_no_time_is_told(tmp_path: Path, provenance: dict) -> None:
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d", card(tmp_path, provenance))


def test_the_licence_note_names_the_text_or_says_why_there_is_none() -> None:
    assert "https://www.apache.org/licenses/LICENSE-2.0" in licence_note("Apache-2.0", [])
    assert "http" not in licence_note("社内限り", [])
    refused = licence_note("Apache-2.0", ["評価専用"])
    assert "must not be released" in refused
    assert "- 評価専用" in refused
    assert "Apache" not in refused


def test_a_reason_against_release_heads_the_card(tmp_path: Path, provenance: dict) -> None:
    text = card(tmp_path, provenance, reasons=["eval only"])
    assert text.index("must not be released") < text.index("parameters")
    assert "> - eval only" in text


def test_a_cell_cannot_break_a_table(tmp_path: Path, provenance: dict) -> None:
    provenance["corpus"]["facts"]["licences"] = {"a|b\nc": 1}
    assert "| a\\|b c | 1 |" in card(tmp_path, provenance)
