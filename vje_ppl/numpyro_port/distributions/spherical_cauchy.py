"""The spherical Cauchy distribution on the unit sphere of any dimension.

Twin of `vje_ppl.distributions.spherical_cauchy`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax, random
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import promote_shapes

from vje_ppl.numpyro_port.distributions.sphere import (
    checked_concentration,
    from_versine,
    log_sphere_area,
    unit_ball,
    versine,
)
from vje_ppl.numpyro_port.distributions.zonal_integral import zonal_moments


class SphericalCauchy(Distribution):
    """The heavy-tailed density on the unit sphere of R^D that a Möbius map makes of the uniform one.

        log p(x) = log Γ(D/2) − log 2 − D/2 log π + (D−1) log[(1 − ρ²) / (1 + ρ² − 2ρ μ·x)]
                 = log Γ(D/2) − log 2 − D/2 log π + (D−1) [½ log(1 + 4κ) − log(1 + κ ‖x − μ‖²)],     κ = ρ/(1−ρ)²

    The published parameter is 0 ≤ ρ < 1. κ keeps the digits of 1 − ρ that a ρ near 1 has lost, and
    ρ = 4κ / (1 + √(1+4κ))². κ = 0 is uniform; the curvature of the log density at its mode is −2 (D−1) κ. It is
    `SphericalStudentT` with D − 2 degrees of freedom and scale 1/√(κ (D−2)), and at D = 2 the wrapped Cauchy.

    Base measure: the surface measure of the unit sphere, over which it integrates to one.

    Args:
        loc: unit vectors μ, shape (..., D), D ≥ 2. For the zero vector, which has no direction, the density is what it
            is at a right angle, wherever x is.
        concentration: finite κ ≥ 0, a number or an array of shape (...).

    Raises:
        ValueError: for fewer than two features, or a κ that is known not to be finite.

    Source: Kato and McCullagh, Some Properties of a Cauchy Family on the Sphere Derived from the Möbius Transformations
    (2020); κ is ours.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": unit_ball, "concentration": constraints.nonnegative}
    support = constraints.sphere
    reparametrized_params: ClassVar[list[str]] = ["loc", "concentration"]

    def __init__(self, loc: Any, concentration: Any, *, validate_args: bool | None = None) -> None:
        if jnp.ndim(loc) < 1 or jnp.shape(loc)[-1] < 2:
            raise ValueError(
                f"SphericalCauchy expects loc with a last dimension of two or more features, got shape "
                f"{jnp.shape(loc)}; the sphere of R^1 is two points."
            )
        batch_shape = lax.broadcast_shapes(jnp.shape(loc)[:-1], jnp.shape(concentration))
        event_shape = jnp.shape(loc)[-1:]
        # As everywhere in NumPyro, parameters keep the shapes that came in, up to leading ones.
        (self.loc,) = promote_shapes(loc, shape=batch_shape + event_shape)
        (self.concentration,) = promote_shapes(
            checked_concentration(concentration, "SphericalCauchy"), shape=batch_shape
        )
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @staticmethod
    def infer_shapes(loc: tuple[int, ...], concentration: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Batch and event shape from the shapes of the arguments, as NumPyro's shape inference asks."""
        return lax.broadcast_shapes(loc[:-1], concentration), loc[-1:]

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw unit vectors, shape sample_shape + (..., D): the Möbius map of uniform ones. Gradients reach loc and κ.

        Around the location the map takes (1 − cosine)/2 from z to z / (1 + 4κ (1 − z)) and keeps the tangent. For a loc
        of zero the draws are uniform on the sphere, as the density is.

        Source: Kato and McCullagh (2020). z ~ Beta((D−1)/2, (D−1)/2) is drawn as a ratio of Gammas.
        """
        assert key is not None
        key_share, key_tangent = random.split(key)
        shape = sample_shape + self.batch_shape + self.event_shape
        dtype = jnp.result_type(self.loc, self.concentration, float)
        towards, away = random.gamma(key_share, 0.5 * (shape[-1] - 1), (2, *shape[:-1]), dtype)
        share = away / (away + (1 + 4 * jnp.asarray(self.concentration, dtype)) * towards)
        return from_versine(key_tangent, jnp.broadcast_to(jnp.asarray(self.loc, dtype), shape), 2 * share)

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Log density in nats of unit vectors, shape (..., D), over the area of the sphere; one number a vector."""
        if self._validate_args:
            self._validate_sample(value)
        dim = self.event_shape[0]
        concentration = jnp.asarray(self.concentration, jnp.result_type(self.loc, self.concentration, float))
        log_ratio = 0.5 * jnp.log1p(4 * concentration)
        log_ratio = log_ratio - jnp.log1p(2 * concentration * versine(jnp.asarray(self.loc), jnp.asarray(value)))
        return (dim - 1) * log_ratio - log_sphere_area(dim)

    @property
    def mean(self) -> jax.Array:
        """The mean, shape (..., D), inside the sphere: m μ, with m the mean cosine; at D = 2 it is ρ."""
        mean_cosine, _, _ = self._moments()
        return jnp.broadcast_to(mean_cosine[..., None] * self.loc, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> jax.Array:
        """Feature-wise variances, shape (..., D): v μ_j² + s (1 − μ_j²), of the cosine, and of one feature across."""
        _, along, across = self._moments()
        squared = jnp.square(self.loc)
        variance = along[..., None] * squared + across[..., None] * (1 - squared)
        return jnp.broadcast_to(variance, self.batch_shape + self.event_shape)

    def _moments(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Its kernel is (1 + 4κ u)^(−(D−1)), with u = ‖x − μ‖²/4."""
        concentration = jnp.asarray(self.concentration, jnp.result_type(self.loc, self.concentration, float))
        power = jnp.full_like(concentration, self.event_shape[0] - 1)
        return zonal_moments(power, 4 * concentration, self.event_shape[0])
