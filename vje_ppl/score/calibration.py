"""Calibration scores, and the p-values of other scores among them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of normal images that the run has not learned from.

    Attributes:
        scores: a value per image, [n]; empty except in the first of several processes.
        source: where the images come from, in words.
        images: a digest of the images.
    """

    scores: Float64[np.ndarray, " n"]
    source: str
    images: str


def p_values(calibration: Float64[np.ndarray, " n"], scores: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Rank scores among calibration scores:

        p = (1 + #{calibration scores ≥ score}) / (1 + n)

    For an image that is exchangeable with the calibration images, P(p ≤ α) ≤ α for every α, whatever the model and the
    score: its rank among them is uniform.

    Args:
        calibration: scores of normal images, higher = more anomalous.
        scores: the scores to rank.

    Returns:
        p-values, from 1 / (1 + n) to 1; NaN for scores that are NaN.

    Source: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005, section 2.1; Bates, Candès,
    Lei, Romano and Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 2023.

    Example:
        >>> p_values(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 4.0])).tolist()
        [1.0, 0.75, 0.25]
    """
    at_least = len(calibration) - np.searchsorted(np.sort(calibration), scores, side="left")
    return np.where(np.isnan(scores), np.nan, (1 + at_least) / (1 + len(calibration)))


def too_few(count: int, alpha: float) -> str | None:
    """Return a sentence if no p-value among `count` calibration images can be as small as `alpha`; else None."""
    if 1 / (count + 1) <= alpha:
        return None
    return (
        f"{count} calibration images are too few for alpha={alpha:g}: no p-value is below 1/{count + 1}, so no image "
        f"is flagged; calibrate with at least {math.ceil(1 / alpha - 1e-9) - 1} images"
    )
