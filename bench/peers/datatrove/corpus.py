"""datatrove's stages for Japanese as FineWeb2 runs them, all in one process after the other, one worker.

WarcReader -> Trafilatura -> language filter -> Gopher repetition and quality filters with FineWeb2's thresholds for
jpn_Jpan -> MinHash signatures, buckets, clusters, filter (14 x 8, word 5-grams) -> JSON lines. Words are split by
datatrove's own choice for Japanese (spaCy with SudachiPy).

Where this differs from a real run, and whom it favours:

- The language model is a stand-in of lid.176's shape (``prepare.py``), since the real one cannot be had here; it is
  asked and then overruled by the share of kana (neither).
- The time limit of extraction is 30 s of a wall clock instead of 1 s, so that a busy machine loses no page (neither
  on a quiet machine).
- One process, workers=1: no start-up per task (the peer).
- The FineWeb quality filter, the formatters and the URL filter are left out (the peer).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import datatrove.pipeline.readers.warc as warc_reader
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter, LanguageFilter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.logging import logger

LANGUAGE = "jpn_Jpan"
# FineWeb2, configs/jpn_Jpan.yml.
DUPLICATE_LINES = 0.328
TOP = ((2, 0.239), (3, 0.196), (4, 0.172))
DUPLICATED = ((5, 0.243), (6, 0.225), (7, 0.207), (8, 0.190), (9, 0.175), (10, 0.159))
STOP_WORDS = list("のにをはたてがとで年し・月れさ")
ALPHA_WORDS, SHORTEST_WORD, LONGEST_WORD = 0.759, 1, 6

KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
HIRAGANA = re.compile("[\u3041-\u3096]")
counts = {"pages": 0, "extracted": 0}


def counting(read):
    """``process_record`` that counts the responses it is shown."""

    def process_record(record):
        counts["pages"] += record.rec_type == "response"
        return read(record)

    return process_record


class StandInLanguageFilter(LanguageFilter):
    """Asks the model for its cost, then decides by the share of kana."""

    def __init__(self, model_file: Path) -> None:
        super().__init__(languages=None, language_threshold=0.886)
        self.model_file = model_file

    def filter(self, doc: Document) -> bool:
        if self.model._model is None:
            from fasttext.FastText import _FastText

            self.model._model = _FastText(str(self.model_file))
        self.model.predict(doc)
        counts["extracted"] += 1
        letters = len(doc.text) - sum(map(str.isspace, doc.text))
        return len(HIRAGANA.findall(doc.text)) >= 30 and len(KANA.findall(doc.text)) >= 0.05 * letters


def link_inputs(paths: list[Path], folder: Path) -> Path:
    """One folder with all inputs, in order, as the reader wants them."""
    folder.mkdir(parents=True)
    for number, path in enumerate(paths):
        (folder / f"{number:05d}.warc.gz").symlink_to(path.resolve())
    return folder


def run(paths: list[Path], out: Path) -> int:
    """All stages; returns the number of documents kept."""
    tasks = len(paths)
    config = MinhashConfig(
        hash_config=HashConfig(hash_fc="xxhash", precision=64), num_buckets=14, hashes_per_bucket=8, n_grams=5
    )
    filtered, minhash = str(out / "filtered"), out / "minhash"
    stages = [
        [
            WarcReader(str(link_inputs(paths, out / "in")), glob_pattern="*.warc.gz"),
            Trafilatura(favour_precision=True, timeout=30),
            StandInLanguageFilter(Path(sys.prefix) / "lid.bin"),
            GopherRepetitionFilter(
                dup_para_frac=0,
                dup_line_char_frac=0,
                dup_para_char_frac=0,
                dup_line_frac=DUPLICATE_LINES,
                top_n_grams=TOP,
                dup_n_grams=DUPLICATED,
                language=LANGUAGE,
            ),
            GopherQualityFilter(
                min_avg_word_length=SHORTEST_WORD,
                max_avg_word_length=LONGEST_WORD,
                max_non_alpha_words_ratio=ALPHA_WORDS,
                min_stop_words=2,
                stop_words=STOP_WORDS,
                language=LANGUAGE,
            ),
            JsonlWriter(filtered),
        ],
        [JsonlReader(filtered), MinhashDedupSignature(str(minhash / "signatures"), config=config, language=LANGUAGE)],
        [MinhashDedupBuckets(str(minhash / "signatures"), str(minhash / "buckets"), config=config)],
        [MinhashDedupCluster(str(minhash / "buckets"), str(minhash / "remove"), config=config)],
        [JsonlReader(filtered), MinhashDedupFilter(str(minhash / "remove")), JsonlWriter(str(out / "kept"))],
    ]
    kept = 0
    for number, (stage, pipeline) in enumerate(zip([tasks, tasks, config.num_buckets, 1, tasks], stages, strict=True)):
        logs = out / "logs" / str(number)
        kept = _total(LocalPipelineExecutor(pipeline, tasks=stage, workers=1, logging_dir=str(logs)).run())
    return kept


def _total(stats) -> int:
    """Documents that reached a run's last step."""
    last = json.loads(stats.to_json())[-1]["stats"].get("total", 0)
    return int(last["total"] if isinstance(last, dict) else last)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("warc", type=Path, nargs="+")
    arguments = parser.parse_args()
    logger.remove()
    warc_reader.process_record = counting(warc_reader.process_record)
    kept = run(arguments.warc, arguments.out)
    versions = {name: version(name) for name in ("datatrove", "trafilatura", "warcio", "spacy", "sudachipy")}
    print(json.dumps({**counts, "kept": kept, "versions": versions}))


if __name__ == "__main__":
    main()
