"""Differences of log-gammas and digammas that keep their digits. Twin of `vje_ppl.distributions.log_gamma`."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Float

#: The smallest x for which Stirling's series with five terms is exact to below 1e-16.
_STIRLING_FROM = 16.0


def _stirling_remainder(x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Return `log Γ(x) − [(x − ½) log x − x + ½ log 2π]` for x ≥ 16: 1/(12x) − 1/(360x³) + ..."""
    inverse = 1 / x
    square = jnp.square(inverse)
    series = 1 / 12 + square * (-1 / 360 + square * (1 / 1260 + square * (-1 / 1680 + square * (1 / 1188))))
    return inverse * series


def log_gamma_ratio(x: Float[Array, "*batch"], shift: float) -> Float[Array, "*batch"]:
    """Return `log Γ(x + a) − log Γ(x) − a log x` in nats, for x > 0 and a ≥ 0; it tends to 0 as x grows."""
    small = jnp.minimum(x, _STIRLING_FROM)
    direct = gammaln(small + shift) - gammaln(small) - shift * jnp.log(small)
    large = jnp.maximum(x, _STIRLING_FROM)
    stirling = (
        (large + shift - 0.5) * jnp.log1p(shift / large)
        - shift
        + _stirling_remainder(large + shift)
        - _stirling_remainder(large)
    )
    return jnp.where(x < _STIRLING_FROM, direct, stirling)


def digamma_difference(x: Float[Array, "*batch"], shift: float) -> Float[Array, "*batch"]:
    """Return `ψ(x + a) − ψ(x)` for x > 0 and a ≥ 0, with few rounding errors even where it falls as a/x."""
    small = jnp.minimum(x, _STIRLING_FROM)
    direct = digamma(small + shift) - digamma(small)
    large = jnp.maximum(x, _STIRLING_FROM)
    series = (
        jnp.log1p(shift / large)
        + shift / large / (2 * (large + shift))
        + _digamma_remainder(large)
        - _digamma_remainder(large + shift)
    )
    return jnp.where(x < _STIRLING_FROM, direct, series)


def _digamma_remainder(x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Return `log x − 1/(2x) − ψ(x)` for x ≥ 16: 1/(12x²) − 1/(120x⁴) + ..."""
    square = jnp.square(1 / x)
    return square * (1 / 12 + square * (-1 / 120 + square * (1 / 252 + square * (-1 / 240 + square * (1 / 132)))))


def finite_df(df: Any, dtype: Any) -> Float[Array, "*batch"]:
    """Return degrees of freedom ν in a floating-point type, at most 1/ε⁴, where the density equals the Normal's."""
    return jnp.minimum(jnp.asarray(df, dtype), float(jnp.finfo(dtype).eps) ** -4)
