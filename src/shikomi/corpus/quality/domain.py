"""Learned selection: a scorer that tells the documents it was shown from the rest, and says how sure it is.

Character n-grams, one weight each, logistic regression. Every document is scored once by a model that has seen nothing
of its host; these scores give the AUC with its interval and the calibration. The scorer itself is learned from all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shikomi.corpus.quality.examples import SPARE, Draw, Example, about, corpus_examples, deal, is_under, read_examples
from shikomi.corpus.quality.logistic import Rows, area, area_interval, calibrate, learn, probability, stack
from shikomi.corpus.quality.ngrams import features, fold
from shikomi.corpus.quality.scorecard import digits, histogram, margin, reliability, strongest
from shikomi.errors import DataError
from shikomi.io import atomic, read_json, write_json
from shikomi.log import Progress, silent
from shikomi.recipe.domain import ScorerPage

VERSION = 1
"""Of features and files; a scorer of another version is not opened."""
MIN_EXAMPLES = 10
"""Fewest documents of each kind."""
SAMPLE = 2_000
"""Documents of the corpus that are scored to show where the threshold cuts."""
_MIN_SAMPLE = 50
KIND = "characters, folded (NFKC, small letters, digits to 0), hashed; root of counts, length 1"
METHOD = "Platt, both kinds weighing the same"


class Scorer:
    """Gives a text its score; pickles as its folder.

    Attributes:
        folder: what ``learn_scorer`` wrote.
        name: of the scorer.
        threshold: documents below it are dropped, if ``decides``.

    Raises:
        DataError: no scorer there, a damaged one, or one of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        told = read_json(folder / "scorer.json")
        if told.get("version") != VERSION:
            raise DataError(
                f"scorer of version {told.get('version')}, expected {VERSION}", where=str(folder), hint="learn it again"
            )
        self.name: str = told["name"]
        self.threshold: float = told["threshold"]
        self.decides: bool = told["decides"]
        kind = told["features"]
        self._longest, self._bits, self._characters = kind["longest_ngram"], kind["bits"], kind["max_characters"]
        self._bias = told["bias"]
        self._slope, self._intercept = told["calibration"]["slope"], told["calibration"]["intercept"]
        self._weights = _read_weights(folder / "weights.safetensors", 1 << self._bits)

    def __reduce__(self):
        return (Scorer, (self.folder,))

    def score(self, text: str) -> float:
        """The calibrated score of a text, 0 to 1, to six digits."""
        found, values = features(fold(text, self._characters), self._longest, self._bits)
        total = float(self._weights.take(found) @ values) + self._bias
        return round(float(probability(np.array(total), self._slope, self._intercept)), 6)

    def why_dropped(self, score: float) -> tuple[str, str] | None:
        """``(reason, detail)`` if a score is below the threshold of a scorer that decides, else None."""
        if not self.decides or score >= self.threshold:
            return None
        return f"score_{self.name}", f"score_{self.name} {score:.3f} < {self.threshold:.3f}"


def learn_scorers(
    pages: Sequence[ScorerPage],
    files: Callable[[list[str]], list[Path]],
    corpus: Path | None,
    out: Path,
    *,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Learn every scorer of a recipe into ``out/NAME``; returns the facts of each by name.

    Args:
        pages: the scorers' pages.
        files: gives the files that paths and globs of a page name.
        corpus: folder of the stage ``pages``.
        out: where the scorers go.
        progress: told scorers.
    """
    facts = {}
    for number, page in enumerate(pages):

        def told(done: float, total: float, unit: str, note: str = "", number=number, page=page) -> None:
            progress(number + done / max(1.0, total), len(pages), "scorers", f"{page.name} {note}")

        facts[page.name] = learn_scorer(
            page, files(page.positives), files(page.negatives), corpus, out / page.name, progress=told
        )
    return facts


def learn_scorer(
    page: ScorerPage,
    positives: Sequence[Path],
    negatives: Sequence[Path],
    corpus: Path | None,
    out: Path,
    *,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Learn one scorer.

    Args:
        page: its page.
        positives: files of what is wanted.
        negatives: files of what is not; none: a draw of the corpus.
        corpus: folder of the stage ``pages`` (or ``corpus``), or None if everything is in files.
        out: folder for ``scorer.json``, ``weights.safetensors`` and ``margin.json``.
        progress: told models learned.

    Returns:
        Facts: documents of each kind, ``auc`` with its interval, ``threshold``, ``calibration_error``.

    Raises:
        DataError: a file that cannot be read, too few documents of a kind, or no corpus where one is needed.
    """
    progress(0, page.folds + 1, "models", "reading")
    wanted_examples, others, sample = _gather(page, positives, negatives, corpus)
    examples = wanted_examples + others
    wanted = np.arange(len(examples)) < len(wanted_examples)
    unseen = held_out(examples, wanted, page, progress=progress)
    slope, intercept = calibrate(unseen.margins, wanted)
    weights, bias = _fit(unseen.rows, wanted, np.arange(len(examples)), page)
    scores = probability(unseen.margins, slope, intercept)
    of_sample = _sample_scores(sample, examples, scores, page, (weights, bias, slope, intercept))
    threshold = _threshold(page, of_sample)
    low, high = area_interval(unseen.margins, wanted, unseen.groups, seed=page.seed)
    auc = {"auc": digits(area(unseen.margins, wanted)), "low": digits(low), "high": digits(high)}
    told = {
        "name": page.name,
        "version": VERSION,
        "threshold": threshold,
        "keep_share": page.keep_share,
        "decides": page.decides,
        "features": {
            "kind": KIND,
            **{name: getattr(page, name) for name in ("longest_ngram", "bits", "max_characters")},
        },
        "bias": bias,
        "training": {
            "positives": about(wanted_examples, positives),
            "negatives": {"from": "files" if negatives else "corpus", **about(others, negatives)},
            "epochs": page.epochs,
            "seed": page.seed,
        },
        "held_out": {"by": unseen.by, "folds": page.folds, "groups": len(np.unique(unseen.groups)), **auc},
        "calibration": {"method": METHOD, "slope": slope, "intercept": intercept, **reliability(scores, wanted)},
        "histogram": {
            "positives": histogram(scores[wanted]),
            "negatives": histogram(scores[~wanted]),
            "corpus": histogram(of_sample),
        },
        "corpus_kept": digits((of_sample >= threshold).mean()) if len(of_sample) else None,
        "ngrams": strongest(examples, wanted, unseen.rows, weights, page),
    }
    _write(out, told, weights, margin(sample, of_sample, threshold))
    progress(page.folds + 1, page.folds + 1, "models", f"AUC {auc['auc']:.3f}")
    return {
        "positives": len(wanted_examples),
        "negatives": len(others),
        "held_out_by": unseen.by,
        **auc,
        "calibration_error": told["calibration"]["error"],
        "threshold": threshold,
        "corpus_kept": told["corpus_kept"],
    }


@dataclass(frozen=True)
class HeldOut:
    """What models say of documents whose hosts they have not seen.

    Attributes:
        rows: features of the documents.
        margins: of each, by the model that was learned without its part; float64 [documents].
        groups: what was held together, numbered; int [documents].
        by: ``host`` or ``document``.
    """

    rows: Rows
    margins: np.ndarray
    groups: np.ndarray
    by: str


def held_out(
    examples: Sequence[Example], wanted: np.ndarray, page: ScorerPage, *, progress: Progress = silent
) -> HeldOut:
    """Score every document by a model that was learned without the documents of its host.

    Args:
        examples: documents.
        wanted: bool [documents].
        page: the scorer's page.
        progress: told models learned, of one more than there are parts.
    """
    rows = _rows([example.text for example in examples], page)
    dealt, groups, by = deal(examples, wanted.tolist(), page.folds, page.seed)
    parts = np.array(dealt)
    margins = np.zeros(len(rows))
    for number in range(page.folds):
        inside = parts == number
        if inside.any():
            weights, bias = _fit(rows, wanted, np.flatnonzero(~inside), page)
            margins[inside] = rows.take(np.flatnonzero(inside)).margins(weights) + bias
        progress(number + 1, page.folds + 1, "models", "held-out hosts")
    return HeldOut(rows, margins, np.unique(groups, return_inverse=True)[1], by)


def look_domain(folder: Path) -> dict[str, Any]:
    """What the scorers of a folder have learned: manifest, histogram, n-grams, and documents around each threshold.

    Raises:
        DataError: no scorer there.
    """
    found = sorted(folder.glob("*/scorer.json"))
    if not found:
        raise DataError("no scorer here", where=str(folder), hint="give the recipe a page [[corpus.domain]]")
    return {"scorers": [{**read_json(path), "margin": read_json(path.with_name("margin.json"))} for path in found]}


def _gather(
    page: ScorerPage, positives: Sequence[Path], negatives: Sequence[Path], corpus: Path | None
) -> tuple[list[Example], list[Example], list[Example]]:
    """What is wanted, what is not, and a fair sample of the corpus; no text is in both of the first two."""
    wanted, others = (Draw(SPARE * page.max_examples, page.seed) for _ in range(2))
    everything = Draw(SAMPLE, page.seed)
    for example in read_examples(positives, page.text_field, page.max_characters):
        wanted.add(example)
    for example in read_examples(negatives, page.text_field, page.max_characters):
        others.add(example)
    for example in corpus_examples(corpus, page.max_characters) if corpus else ():
        everything.add(example)
        if is_under(example.host, page.positive_hosts):
            wanted.add(example)
        elif not negatives:
            others.add(example)
    limits = {"most": page.max_examples, "per_host": page.max_per_host}
    chosen = wanted.drawn(**limits)
    texts = {example.text for example in chosen}
    rest = [example for example in others.drawn(per_host=page.max_per_host) if example.text not in texts]
    rest = rest[: page.max_examples]
    for kind, examples, hint in (
        ("wanted", chosen, "give more files in positives, or more positive_hosts"),
        ("other", rest, "give files in negatives, or a larger corpus"),
    ):
        if len(examples) < MIN_EXAMPLES:
            raise DataError(
                f"only {len(examples)} different {kind} documents to learn from, {MIN_EXAMPLES} are needed",
                where=f'[[corpus.domain]] name = "{page.name}"',
                hint=hint,
            )
    return chosen, rest, everything.drawn()


def _rows(texts: Sequence[str], page: ScorerPage) -> Rows:
    found = [features(fold(text, page.max_characters), page.longest_ngram, page.bits) for text in texts]
    return stack(found, 1 << page.bits)


def _fit(rows: Rows, wanted: np.ndarray, chosen: np.ndarray, page: ScorerPage) -> tuple[np.ndarray, float]:
    """Weights of all features, learned from some of the rows; features of a single row get none."""
    packed, left = rows.take(chosen).packed(at_least=2)
    weights = np.zeros(rows.num_features, dtype=np.float32)
    weights[left], bias = learn(packed, wanted[chosen], epochs=page.epochs, seed=page.seed)
    return weights, bias


def _write(out: Path, told: dict[str, Any], weights: np.ndarray, around: list[dict[str, Any]]) -> None:
    from safetensors.numpy import save

    with atomic(out / "weights.safetensors", "wb") as handle:
        handle.write(save({"weights": weights}))
    write_json(out / "margin.json", around)
    write_json(out / "scorer.json", told)


def _sample_scores(sample, examples, scores, page, model) -> np.ndarray:
    """Scores of the corpus's sample; of documents that were learned from, those of a model that did not see them."""
    weights, bias, slope, intercept = model
    unseen = {example.text: score for example, score in zip(examples, scores, strict=True)}
    margins = _rows([example.text for example in sample], page).margins(weights) + bias
    plain = probability(margins, slope, intercept)
    return np.array([unseen.get(each.text, score) for each, score in zip(sample, plain, strict=True)])


def _threshold(page: ScorerPage, of_sample: np.ndarray) -> float:
    if page.keep_share is None:
        return page.threshold
    if len(of_sample) < _MIN_SAMPLE:
        raise DataError(
            f"keep_share needs a sample of the corpus; {len(of_sample)} documents are too few",
            where=f'[[corpus.domain]] name = "{page.name}"',
            hint="set threshold instead",
        )
    return round(float(np.quantile(of_sample, 1 - page.keep_share)), 6)


def _read_weights(path: Path, size: int) -> np.ndarray:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights = load_file(path)["weights"]
    except (OSError, KeyError, SafetensorError) as error:
        raise DataError(f"cannot read the scorer's weights: {error}", where=str(path), hint="learn it again") from error
    if weights.shape != (size,) or weights.dtype != np.float32 or not np.isfinite(weights).all():
        raise DataError("the scorer's weights do not fit its manifest", where=str(path), hint="learn it again")
    return weights
