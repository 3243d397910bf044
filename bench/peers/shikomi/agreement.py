"""Our rules against the Swallow project's own published filter code, on identical text, document by document.

``--swallow DIR`` is a checkout of swallow-llm/swallow-corpus; its code is run as it is and never copied. Texts are
those of the given pages, and four changed forms of each (paragraphs repeated, sentences run together, marks taken away,
half of the kanji replaced by ones beyond the basic plane), so that every threshold is met from both sides.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from shikomi.corpus.quality.measures import measure
from shikomi.corpus.quality.rules import first_failure
from shikomi.corpus.text.charset import decode
from shikomi.corpus.text.crawl import read_records
from shikomi.corpus.text.extract import running_text
from shikomi.corpus.text.japanese import is_japanese, may_be_japanese, normalise_punctuation
from shikomi.recipe.corpus import CorpusPage

THEIRS = {
    "letters": "num_letters",
    "hiragana_letters": "num_hiragana_letters",
    "katakana_letters": "num_katakana_letters",
    "kanji_letters": "num_kanji_letters",
    "kuten": "num_kuten",
    "toten": "num_toten",
    "japanese_letters": "num_japanese_letters",
    "hiragana_fraction": "hiragana_fraction",
    "katakana_fraction": "katakana_fraction",
    "japanese_fraction": "japanese_fraction",
    "mean_sentence_length": "avg_sentence_length",
    "max_sentence_length": "max_sentence_length",
    "ellipsis_fraction": "ellipsis_fraction",
    "duplicate_paragraph_fraction": "duplicate_paragraph_fraction",
    "duplicate_paragraph_characters_fraction": "duplicate_paragraph_fraction_in_character",
    "duplicate_sentence_fraction": "duplicate_sentence_fraction",
    "duplicate_sentence_characters_fraction": "duplicate_sentence_fraction_in_character",
    **{f"top_{n}gram_fraction": f"top_{n}gram_character_fraction" for n in range(2, 5)},
    **{f"duplicate_{n}gram_fraction": f"duplicate_{n}gram_character_fraction" for n in range(5, 11)},
}


def texts(warcs: list[Path]) -> Iterator[tuple[str, str]]:
    """Address and text of every Japanese page, without footer cut and punctuation, which come later in Swallow."""
    for path in warcs:
        for record in read_records(path, max_page_bytes=CorpusPage().max_page_bytes, skipped=Counter()):
            if record.problem or not may_be_japanese(record.payload, record.content_type):
                continue
            decoded = decode(record.payload, record.content_type)
            text = running_text(decoded[0], punctuation=False, footer=False) if decoded else ""
            if text and is_japanese(text)[0]:
                yield record.url, text


def changed(text: str, rnd: random.Random) -> Iterator[tuple[str, str]]:
    """Changed forms of a text, by name."""
    lines = text.split("\n")
    yield "paragraphs repeated", "\n".join(line for line in lines for _ in range(1 + (rnd.random() < 0.2)))
    yield "sentences run together", text.replace("。", "", rnd.randrange(1 + text.count("。")))
    yield "marks taken away", "".join(character for character in text if character not in "、。")
    beyond = {
        character: "\U00020bb7" for character in set(text) if "\u4e00" <= character <= "\u9fff" and rnd.random() < 0.5
    }
    yield "kanji beyond the basic plane", text.translate(str.maketrans(beyond))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--swallow", type=Path, required=True)
    parser.add_argument("warc", type=Path, nargs="+")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.swallow))
    quality, kutoten = importlib.import_module("quality"), importlib.import_module("kutoten")
    thresholds, rnd = CorpusPage().thresholds(), random.Random(7)
    documents = agreed = punctuation = same_punctuation = 0
    verdicts: Counter[str] = Counter()
    explained: list[str] = []
    largest = 0.0
    for url, text in texts(arguments.warc):
        punctuation += 1
        same_punctuation += normalise_punctuation(text) == kutoten.normalize(text)[0]
        for name, form in [("as it is", text), *changed(text, rnd)]:
            if len(form.strip("。．！？!?\n")) < 4:
                continue  # their code ends with an error on a text of no sentence
            theirs, ours = quality.main({"text": form}), measure(form)
            largest = max(largest, *(abs(ours[mine] - theirs[other]) for mine, other in THEIRS.items()))
            failure = first_failure(ours, thresholds)
            kept = quality.apply_v1(theirs)
            documents += 1
            agreed += kept == (failure is None)
            verdicts["kept" if kept else "dropped"] += 1
            if kept != (failure is None) and len(explained) < 50:
                explained.append(f"{url} ({name}): theirs {'keeps' if kept else 'drops'}; ours {failure or 'keeps'}")
    said = {
        "documents": documents,
        "agreed": agreed,
        "agreement": agreed / documents if documents else None,
        "their_verdicts": dict(verdicts),
        "largest_difference_of_a_measure": largest,
        "disagreements": explained,
        "same_punctuation": f"{same_punctuation} of {punctuation}",
    }
    print(json.dumps(said, ensure_ascii=False))


if __name__ == "__main__":
    main()
