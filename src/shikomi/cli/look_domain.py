"""``shikomi look domain``: what the scorers of a recipe have learned, and where their thresholds cut."""

from __future__ import annotations

from typing import Any


def domain_text(found: dict[str, Any], num_samples: int) -> str:
    """Every scorer: how well it ranks, its histogram, the n-grams it goes by, documents on both sides of the threshold.

    Args:
        found: what ``corpus.domain.look_domain`` gives.
        num_samples: documents to show above and below the threshold.
    """
    return "\n\n".join(_scorer(told, num_samples) for told in found["scorers"])


def _scorer(told: dict[str, Any], num_samples: int) -> str:
    from shikomi.cli.screen import clip

    held, training = told["held_out"], told["training"]
    kept = told["corpus_kept"]
    share = f"; {kept:.1%} of the corpus is at or above it" if kept is not None else ""
    verdict = "below it documents are dropped" if told["decides"] else "written beside documents, decides nothing"
    parts = [
        f"score_{told['name']}: AUC {held['auc']:.3f} ({held['low']:.3f} to {held['high']:.3f}) on unseen"
        f" {held['by']}s, {held['groups']} of them",
        f"learned from {training['positives']['documents']:,} wanted and"
        f" {training['negatives']['documents']:,} other documents (from {training['negatives']['from']})",
        f"threshold {told['threshold']:.3f}: {verdict}{share}",
        f"a score is off by {told['calibration']['error']:.3f} on average, wanted and others being equally many",
        "",
        _histogram(told),
        "",
        clip("wanted: " + " ".join(row["ngram"] for row in told["ngrams"]["positive"]), 110),
        clip("others: " + " ".join(row["ngram"] for row in told["ngrams"]["negative"]), 110),
    ]
    return "\n".join([*parts, *_margin(told["margin"], num_samples)])


def _histogram(told: dict[str, Any]) -> str:
    """Scores in tenths: documents of each kind, and the corpus's as a bar."""
    from shikomi.cli.progress import bar
    from shikomi.cli.screen import table

    counts = {kind: _tenths(told["histogram"][kind]) for kind in ("positives", "negatives", "corpus")}
    total = max(1, sum(counts["corpus"]))
    rows = [["score", "wanted", "others", "corpus", ""]]
    for number in reversed(range(10)):
        corpus = counts["corpus"][number]
        cells = [f"{counts[kind][number]:,}" for kind in ("positives", "negatives", "corpus")]
        rows.append([f"{number / 10:.1f} to {(number + 1) / 10:.1f}", *cells, bar(corpus / total)])
    return table(rows, right=(1, 2, 3))


def _tenths(counts: list[int]) -> list[int]:
    width = len(counts) // 10
    return [sum(counts[number * width : (number + 1) * width]) for number in range(10)]


def _margin(margin: list[dict[str, Any]], num_samples: int) -> list[str]:
    from shikomi.cli.screen import cut, paint

    kept = [row for row in margin if row["kept"]]
    below = [row for row in margin if not row["kept"]]
    shown = (kept[-num_samples:] if num_samples else []) + below[:num_samples]
    lines = [""] if shown else []
    for number, row in enumerate(shown):
        if number and shown[number - 1]["kept"] and not row["kept"]:
            lines.append(paint("- threshold -", "dim"))
        lines.append(f"{row['score']:.3f}  " + cut(f"{row['host'] or row['url']}  {row['excerpt']}", 103))
    return lines
