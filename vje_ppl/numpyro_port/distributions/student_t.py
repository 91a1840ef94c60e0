"""The univariate Student-t, with a normalizer that keeps its digits at large ν.

Twin of `vje_ppl.distributions.student_t`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import random
from jax.scipy.special import betainc, ndtr, ndtri

from vje_ppl.numpyro_port.distributions.log_gamma import digamma_difference, finite_df, log_gamma_ratio

#: The ν, by floating-point type, above which the distribution function is computed as the Normal's of a transformed
#: value. This is exact to rounding there, whereas the incomplete beta function loses digits. Ours.
_MANY = {32: 30.0, 64: 1000.0}


class StudentT(dist.StudentT):
    """`numpyro.distributions.StudentT`, stable in float32 up to the Gaussian limit, and at it.

        log p(x) = log Γ((ν+1)/2) − log Γ(ν/2) − ½ log(νπ) − log scale − (ν+1)/2 log(1 + ((x − loc)/scale)²/ν)

    Differs from its twin: NumPyro's Student-t also has a distribution function and its inverse. Both are replaced here
    by versions without cancellation.
    """

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw loc + scale · x / sqrt(c/ν), x standard normal, c chi-squared(ν); shape sample_shape + (...)."""
        assert key is not None
        key_normal, key_mixing = random.split(key)
        shape = sample_shape + self.batch_shape
        dtype = jnp.result_type(self.df, self.loc, self.scale, float)
        normal = random.normal(key_normal, shape, dtype)
        df = jnp.broadcast_to(self._finite_df(), self.batch_shape)
        mixing = jnp.maximum(dist.Chi2(df).sample(key_mixing, sample_shape) / df, jnp.finfo(dtype).tiny)
        return self.loc + self.scale * normal * jax.lax.rsqrt(mixing)

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Return the log density in nats of `value`, shape (...), over Lebesgue measure on R."""
        if self._validate_args:
            self._validate_sample(value)
        df = self._finite_df()
        squared = jnp.square((value - self.loc) / self.scale)
        return self._log_normalizer() - jnp.log(self.scale) - (0.5 * df + 0.5) * jnp.log1p(squared / df)

    def entropy(self) -> jax.Array:
        """Return the entropy in nats, shape (...)."""
        df = self._finite_df()
        entropy = jnp.log(self.scale) - self._log_normalizer() + (0.5 * df + 0.5) * digamma_difference(0.5 * df, 0.5)
        return jnp.broadcast_to(entropy, self.batch_shape)

    @property
    def mean(self) -> jax.Array:
        """The mean, shape (...): loc, and NaN where ν ≤ 1 and it does not exist."""
        return jnp.broadcast_to(jnp.where(self._finite_df() > 1, self.loc, jnp.nan), self.batch_shape)

    @property
    def variance(self) -> jax.Array:
        """The variance, shape (...): ν/(ν−2) · scale², infinite for 1 < ν ≤ 2, NaN for ν ≤ 1."""
        df = self._finite_df()
        finite = jnp.square(self.scale) * (df / (df - 2))
        variance = jnp.where(df > 2, finite, jnp.where(df > 1, jnp.inf, jnp.nan))
        return jnp.broadcast_to(variance, self.batch_shape)

    def cdf(self, value: Any) -> jax.Array:
        """Return the probability of at most `value`, shape (...).

        For ν up to 1000 (30 in float32), it is computed from the incomplete beta function of s²/(ν+s²) or of its
        complement, whichever is smaller, where s is the standardized value. For larger ν it is computed from the Normal
        by a transformation that is exact to rounding there.

        Source: Hill, Algorithm 395: Student's t-Distribution (1970), for large ν.
        """
        df = self._finite_df()
        standardized = (value - self.loc) / self.scale
        bound = _MANY[jnp.finfo(df.dtype).bits]
        few, squared = jnp.minimum(df, bound), jnp.square(standardized)
        inside = 0.5 * betainc(0.5, 0.5 * few, jnp.minimum(squared / (few + squared), 0.5))
        outside = 0.5 * betainc(0.5 * few, 0.5, jnp.minimum(few / (few + squared), 0.5))
        is_inside = squared < few
        above = jnp.where(is_inside, 0.5 + inside, 1 - outside)
        below = jnp.where(is_inside, 0.5 - inside, outside)
        exact = jnp.where(standardized < 0, below, above)
        normal = ndtr(jnp.sign(standardized) * _to_normal(jnp.maximum(df, bound), squared))
        return jnp.where(df < bound, exact, normal)

    def icdf(self, q: Any) -> jax.Array:
        """Return the quantile: the value at which `cdf` is q, from 0 to 1, shape (...); without gradients.

        For ν up to 1000 (30 in float32), it is found by bisection of the logarithm of the distance from the location.
        For larger ν, it is computed from the Normal by the inverse of the transformation of `cdf`.
        """
        df, q = self._finite_df(), jnp.asarray(q)
        bound = _MANY[jnp.finfo(df.dtype).bits]
        few, many = jnp.minimum(df, bound), jnp.maximum(df, bound)
        standard, tail = StudentT(few, 0.0, 1.0), jnp.minimum(q, 1 - q)
        largest = math.log(float(jnp.finfo(few.dtype).max)) / 2.01  # whose square is finite
        low = jnp.full(jnp.broadcast_shapes(tail.shape, few.shape), -largest, few.dtype)

        def halve(_: Any, interval: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = interval
            middle = 0.5 * (low + high)
            is_far = standard.cdf(-jnp.exp(middle)) < tail
            return jnp.where(is_far, low, middle), jnp.where(is_far, middle, high)

        low, high = jax.lax.fori_loop(0, 64, halve, (low, -low))
        exact = jnp.sign(q - 0.5) * jnp.exp(0.5 * (low + high))
        deviate = ndtri(q)
        normal = jnp.sign(deviate) * _from_normal(many, jnp.abs(deviate))
        return self.loc + self.scale * jnp.where(df < bound, exact, normal)

    def _finite_df(self) -> jax.Array:
        return finite_df(self.df, jnp.result_type(self.df, self.loc, self.scale, float))

    def _log_normalizer(self) -> jax.Array:
        return log_gamma_ratio(0.5 * self._finite_df(), 0.5) - 0.5 * math.log(2 * math.pi)


def _to_normal(df: jax.Array, squared: jax.Array) -> jax.Array:
    """Return the absolute standard normal deviate with the same tail probability as sqrt(squared), for large ν."""
    y = (df - 0.5) * jnp.log1p(squared / df)
    return jnp.sqrt(y) * _stretch(df, y)


def _from_normal(df: jax.Array, deviate: jax.Array) -> jax.Array:
    """Return the inverse of `_to_normal`, by iterations that each reduce the error by a factor of 4ν."""
    y = jnp.square(deviate)
    for _ in range(6):
        y = jnp.square(deviate / _stretch(df, y))
    return jnp.sqrt(df * jnp.expm1(y / (df - 0.5)))


def _stretch(df: jax.Array, y: jax.Array) -> jax.Array:
    inverse = 1 / jnp.square(df - 0.5) / 48
    series = (((-0.4 * y - 3.3) * y - 24) * y - 85.5) * inverse / ((0.8 * jnp.square(y) + 100) * inverse + 1)
    return 1 + (y + 3 + series) * inverse
