"""The power spherical distribution on the unit sphere of any dimension.

Twin of `vje_ppl.distributions.power_spherical`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax, random
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import promote_shapes

from vje_ppl.numpyro_port.distributions.log_gamma import log_gamma_ratio
from vje_ppl.numpyro_port.distributions.sphere import checked_concentration, from_versine, unit_ball, versine


class PowerSpherical(Distribution):
    """The density on the unit sphere of R^D that is a power of one plus the cosine of the angle from `loc`.

        log p(x) = κ log((1 + μ·x)/2) + log Γ(α+β) − log Γ(α) − β log 4π,     α = (D−1)/2 + κ,  β = (D−1)/2

    κ = 0 is uniform; for large κ it is close to a Normal on the tangent space with standard deviation √(2/κ) a feature.
    Unlike the von Mises-Fisher it has a closed-form normalizer and draws without rejection.

    The density is 0 at x = −μ. There log((1 + μ·x)/2) is held at log ε², with ε the spacing of the floating-point type:
    within an angle of about 2 ε, where rounded unit vectors cannot be told from −μ, the value is constant and the
    gradient 0, so that both are finite.

    Base measure: the surface measure of the unit sphere, over which it integrates to one.

    Args:
        loc: unit vectors μ, shape (..., D), D ≥ 2. For the zero vector, which has no direction, the density is what it
            is at a right angle, wherever x is.
        concentration: finite κ ≥ 0, a number or an array of shape (...).

    Raises:
        ValueError: for fewer than two features, or a κ that is known not to be finite.

    Source: De Cao and Aziz, The Power Spherical Distribution (2020), arXiv 2006.04437; the floor is ours.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": unit_ball, "concentration": constraints.nonnegative}
    support = constraints.sphere
    reparametrized_params: ClassVar[list[str]] = ["loc", "concentration"]

    def __init__(self, loc: Any, concentration: Any, *, validate_args: bool | None = None) -> None:
        if jnp.ndim(loc) < 1 or jnp.shape(loc)[-1] < 2:
            raise ValueError(
                f"PowerSpherical expects loc with a last dimension of two or more features, got shape "
                f"{jnp.shape(loc)}; the sphere of R^1 is two points."
            )
        batch_shape = lax.broadcast_shapes(jnp.shape(loc)[:-1], jnp.shape(concentration))
        event_shape = jnp.shape(loc)[-1:]
        # As everywhere in NumPyro, parameters keep the shapes that came in, up to leading ones.
        (self.loc,) = promote_shapes(loc, shape=batch_shape + event_shape)
        (self.concentration,) = promote_shapes(
            checked_concentration(concentration, "PowerSpherical"), shape=batch_shape
        )
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @staticmethod
    def infer_shapes(loc: tuple[int, ...], concentration: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Batch and event shape from the shapes of the arguments, as NumPyro's shape inference asks."""
        return lax.broadcast_shapes(loc[:-1], concentration), loc[-1:]

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw unit vectors, shape sample_shape + (..., D): (1 − cosine)/2 ~ Beta(β, α), then a random tangent.

        Gradients reach loc and concentration. For a loc of zero the draws are uniform on the sphere, as the density is.

        Source: De Cao and Aziz (2020), algorithm 1. The Beta is drawn as a ratio of Gammas, one of which depends on κ.
        """
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
        """Log density in nats of unit vectors, shape (..., D), over the area of the sphere; one number a vector."""
        if self._validate_args:
            self._validate_sample(value)
        beta = 0.5 * (self.event_shape[0] - 1)
        alpha = jnp.asarray(self.concentration, jnp.result_type(self.loc, self.concentration, float)) + beta
        log_normalizer = log_gamma_ratio(alpha, beta) + beta * jnp.log(alpha / (4 * math.pi))
        closeness = _log_half_one_plus_cosine(jnp.asarray(self.loc), jnp.asarray(value))
        return self.concentration * closeness + log_normalizer

    @property
    def mean(self) -> jax.Array:
        """The mean, shape (..., D), inside the sphere: κ/(κ + D − 1) μ."""
        concentration = jnp.asarray(self.concentration)
        mean_cosine = concentration / (concentration + self.event_shape[0] - 1)
        return jnp.broadcast_to(mean_cosine[..., None] * self.loc, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> jax.Array:
        """Feature-wise variances, shape (..., D): [4αβ/(α+β) μ_j² + 2α (1 − μ_j²)] / ((α+β)(α+β+1))."""
        beta = 0.5 * (self.event_shape[0] - 1)
        alpha = jnp.asarray(self.concentration) + beta
        across = 2 * alpha / ((alpha + beta) * (alpha + beta + 1))
        along, squared = 2 * beta / (alpha + beta) * across, jnp.square(self.loc)
        variance = along[..., None] * squared + across[..., None] * (1 - squared)
        return jnp.broadcast_to(variance, self.batch_shape + self.event_shape)


def _log_half_one_plus_cosine(loc: jax.Array, value: jax.Array) -> jax.Array:
    """`log((1 + μ·x)/2)`, from the distance to μ or to −μ, whichever is closer, so that no digits are lost."""
    opposite = lax.stop_gradient((loc * value).sum(-1)) < 0
    closer = 0.5 * versine(jnp.where(opposite[..., None], -loc, loc), value)
    floor = jnp.finfo(closer.dtype).eps ** 2
    # Either branch is finite where the other is taken: the closer of the two is at most ½.
    return jnp.where(opposite, jnp.log(jnp.maximum(closer, floor)), jnp.log1p(-closer))
