"""The values that SciPy's own densities have for the cases; NaN for cases that SciPy does not support."""

from __future__ import annotations

import numpy as np
from scipy import stats

from vje_ppl.crosscheck import quantities as q
from vje_ppl.crosscheck.cases import BETA, Cases
from vje_ppl.crosscheck.variants import Variant

#: Largest ν. Beyond, SciPy loses digits by subtracting log-gammas, and only the closed form with mpmath is used.
LARGEST_DF = 1e3
#: `multivariate_t` and `multivariate_normal` decompose a D × D matrix for every case.
LARGEST_DIM = 128
#: Largest ratio of scales; `multivariate_t` takes a matrix for singular if its eigenvalues have a ratio below 1e-10.
LARGEST_SCALE_RATIO = 1e4

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(4)  # exact to degree 7, and a KL of Normals integrates degree 2
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def densities(cases: Cases) -> dict[str, np.ndarray]:
    """Compute single log densities."""
    c = cases.astype("float64")
    df = c.df[0]
    return {
        q.DIAGONAL_STUDENT_T: multivariate_t(df, c.loc, c.scale[0], c.target),
        q.FACTORIZED_STUDENT_T: t(df[:, None], c.loc, c.scale[0], c.target).sum(-1),
        q.STUDENT_T: t(df, c.radius_loc, c.radius_scale, c.radius_target),
    }


def program(cases: Cases, variant: Variant) -> dict[str, np.ndarray]:
    """Compute log densities of every site, the KL by Gauss-Hermite quadrature, and their sums."""
    c = cases.astype("float64")
    scale = np.broadcast_to(np.exp(c.log_scale), c.scale.shape) if variant.scale == "free" else c.scale
    results = sites(c, variant, c.latent, scale)
    results[q.PRIOR] = multivariate_normal(c.latent)
    results[q.GUIDE] = stats.norm.logpdf(c.latent, c.mean, c.scale).sum(-1)
    kl = diagonal_normal_kl(c.mean, c.scale)
    drawn = sites(c, variant, c.mean + c.scale * c.noise, scale)
    log_likelihood = drawn[q.DIRECTION] + drawn[q.RADIUS]
    results[q.KL] = kl
    results |= dict(zip(q.ELBO, log_likelihood - kl, strict=True))
    results[q.OBJECTIVE] = (log_likelihood - BETA * kl).mean(0)
    return results


def sites(c: Cases, variant: Variant, latent: np.ndarray, scale: np.ndarray) -> dict[str, np.ndarray]:
    """Return the polar Student-t likelihood of each view's embedding given the other's latent."""
    location, observed = (vector / _norm(vector)[..., None] for vector in (latent, c.embedding[::-1]))
    radius_scale = _norm(location * scale) if variant.radius_scale == "projected" else 1.0
    if variant.direction == "joint":
        direction = multivariate_t(c.df, location, scale, observed)
    else:
        direction = t(c.df[..., None], location, scale, observed).sum(-1)
    return {
        q.DIRECTION: direction,
        q.RADIUS: t(c.radius_df, _norm(latent), radius_scale, _norm(c.embedding[::-1])),
    }


def t(df: np.ndarray, loc: np.ndarray, scale: np.ndarray | float, value: np.ndarray) -> np.ndarray:
    """Return the log density of `scipy.stats.t`."""
    return np.where(df <= LARGEST_DF, stats.t.logpdf(value, np.minimum(df, LARGEST_DF), loc, scale), np.nan)


def multivariate_t(df: np.ndarray, loc: np.ndarray, scale: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the log density of `scipy.stats.multivariate_t`, with a dense matrix, case by case."""
    result = np.full(df.shape, np.nan)
    if value.shape[-1] > LARGEST_DIM:
        return result
    possible = (df <= LARGEST_DF) & (scale.max(-1) <= LARGEST_SCALE_RATIO * scale.min(-1))
    for case in zip(*np.nonzero(possible), strict=True):
        result[case] = stats.multivariate_t.logpdf(value[case], loc[case], np.diag(scale[case] ** 2), df[case])
    return result


def multivariate_normal(value: np.ndarray) -> np.ndarray:
    """Return the log density of `scipy.stats.multivariate_normal` with mean 0 and covariance I."""
    if value.shape[-1] > LARGEST_DIM:
        return np.full(value.shape[:-1], np.nan)
    return stats.multivariate_normal.logpdf(value, np.zeros(value.shape[-1]))


def diagonal_normal_kl(mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return E_q[log q − log p] by quadrature of SciPy's densities, feature by feature."""
    nodes = mean[..., None] + scale[..., None] * _NODES
    log_ratio = stats.norm.logpdf(nodes, mean[..., None], scale[..., None]) - stats.norm.logpdf(nodes)
    return (log_ratio * _WEIGHTS).sum((-1, -2))


def _norm(vector: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vector, axis=-1)
