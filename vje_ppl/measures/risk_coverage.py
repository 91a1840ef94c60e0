"""Risk against coverage: are the errors among the answers that are withheld as uncertain?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64


class RiskCoverage(NamedTuple):
    """Selective risk of N answers, the most certain first.

    Attributes:
        coverage: shares answered, i/N for i = 1…N.
        risk: share of errors among the i most certain; where several are equally certain, its mean over their orders.
        area: the mean of `risk` over all coverages; AURC. Lower is better.
        oracle: the area if all errors came last, the least possible.
        random: the area to be expected of a random order: the error rate.
    """

    coverage: Float64[np.ndarray, " N"]
    risk: Float64[np.ndarray, " N"]
    area: float
    oracle: float
    random: float

    @property
    def gain(self) -> float:
        """How far the area is from random towards the oracle's: 1 is the oracle, 0 random, below 0 worse than that."""
        room = self.random - self.oracle
        return (self.random - self.area) / room if room > 0 else float("nan")


def risk_coverage(uncertainty: Float64[np.ndarray, " N"], wrong: Bool[np.ndarray, " N"]) -> RiskCoverage:
    """Return the risk–coverage curve of answers that may be withheld, and the area below it:

        risk(i) = 1/i Σ_{j ≤ i} wrong_(j),    AURC = 1/N Σ_i risk(i)

    with wrong_(j) for the answers in order of rising uncertainty.

    Args:
        uncertainty: higher = less certain, at least one.
        wrong: whether the answer is an error.

    Source: Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers (ICLR 2019),
    section 2, there with the excess over the oracle; the treatment of ties and `gain`: ours.
    """
    _, place = np.unique(uncertainty, return_inverse=True)
    in_group = np.bincount(place, weights=wrong) / np.bincount(place)
    risk = _risk(np.sort(place), in_group)
    best = _risk(np.arange(len(wrong)), np.sort(wrong.astype(np.float64)))
    coverage = np.arange(1, len(wrong) + 1) / len(wrong)
    return RiskCoverage(coverage, risk, float(risk.mean()), float(best.mean()), float(wrong.mean()))


def random_risks(
    wrong: Bool[np.ndarray, " N"], orders: int, rng: np.random.Generator
) -> Float64[np.ndarray, "orders N"]:
    """Return the risk at each coverage for random orders of the answers; the mean of a row is its area.

    Args:
        wrong: whether an answer is an error.
        orders: number of orders.
        rng: to draw them with.
    """
    shuffled = rng.permuted(np.tile(wrong.astype(np.float64), (orders, 1)), axis=1)
    return shuffled.cumsum(1) / np.arange(1, len(wrong) + 1)


def _risk(places: np.ndarray, rates: np.ndarray) -> Float64[np.ndarray, " N"]:
    """Return the mean of the errors so far, with each place's rate of errors."""
    return rates[places].cumsum() / np.arange(1, len(places) + 1)
