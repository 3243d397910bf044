"""Measures this machine's speeds on small inputs: matrix products, training, answering, and the data stages.

Run as a program of its own (``python -m shikomi.cli.measure``), so that whoever asks need not load torch; prints one
JSON object. Takes about 20 seconds on two cores.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shikomi.plan.shape import of_page
from shikomi.recipe.corpus import CorpusPage
from shikomi.recipe.model import ModelPage
from shikomi.recipe.sample import SamplePage
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.recipe.train import OptimPage

SHAPES = (
    (ModelPage(hidden_size=192, layers=4, heads=6, kv_heads=2, head_dim=32, intermediate_size=512), 2048, 4),
    (ModelPage(hidden_size=768, layers=2, heads=12, kv_heads=4, head_dim=64, intermediate_size=2048), 1024, 2),
)
"""Reference shapes, each with the tokens of a step and the steps timed: the quickstart's, and one four times wider."""
VOCAB_SIZE, SEQUENCE_TOKENS = 4096, 128
PROMPTS, PROMPT_TOKENS, NEW_TOKENS = 64, 40, 16
PAGE = SamplePage(companies=24, eval_companies=8, articles_per_company=12)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that something takes, and what it gives."""
    begun = time.perf_counter()
    found = work()
    return max(time.perf_counter() - begun, 1e-6), found


def measure_start() -> float:
    """Seconds until torch is loaded (the first import of this process)."""
    return timed(lambda: __import__("torch"))[0]


def measure_matrices(side: int = 1024, least_seconds: float = 0.5) -> float:
    """GFLOP/s of float32 products of square matrices: a ceiling that training stays below."""
    import torch

    left, right = torch.randn(side, side), torch.randn(side, side)
    torch.mm(left, right)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < least_seconds:
        torch.mm(left, right)
        count += 1
    return 2.0 * side**3 * count / (time.perf_counter() - begun) / 1e9


def measure_training(page: ModelPage, batch_tokens: int, steps: int) -> float:
    """FLOP/s reached by the trainer (Muon's own included) on rows of random tokens, after one step of warming up."""
    from shikomi.model.config import from_page
    from shikomi.model.transformer import Transformer, initialise
    from shikomi.train.batches import RowBatches
    from shikomi.train.loop import FitSpec, fit
    from shikomi.train.objective import NextToken

    model = Transformer(from_page(page, VOCAB_SIZE))
    initialise(model, 0)
    batches = RowBatches(_RandomRows(), batch_tokens // SEQUENCE_TOKENS, 16)
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (("warm", 1), ("timed", steps)):
            out = Path(folder) / name
            out.mkdir()
            facts = fit(model, NextToken(), batches, FitSpec(count, OptimPage(), 10**9), out)
    updates = of_page(page, VOCAB_SIZE).muon_flops / batch_tokens
    return (model.config.flops_per_token(SEQUENCE_TOKENS) + updates) * facts["tokens_per_second"]


class _RandomRows:
    """Rows of random tokens, one document each."""

    def row(self, index: int) -> Any:
        """The row at a place, as ``train.batches.Rows`` has it."""
        import numpy as np

        from shikomi.train.batches import Row

        ids = np.random.default_rng(index).integers(0, VOCAB_SIZE, SEQUENCE_TOKENS + 1)
        ones, zeros = np.ones(SEQUENCE_TOKENS, dtype=np.float32), np.zeros(SEQUENCE_TOKENS, dtype=np.int32)
        return Row(ids[:-1], ids[1:], ones, zeros)


def measure_answers(page: ModelPage) -> float:
    """FLOP/s reached when a batch of prompts is answered."""
    from shikomi.model.answers import Options
    from shikomi.model.config import from_page
    from shikomi.model.generate import Generator
    from shikomi.model.transformer import Transformer, initialise

    model = Transformer(from_page(page, VOCAB_SIZE))
    initialise(model, 0)
    generator = Generator(model)
    prompts = [[(row * 31 + place * 7) % VOCAB_SIZE for place in range(PROMPT_TOKENS)] for row in range(PROMPTS)]
    generator.generate(prompts[:4], Options(max_tokens=2))
    seconds, answers = timed(lambda: generator.generate(prompts, Options(max_tokens=NEW_TOKENS)))
    flops = model.config.flops_per_token(PROMPT_TOKENS + NEW_TOKENS) / 3  # a third of training's: forward only
    return flops * sum(len(answer.ids) for answer in answers) / seconds


def measure_data(folder: Path) -> dict[str, float]:
    """Speeds of the data stages on a small sample, each run once to load what it needs, then timed."""
    from shikomi.corpus.pages import read_pages
    from shikomi.corpus.pipeline import build_corpus, decide_corpus
    from shikomi.sample.crawl import write_crawl
    from shikomi.tokenizer.encode import encode_corpus
    from shikomi.tokenizer.learn import learn

    def place(name: str) -> Path:
        (folder / name).mkdir(parents=True)
        return folder / name

    write_crawl(SamplePage(companies=8, eval_companies=2, articles_per_company=2), place("warm-crawl"))
    crawl_seconds, crawled = timed(lambda: write_crawl(PAGE, place("crawl")))
    warcs = sorted((folder / "crawl" / "warc").iterdir())
    build_corpus(CorpusPage(), sorted((folder / "warm-crawl" / "warc").iterdir()), place("warm-corpus"))
    pages_seconds, _ = timed(lambda: read_pages(CorpusPage(), warcs, place("pages")))
    corpus_seconds, corpus = timed(lambda: decide_corpus(CorpusPage(), folder / "pages", place("corpus")))
    page = TokenizerPage(vocab_size=VOCAB_SIZE // 2)
    learn_seconds, learned = timed(lambda: learn(page, folder / "corpus", place("tokenizer")))
    encode_seconds, _ = timed(lambda: encode_corpus(page, folder / "corpus", folder / "tokenizer", place("tokens")))
    return {
        "crawl": crawled["pages"] / crawl_seconds,
        "pages": corpus["read"] / pages_seconds,
        "corpus": corpus["read"] / corpus_seconds,
        "tokenizer": learned["characters"] / learn_seconds,
        "encode": corpus["characters_kept"] / encode_seconds,
    }


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """All measurements, as ``plan.rates`` keeps them."""
    start = measure_start()
    say("matrix products")
    gemm = measure_matrices()
    say("training")
    train = [[page.hidden_size, measure_training(page, tokens, steps)] for page, tokens, steps in SHAPES]
    say("answering")
    generate = measure_answers(SHAPES[0][0])
    say("data stages")
    with tempfile.TemporaryDirectory() as folder:
        data = measure_data(Path(folder))
    import torch

    reference, batch_tokens, _ = SHAPES[0]
    return {
        "measured": round(time.time()),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "gemm_gflops": round(gemm, 1),
        "reference": f"{reference.hidden_size} wide, {reference.layers} layers, {SEQUENCE_TOKENS} tokens a row",
        "train_tokens_per_second": round(train[0][1] / _flops_per_token(reference, batch_tokens)),
        "rates": {
            "train": [[width, float(f"{speed:.4g}")] for width, speed in train],
            "generate": float(f"{generate:.4g}"),
            "start": round(start, 2),
            **{name: float(f"{speed:.4g}") for name, speed in data.items()},
        },
    }


def _flops_per_token(page: ModelPage, batch_tokens: int) -> float:
    shape = of_page(page, VOCAB_SIZE)
    return shape.training_flops(SEQUENCE_TOKENS) + shape.muon_flops / batch_tokens


def main() -> None:
    """Measure and print; progress goes to stderr."""
    found = measure(lambda what: print(f"measuring {what} …", file=sys.stderr, flush=True))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
