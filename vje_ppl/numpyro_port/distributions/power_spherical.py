"""The power spherical distribution on the unit sphere of any dimension.

Twin of `vje_ppl.distributions.power_spherical`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax, random

from vje_ppl.numpyro_port.distributions.log_gamma import log_gamma_ratio
from vje_ppl.numpyro_port.distributions.sphere import ZonalDistribution, from_versine, versine


class PowerSpherical(ZonalDistribution):
    """The density on the unit sphere of R^D that is a power of one plus the cosine of the angle from `loc`.

    log p(x) = κ log((1 + μ·x)/2) + log Γ(α+β) − log Γ(α) − β log 4π,     α = (D−1)/2 + κ,  β = (D−1)/2
    """

    reparametrized_params: ClassVar[list[str]] = ["loc", "concentration"]

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw unit vectors, shape sample_shape + (..., D): (1 − cosine)/2 ~ Beta(β, α), then a random tangent."""
        assert key is not None
        key_far, key_near, key_tangent = random.split(key, 3)
        shape = sample_shape + self.batch_shape + self.event_shape
        dtype = jnp.result_type(self.loc, self.concentration, float)
        loc = jnp.broadcast_to(jnp.asarray(self.loc, dtype), shape)
        beta = 0.5 * (shape[-1] - 1)
        far = random.gamma(key_far, beta, shape[:-1], dtype)
        near = random.gamma(key_near, beta + jnp.asarray(self.concentration, dtype), shape[:-1], dtype)
        return from_versine(key_tangent, loc, 2 * far / (far + near))

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        beta = 0.5 * (self.event_shape[0] - 1)
        alpha = jnp.asarray(self.concentration, jnp.result_type(self.loc, self.concentration, float)) + beta
        log_normalizer = log_gamma_ratio(alpha, beta) + beta * jnp.log(alpha / (4 * math.pi))
        closeness = _log_half_one_plus_cosine(jnp.asarray(self.loc), jnp.asarray(value))
        return self.concentration * closeness + log_normalizer

    def _mean_cosine(self) -> jax.Array:
        """Return κ/(κ + D − 1)."""
        concentration = jnp.asarray(self.concentration)
        return concentration / (concentration + self.event_shape[0] - 1)

    def _variances(self) -> tuple[jax.Array, jax.Array]:
        """Return the variance 4αβ/((α+β)²(α+β+1)) of the cosine, and 2α/((α+β)(α+β+1)) perpendicular to `loc`."""
        beta = 0.5 * (self.event_shape[0] - 1)
        alpha = jnp.asarray(self.concentration) + beta
        across = 2 * alpha / ((alpha + beta) * (alpha + beta + 1))
        return 2 * beta / (alpha + beta) * across, across


def _log_half_one_plus_cosine(loc: jax.Array, value: jax.Array) -> jax.Array:
    """Return `log((1 + μ·x)/2)` without cancellation, from the distance to μ or to −μ, whichever is closer."""
    opposite = lax.stop_gradient((loc * value).sum(-1)) < 0
    closer = 0.5 * versine(jnp.where(opposite[..., None], -loc, loc), value)
    floor = jnp.finfo(closer.dtype).eps ** 2
    # Each branch is finite where the other is used: the distance to the closer of the two is at most ½.
    return jnp.where(opposite, jnp.log(jnp.maximum(closer, floor)), jnp.log1p(-closer))
