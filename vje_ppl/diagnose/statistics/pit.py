"""Probability integral transforms by rank, and how far they are from uniform."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from arviz_stats.ecdf_utils import compute_ecdf, ecdf_pit
from jaxtyping import Float64, Real
from scipy.stats import kstest, kstwo

#: Data sets of uniform numbers behind the simultaneous band.
SIMULATIONS = 1000


def rank_with_ties(
    drawn: Real[np.ndarray, "S N"], observed: Real[np.ndarray, " N"], rng: np.random.Generator
) -> Float64[np.ndarray, " N"]:
    """Return the number of draws below each observation, from 0 to S; ties are spread over the tied places at random.

    Uniform on 0…S, whatever S, where the observation is exchangeable with the draws; a strict `<` is so only without
    ties.

    Args:
        drawn: S draws for each of N observations.
        observed: the observations.
        rng: to choose among tied places.

    Returns:
        Whole numbers, and NaN where the observation, or one of its draws, is not a number.
    """
    below, equal = (drawn < observed).sum(0), (drawn == observed).sum(0)
    return np.where(np.isnan(drawn).any(0) | np.isnan(observed), np.nan, below + rng.integers(0, equal + 1))


def pit_by_rank(
    drawn: Float64[np.ndarray, "S N"], observed: Float64[np.ndarray, " N"], rng: np.random.Generator
) -> Float64[np.ndarray, " N"]:
    """Return the rank of each observation among its draws, as a number between 0 and 1:

        (number of draws below + U (1 + number of equal ones)) / (S + 1),    U uniform on [0, 1]

    Exactly uniform, whatever S, where the observation is exchangeable with the draws. NaN where the observation, or one
    of its draws, is.

    Args:
        drawn: S draws for each of N observations.
        observed: the observations.
        rng: for U.

    Source: the randomized transform of Czado, Gneiting and Held, Predictive Model Assessment for Count Data (2009),
    equation 2, for the empirical distribution of draws and observation together.
    """
    below, equal = (drawn < observed).sum(0), (drawn == observed).sum(0)
    found = (below + rng.random(len(observed)) * (1 + equal)) / (len(drawn) + 1)
    return np.where(np.isnan(drawn).any(0) | np.isnan(observed), np.nan, found)


class Uniformity(NamedTuple):
    """How far N numbers in [0, 1] are from uniform.

    Attributes:
        distance: Kolmogorov and Smirnov's: the largest difference between their distribution function and the diagonal.
        chance: the distance that 1 % of data sets of N uniform numbers exceed.
        mean: 0.5 where they are uniform.
        middle: share in the middle half, between 0.25 and 0.75.
        covered: share between 0.05 and 0.95: the coverage of central 90 % intervals.
    """

    distance: float
    chance: float
    mean: float
    middle: float
    covered: float


def uniformity(values: Float64[np.ndarray, " N"]) -> Uniformity:
    """Compare numbers in [0, 1], at least one, with the uniform distribution. The result is NaN if one of them is."""
    if np.isnan(values).any():
        return Uniformity(np.nan, float(kstwo.ppf(0.99, len(values))), np.nan, np.nan, np.nan)
    return Uniformity(
        distance=float(kstest(values, "uniform").statistic),
        chance=float(kstwo.ppf(0.99, len(values))),
        mean=float(values.mean()),
        middle=float(((values >= 0.25) & (values <= 0.75)).mean()),
        covered=float(((values >= 0.05) & (values <= 0.95)).mean()),
    )


class Band(NamedTuple):
    """Where the distribution function of N uniform numbers stays, everywhere at once, in 95 of 100 data sets.

    Attributes:
        points: where it is evaluated, from 0 to 1.
        low: lower end at each point.
        high: upper end.
    """

    points: Float64[np.ndarray, " points"]
    low: Float64[np.ndarray, " points"]
    high: Float64[np.ndarray, " points"]


def simultaneous_band(count: int, seed: int) -> Band:
    """Return the band for N = `count` numbers, at least two.

    Source: Säilynoja, Bürkner and Vehtari, Graphical Test for Discrete Uniformity and Its Applications in Goodness of
    Fit Evaluation and Multiple Sample Comparison (2022), by simulation, as ArviZ computes it.
    """
    rng = np.random.default_rng(seed)
    points, _, low, high = ecdf_pit(np.linspace(0, 1, count), 0.95, SIMULATIONS, rng=rng)
    return Band(points, low, high)


def distribution_function(
    values: Float64[np.ndarray, " N"], points: Float64[np.ndarray, " points"]
) -> Float64[np.ndarray, " points"]:
    """Return the share of values at or below each point."""
    return compute_ecdf(values, points)
