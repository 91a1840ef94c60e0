"""The spherical Cauchy distribution on the unit sphere of any dimension.

Twin of `vje_ppl.distributions.spherical_cauchy`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import random

from vje_ppl.numpyro_port.distributions.sphere import ZonalDistribution, from_versine, log_sphere_area, versine
from vje_ppl.numpyro_port.distributions.zonal_integral import zonal_moments


class SphericalCauchy(ZonalDistribution):
    """The heavy-tailed density on the unit sphere of R^D that is a Möbius map of the uniform density.

    log p(x) = log Γ(D/2) − log 2 − D/2 log π + (D−1) [½ log(1 + 4κ) − log(1 + κ ‖x − μ‖²)],     κ = ρ/(1−ρ)²
    """

    reparametrized_params: ClassVar[list[str]] = ["loc", "concentration"]

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw unit vectors, shape sample_shape + (..., D): the Möbius map of uniform draws."""
        assert key is not None
        key_share, key_tangent = random.split(key)
        shape = sample_shape + self.batch_shape + self.event_shape
        dtype = jnp.result_type(self.loc, self.concentration, float)
        towards, away = random.gamma(key_share, 0.5 * (shape[-1] - 1), (2, *shape[:-1]), dtype)
        share = away / (away + (1 + 4 * jnp.asarray(self.concentration, dtype)) * towards)
        return from_versine(key_tangent, jnp.broadcast_to(jnp.asarray(self.loc, dtype), shape), 2 * share)

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        dim = self.event_shape[0]
        concentration = jnp.asarray(self.concentration, jnp.result_type(self.loc, self.concentration, float))
        log_ratio = 0.5 * jnp.log1p(4 * concentration)
        log_ratio = log_ratio - jnp.log1p(2 * concentration * versine(jnp.asarray(self.loc), jnp.asarray(value)))
        return (dim - 1) * log_ratio - log_sphere_area(dim)

    def _mean_cosine(self) -> jax.Array:
        """Return the mean cosine; at D = 2 it is ρ."""
        return self._moments()[0]

    def _variances(self) -> tuple[jax.Array, jax.Array]:
        return self._moments()[1:]

    def _moments(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return power and rate of the kernel (1 + 4κ u)^(−(D−1)), with u = ‖x − μ‖²/4."""
        concentration = jnp.asarray(self.concentration, jnp.result_type(self.loc, self.concentration, float))
        power = jnp.full_like(concentration, self.event_shape[0] - 1)
        return zonal_moments(power, 4 * concentration, self.event_shape[0])
