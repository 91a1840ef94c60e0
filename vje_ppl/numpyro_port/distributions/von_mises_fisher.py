"""The von Mises-Fisher distribution on the unit sphere of any dimension.

Twin of `vje_ppl.distributions.von_mises_fisher`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax, random

from vje_ppl.numpyro_port.distributions.bessel import log_exponential_integral, mean_cosine_rate
from vje_ppl.numpyro_port.distributions.sphere import ZonalDistribution, from_versine, versine

#: Proposals of Wood's sampler per draw. At most a share of 0.35 is rejected, at D = 2 and large κ. If all are rejected,
#: which has a probability of about 1e-11, the last proposal is returned.
_PROPOSALS = 24


class VonMisesFisher(ZonalDistribution):
    """The density on the unit sphere of R^D whose logarithm is linear in the cosine of the angle from `loc`.

    log p(x) = κ (μ·x − 1) − log ∫ exp(κ (μ·y − 1)) dy,
    log ∫ exp(κ (μ·y − 1)) dy = D/2 log 2π − (D/2−1) log κ + log I_{D/2−1}(κ) − κ
    """

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw unit vectors, shape sample_shape + (..., D), without gradients; the cosine by rejection."""
        assert key is not None
        key_versine, key_tangent = random.split(key)
        shape = sample_shape + self.batch_shape + self.event_shape
        dtype = jnp.result_type(self.loc, self.concentration, float)
        loc = jnp.broadcast_to(jnp.asarray(self.loc, dtype), shape)
        concentration = jnp.broadcast_to(jnp.asarray(self.concentration, dtype), shape[:-1])
        draw = from_versine(key_tangent, loc, _draw_versine(key_versine, concentration, shape[-1]))
        return lax.stop_gradient(draw)

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        concentration = jnp.asarray(self.concentration, jnp.result_type(self.loc, self.concentration, float))
        integral = log_exponential_integral(concentration, self.event_shape[0])
        return -concentration * versine(jnp.asarray(self.loc), jnp.asarray(value)) - integral

    def _mean_cosine(self) -> jax.Array:
        """Return A(κ) = I_{D/2}(κ) / I_{D/2−1}(κ)."""
        concentration = jnp.asarray(self.concentration, float)
        return concentration * mean_cosine_rate(concentration, self.event_shape[0])

    def _variances(self) -> tuple[jax.Array, jax.Array]:
        """Return A'(κ), the variance of the cosine, and A(κ)/κ, the variance along a perpendicular direction."""
        concentration, dim = jnp.asarray(self.concentration, float), self.event_shape[0]
        one = jnp.ones_like(concentration)

        def slope(kappa: jax.Array) -> jax.Array:
            return jax.jvp(lambda kappa: log_exponential_integral(kappa, dim), (kappa,), (one,))[1]

        # A' = 1 − A² − (D−1) A/κ loses digits for large κ; the second derivative of the normalizer does not.
        _, along = jax.jvp(slope, (concentration,), (one,))
        return along, mean_cosine_rate(concentration, dim)


def _draw_versine(key: jax.Array, concentration: jax.Array, dim: int) -> jax.Array:
    """Draw one minus the cosine of the angle from the location, for each element of κ.

    A proposal is v₀ (1 + b) g / (h + b g), for g, h ~ Gamma((D−1)/2), accepted at
    κ (v₀ − v) + (D−1) log[(1 + (1−v₀) v/v₀) / (2−v₀)] ≥ log u.
    """
    key_proposals, key_accepted = random.split(key)
    proposals, dtype = (_PROPOSALS, *concentration.shape), concentration.dtype
    first, second = random.gamma(key_proposals, 0.5 * (dim - 1), (2, *proposals), dtype)
    b = (dim - 1) / (2 * concentration + jnp.hypot(2 * concentration, dim - 1))
    start = 2 * b / (1 + b)
    relative = (1 + b) * first / (second + b * first)
    log_ratio = concentration * start * (1 - relative) + (dim - 1) * jnp.log1p(
        (1 - start) * (relative - 1) / (2 - start)
    )
    accepted = log_ratio >= jnp.log(random.uniform(key_accepted, proposals, dtype))
    chosen = jnp.argmax(accepted.at[-1].set(True), 0, keepdims=True)  # the first accepted proposal
    return jnp.clip(start * jnp.take_along_axis(relative, chosen, 0)[0], 0, 2)
