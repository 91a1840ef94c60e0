"""Closed forms of the Student-t densities and their gradients, by hand.

Log-gamma and digamma come from mpmath, with 40 digits, at every ν. The rest runs in extended precision.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import mpmath
import numpy as np

from vje_ppl.crosscheck.rounded import Rounded

_DIGITS = 40

#: From here on, in terms of x = ν/2, a difference of log-gammas is expected in a form that does not cancel.
_STABLE_FROM = 16.0

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Density(NamedTuple):
    """A log density and its gradients."""

    value: Rounded
    df: Rounded
    loc: Rounded
    scale: Rounded
    target: Rounded


def diagonal_student_t(df: np.ndarray, loc: Rounded, scale: Rounded, target: Rounded) -> Density:
    """Return the multivariate Student-t with scale matrix diag(scale²)."""
    dim = target.shape[-1]
    standardized = (target - loc) / scale
    squared = standardized.square().sum()
    value = _log_normalizer(df, dim) - scale.log().sum() - (squared / df).log1p() * (0.5 * (df + dim))
    weight = 1.0 / (squared + df) * (df + dim)
    pull = weight[..., None] * standardized / scale
    by_scale = (weight[..., None] * standardized.square() - 1.0) / scale
    return Density(value, _by_df(df, dim, squared, weight), pull, by_scale, -pull)


def tangent_student_t(df: np.ndarray, loc: Rounded, scale: Rounded, target: Rounded) -> Rounded:
    """Return the log density of the tangent Student-t, without its gradients."""
    plane = target.shape[-1] - 1
    chord = target - loc
    share = chord.square().sum() * 0.25  # sin²(θ/2)
    vector = share.angle_over_sine()[..., None] * (chord + loc * (share * 2.0)[..., None])
    squared = (vector / scale).square().sum()
    along = (loc.square() * scale.square()).sum()
    kernel = (squared / df).log1p() * (0.5 * (df + plane))
    return _log_normalizer(df, plane) - scale.log().sum() + along.log() * 0.5 - kernel


def factorized_student_t(df: np.ndarray, loc: Rounded, scale: Rounded, target: Rounded) -> Density:
    """Return the product of univariate Student-t over features."""
    each = student_t(np.broadcast_to(df[..., None], target.shape), loc, scale, target)
    return Density(each.value.sum(), each.df.sum(), each.loc, each.scale, each.target)


def student_t(df: np.ndarray, loc: Rounded, scale: Rounded, target: Rounded) -> Density:
    """Return the univariate Student-t."""
    one = diagonal_student_t(df, loc[..., None], scale[..., None], target[..., None])
    return Density(one.value, one.df, one.loc[..., 0], one.scale[..., 0], one.target[..., 0])


def _log_normalizer(df: np.ndarray, dim: int) -> Rounded:
    """Return log Γ((ν+D)/2) − log Γ(ν/2) − D/2 log(ν/2) − D/2 log 2π."""
    return _gamma_terms(df, dim, 0) - dim * _HALF_LOG_TWO_PI


def _by_df(df: np.ndarray, dim: int, squared: Rounded, weight: Rounded) -> Rounded:
    return (_gamma_terms(df, dim, 1) - (squared / df).log1p() + weight * (squared / df)) * 0.5


def _gamma_terms(df: np.ndarray, dim: int, order: int) -> Rounded:
    distinct, index = np.unique(np.asarray(df, dtype=np.float64), return_inverse=True)
    found = np.array([_gamma_term(float(one), dim)[order] for one in distinct], dtype=np.longdouble)
    found = found[index.reshape(np.shape(df))]
    return Rounded(found[..., 0], found[..., 1])


@cache
def _gamma_term(df: float, dim: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return `log Γ(x+a) − log Γ(x) − a log x` for x = ν/2, a = D/2, and its derivative by x; each with a magnitude."""
    with mpmath.workdps(_DIGITS):
        x, shift = mpmath.mpf(df) / 2, mpmath.mpf(dim) / 2
        gammas = mpmath.loggamma(x + shift), mpmath.loggamma(x)
        digammas = mpmath.digamma(x + shift), mpmath.digamma(x)
        value = gammas[0] - gammas[1] - shift * mpmath.log(x)
        slope = digammas[0] - digammas[1] - shift / x
        if x < _STABLE_FROM:
            # A log-gamma near its zeros, and its argument's rounding, count as well.
            magnitude = sum(map(abs, gammas)) + abs(shift * mpmath.log(x)) + abs((x + shift) * digammas[0]) + 1
            slope_magnitude = sum(map(abs, digammas)) + shift / x + 1
        else:
            logarithm = mpmath.log1p(shift / x)
            magnitude = 2 * (x + shift) * logarithm + shift
            slope_magnitude = 2 * logarithm + 2 * shift / x
        magnitude += abs(value)
        return (float(value), float(magnitude)), (float(slope), float(slope_magnitude))
