"""Does a quantity rise with the severity of a corruption, image by image?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy.stats import rankdata


def severity_correlation(values: Float64[np.ndarray, "levels N"]) -> Float64[np.ndarray, " N"]:
    """Spearman's rank correlation of a quantity with the level, for each image; 0 where the quantity is constant.

    NaN where the quantity is at one of the levels.

    Args:
        values: at levels of rising severity, at least two.

    Returns:
        In [−1, 1]: 1 where every level is above the one before.

    Source: Spearman's ρ as Pearson's correlation of ranks, equal values sharing their mean rank.
    """
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(0)
    levels = np.arange(len(values)) - (len(values) - 1) / 2
    size = np.sqrt((ranks**2).sum(0) * (levels**2).sum())
    return np.divide(levels @ ranks, size, out=np.where(np.isnan(size), np.nan, 0.0), where=size > 0)
