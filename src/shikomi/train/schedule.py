"""The learning-rate schedule: a pure function of the tokens seen."""

from __future__ import annotations

import math

from shikomi.recipe.train import OptimPage


def rate_factor(seen: float, total: float, page: OptimPage, batch: float = 1) -> float:
    """Factor on the peak rate of the update that is made after ``seen`` of ``total`` tokens with ``batch`` more.

    All three in one unit: tokens, or steps where every step has as many tokens (``rate_factor(step, steps, page)``).

    - warm-up: the share of it that is done once this update's tokens are seen, so that the first update counts;
    - ``constant``: 1;
    - ``wsd``: 1, then to ``final_rate`` over the last ``decay_share`` of the run: linearly ("Straight to Zero", arXiv
      2502.15938, found a linear fall to a small rate best), or by 1 - √x (Hägele et al. 2024, arXiv 2405.18392);
    - ``cosine``: (1 + cos π x) / 2 of the way from ``final_rate`` to 1, x from 0 at the end of the warm-up to 1 at the
      end of the run (Loshchilov & Hutter 2017).
    """
    total = max(total, 1)
    done = (seen + batch) / total
    if page.warmup_share and done < page.warmup_share:
        return done / page.warmup_share
    if page.schedule == "constant":
        return 1.0
    if page.schedule == "cosine":
        passed = max(0.0, seen / total - page.warmup_share) / (1 - page.warmup_share)
        left = (1 + math.cos(math.pi * min(1.0, passed))) / 2
    elif page.decay_share == 0 or done <= 1 - page.decay_share:
        return 1.0
    else:
        left = min(1.0, (1 - seen / total) / page.decay_share)
        left = 1 - math.sqrt(1 - left) if page.decay == "sqrt" else left
    return page.final_rate + (1 - page.final_rate) * left
