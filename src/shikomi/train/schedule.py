"""The learning-rate schedule: a pure function of the share of the run that is done."""

from __future__ import annotations

from shikomi.recipe.train import OptimPage


def rate_factor(step: int, steps: int, page: OptimPage) -> float:
    """Factor on the peak rate at ``step`` of ``steps`` (from 0): warm-up, stable, linear decay (WSD).

    Linear decay to a small final rate is what "Straight to Zero" (arXiv 2502.15938) found best.
    """
    done = (step + 1) / max(steps, 1)
    if page.warmup_share and done < page.warmup_share:
        return done / page.warmup_share
    if page.decay_share == 0 or done <= 1 - page.decay_share:
        return 1.0
    left = (1 - step / max(steps, 1)) / page.decay_share
    return page.final_rate + (1 - page.final_rate) * min(1.0, left)
