"""The learning rate over a run."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up from 1/warmup to 1, then half a cosine to 0; a function of the step alone, so it needs no state.

    Args:
        step: the step about to be taken, from 0.
        steps: steps of the whole run.
        warmup: steps of the warm-up.

    Returns:
        What to multiply the base learning rate with, in [0, 1].

    Source: Loshchilov and Hutter (2017), with the warm-up of Goyal et al. (2017).
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
