"""Importance weights from an approximation to a posterior: k-hat, ELBO, and importance-weighted bounds."""

from __future__ import annotations

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Bool, Float
from scipy.special import logsumexp

from vje_ppl.diagnose.options import FEWEST_DRAWS

#: Above it, importance weights have so heavy a tail that estimates from them are unreliable.
LARGEST_KHAT = 0.7

#: k-hat of equal weights, which leave nothing to fit: that of a uniform tail, which ends. Ours.
EQUAL_WEIGHTS = -1.0

#: Log weights are equal where they differ by no more than so many roundings of float32.
_ROUNDINGS = 4


def khat(log_weights: Float[np.ndarray, "S N"]) -> Float[np.ndarray, " N"]:
    """Return Pareto k-hat of the right tail of each image's importance weights, by ArviZ.

    Args:
        log_weights: log p(s, z) − log q(s) at S draws of q; a weight of zero is −∞.

    Returns:
        k-hat, `EQUAL_WEIGHTS` where the largest weights are all equal, and infinity where a weight is infinite or not a
        number, where all are zero, and where no Pareto distribution fits.

    Raises:
        ValueError: for fewer than `FEWEST_DRAWS` draws.

    Source: Vehtari, Simpson, Gelman, Yao and Gabry, Pareto Smoothed Importance Sampling (JMLR 2024).
    """
    if len(log_weights) < FEWEST_DRAWS:
        raise ValueError(f"k-hat expects at least {FEWEST_DRAWS} draws, got {len(log_weights)}.")
    return np.array([_khat(one) for one in log_weights.T.astype(np.float64)], dtype=np.float64)


def is_reliable(khat: Float[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Return whether estimates from weights with this k-hat are reliable; false for NaN."""
    return khat <= LARGEST_KHAT


def _khat(log_weights: Float[np.ndarray, " S"]) -> float:
    largest = log_weights.max()
    if not np.isfinite(largest):
        return float("inf")
    tail = np.sort(log_weights)[-int(min(len(log_weights) / 5, 3 * len(log_weights) ** 0.5)) :]  # what ArviZ fits
    if tail[-1] - tail[0] <= _ROUNDINGS * np.finfo(np.float32).eps * max(1.0, abs(largest)):
        return EQUAL_WEIGHTS
    # ArviZ takes log likelihoods, whose inverse are the weights
    _, found = array_stats.psislw(-log_weights)
    return float(found) if np.isfinite(found) else float("inf")


@np.errstate(invalid="ignore")
def bounds(log_weights: Float[np.ndarray, "S T N"]) -> dict[int, Float[np.ndarray, "T N"]]:
    """Return importance-weighted bounds on the log evidence at K = 1, 10, 100, … draws, in nats, up to all S of them.

    The bound at K is the mean of log 1/K Σ_k w_k over disjoint groups of K draws; K = 1 is the ELBO. In expectation
    they grow with K and stay below the log evidence.

    Source: Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders (2016).
    """
    total = len(log_weights)
    sizes = [size for size in (10**power for power in range(9)) if size <= total]
    if sizes[-1] != total:
        sizes.append(total)
    found = {}
    for size in sizes:
        groups = log_weights[: total // size * size].reshape(total // size, size, *log_weights.shape[1:])
        found[size] = (logsumexp(groups, axis=1) - np.log(size)).mean(0)
    return found
