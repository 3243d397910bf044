"""``look domain``: scorers shown so that a reader sees what they go by and where they cut."""

from __future__ import annotations

from typing import Any

from shikomi.cli.look_domain import domain_text
from shikomi.units import width


def told(**changed: Any) -> dict[str, Any]:
    scorer = {
        "name": "business",
        "threshold": 0.5,
        "decides": True,
        "corpus_kept": 0.3,
        "held_out": {"auc": 0.9123, "low": 0.88, "high": 0.95, "by": "host", "groups": 18},
        "training": {"positives": {"documents": 1200}, "negatives": {"documents": 3000, "from": "corpus"}},
        "calibration": {"error": 0.021},
        "histogram": {"positives": [1] * 20, "negatives": [2] * 20, "corpus": [80, *[0] * 18, 20]},
        "ngrams": {"positive": [{"ngram": "株式会社"}] * 40, "negative": [{"ngram": "試合"}, {"ngram": "大会"}]},
        "margin": [
            {"score": score, "kept": score >= 0.5, "host": "a.example", "url": "", "excerpt": f"文{score}" * 40}
            for score in (0.53, 0.52, 0.51, 0.49, 0.48)
        ],
    }
    return {"scorers": [{**scorer, **changed}]}


def test_quality_counts_ngrams_and_both_sides_of_the_threshold():
    lines = domain_text(told(), 2).splitlines()
    assert lines[0] == "score_business: AUC 0.912 (0.880 to 0.950) on unseen hosts, 18 of them"
    assert "1,200 wanted and 3,000 other documents (from corpus)" in lines[1]
    assert "documents are dropped; 30.0% of the corpus" in lines[2]
    highest = next(line for line in lines if line.startswith("0.9 to 1.0"))
    assert highest.split()[3:6] == ["2", "4", "20"]
    assert "株式会社" in next(line for line in lines if line.startswith("wanted: "))
    cut = lines.index("- threshold -")
    assert [line[:5] for line in lines[cut - 2 : cut]] == ["0.520", "0.510"]
    assert [line[:5] for line in lines[cut + 1 :]] == ["0.490", "0.480"]
    assert all(width(line) <= 110 for line in lines)


def test_no_samples_no_corpus_and_a_score_that_decides_nothing():
    text = domain_text(told(decides=False, corpus_kept=None, margin=[]), 3)
    assert "decides nothing" in text
    assert "of the corpus" not in text
    assert "a.example" not in domain_text(told(), 0)
