"""Importance weights from an approximation to a posterior: k-hat, ELBO, and importance-weighted bounds."""

from __future__ import annotations

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Float
from scipy.special import logsumexp

#: Above it, importance weights have a tail so heavy that estimates from them are not to be relied on.
LARGEST_KHAT = 0.7


def khat(log_weights: Float[np.ndarray, "S N"]) -> Float[np.ndarray, " N"]:
    """Pareto k-hat of the right tail of each image's importance weights, by ArviZ.

    Args:
        log_weights: log p(s, z) − log q(s) at S draws of q.

    Source: Vehtari, Simpson, Gelman, Yao and Gabry, Pareto Smoothed Importance Sampling (JMLR 2024).
    """
    # ArviZ takes log likelihoods, whose inverse are the weights
    _, found = array_stats.psislw(-log_weights.astype(np.float64), axis=0)
    return np.asarray(found, dtype=np.float64)


def bounds(log_weights: Float[np.ndarray, "S T N"]) -> dict[int, Float[np.ndarray, "T N"]]:
    """Importance-weighted bounds on the log evidence at K = 1, 10, 100, … draws, in nats, up to all S of them.

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
