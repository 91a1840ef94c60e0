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

from vje_ppl.numpyro_port.distributions.log_gamma import log_gamma_ratio


class StudentT(dist.StudentT):
    """`numpyro.distributions.StudentT`, stable in float32 up to the Gaussian limit.

        log p(x) = log Γ((ν+1)/2) − log Γ(ν/2) − ½ log(νπ) − log scale − (ν+1)/2 log(1 + ((x − loc)/scale)²/ν)

    The parent subtracts two log-gammas, which loses its digits in float32 at large ν, and its draws are infinite where
    a chi-squared with small ν underflows.

    Base measure: Lebesgue on R, over which it integrates to one. On the positive half-line, where radii live, it
    integrates to less.

    Args:
        df: degrees of freedom ν > 0, shape (...).
        loc: location, shape (...).
        scale: standard deviation of the Gaussian that the tail widens, positive, shape (...).

    Source: Kotz and Nadarajah, Multivariate t Distributions and Their Applications (2004), equation 1.1 at one
    dimension.
    """

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw loc + scale · x / sqrt(c/ν), x standard normal, c chi-squared(ν); shape sample_shape + (...)."""
        assert key is not None
        key_normal, key_mixing = random.split(key)
        shape = sample_shape + self.batch_shape
        dtype = jnp.result_type(self.df, self.loc, self.scale, float)
        normal = random.normal(key_normal, shape, dtype)
        mixing = jnp.maximum(self._chi2.sample(key_mixing, sample_shape) / self.df, jnp.finfo(dtype).tiny)
        return self.loc + self.scale * normal * jax.lax.rsqrt(mixing)

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Log density in nats of `value`, shape (...), over Lebesgue measure on R."""
        if self._validate_args:
            self._validate_sample(value)
        half_df, half = jnp.asarray(0.5 * self.df), 0.5
        log_normalizer = log_gamma_ratio(half_df, half) - 0.5 * math.log(2 * math.pi)
        squared = jnp.square((value - self.loc) / self.scale)
        return log_normalizer - jnp.log(self.scale) - (half_df + half) * jnp.log1p(squared / self.df)
