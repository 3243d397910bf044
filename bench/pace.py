"""Keeps a long-lived peer in step with the others: it trains so many steps, says how long each took, and waits.

A trainer takes longer to start than to make ten steps, so it is started once, and the rounds of a bench interleave
processes that live on: the parent writes ``N`` to a peer's input, the peer makes N steps and answers with one line of
JSON, and sleeps until it is its turn again. ``stop`` ends it. Only the standard library and numpy, since every peer's
environment runs this.

A step is timed from one call of ``boundary`` to the next: data, forward and backward pass, clipping, update and
whatever else the trainer does between.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Shape:
    """The model and batch that all trainers get: a Llama of 10.6M parameters, 2,048 tokens a step.

    Attributes:
        prompt: of ``tokens``, how many are not learned from in SFT.
        pair_prompt, pair_answer: tokens of a preference pair's prompt and of each of its answers.
        pairs: of a step in DPO.
    """

    vocab: int = 8192
    hidden: int = 256
    layers: int = 8
    heads: int = 8
    feed_forward: int = 704
    tokens: int = 512
    rows: int = 4
    prompt: int = 256
    pair_prompt: int = 128
    pair_answer: int = 128
    pairs: int = 4

    def windows(self, step: int) -> np.ndarray:
        """Token ids of step ``step``, int64 [rows, tokens + 1]; ids 0 to 3 are kept for marks."""
        return np.random.default_rng(step).integers(4, self.vocab, (self.rows, self.tokens + 1))

    def pair(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Prompt, chosen and rejected answer of pair ``number``, int64; answers lack the end token that follows."""
        drawn = np.random.default_rng((7, number)).integers(4, self.vocab, self.pair_prompt + 2 * self.pair_answer)
        answer = self.pair_prompt + self.pair_answer
        return drawn[: self.pair_prompt], drawn[self.pair_prompt : answer - 1], drawn[answer:-1]


TINY = Shape(vocab=64, hidden=32, layers=2, heads=4, feed_forward=48, tokens=32, rows=2, prompt=16, pair_prompt=8,
             pair_answer=8, pairs=2)  # fmt: skip
"""For tests: the same code in seconds."""
FULL = Shape()
SHORT = replace(FULL, rows=1, pairs=1)
"""A quarter of a step, for processors on which PyTorch multiplies bfloat16 element by element (40 s a full step)."""
LARGE = Shape(vocab=65_536, hidden=2048, layers=16, heads=16, feed_forward=8192, tokens=4096, rows=2)
"""For a GPU: 1.34B parameters, 1.21B of them in products."""


def shape() -> Shape:
    """The shape asked for on the command line: ``--tiny``, ``--short``, ``--large`` or the full one."""
    asked = {"--tiny": TINY, "--short": SHORT, "--large": LARGE}
    return next((found for flag, found in asked.items() if flag in sys.argv), FULL)


class Stop(BaseException):
    """No more steps are wanted; passes every handler of ordinary errors."""


class Pace:
    """Call ``boundary`` before every step.

    Args:
        finish: waits until what was asked of a GPU is done.
    """

    def __init__(self, finish: Callable[[], None] = lambda: None) -> None:
        self.finish = finish
        self.left = 0
        self.steps: list[tuple[float, float]] = []
        self._started: tuple[float, float] | None = None
        # What trainers print goes to the errors, answers alone to the output.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def boundary(self) -> None:
        """End one step and begin the next; waits when the round is over.

        Raises:
            Stop: the parent wants no more.
        """
        self.finish()
        now = time.perf_counter(), time.process_time()
        if self._started is not None:
            self.steps.append((now[0] - self._started[0], now[1] - self._started[1]))
            self.left -= 1
        if self.left == 0:
            self.say({"seconds": [wall for wall, _ in self.steps], "cpu_seconds": [cpu for _, cpu in self.steps]})
            self.steps = []
            order = sys.stdin.readline().strip()
            if order in ("", "stop"):
                raise Stop
            self.left = int(order)
        self._started = time.perf_counter(), time.process_time()

    def say(self, row: dict[str, Any]) -> None:
        """Answer with one line."""
        self._answers.write(json.dumps(row) + "\n")
        self._answers.flush()


def generation() -> argparse.Namespace:
    """The words of a generating peer: ``weights``, ``batch``, ``new`` tokens, ``threads``, ``tiny``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--new", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()
