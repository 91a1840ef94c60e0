"""Shared parts of densities on the unit sphere: a base class, distances without cancellation, area, tangents.

Twin of `vje_ppl.distributions.sphere`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jaxtyping import Array, Float
from numpyro.distributions import Distribution, constraints
from numpyro.distributions.util import promote_shapes

#: A location whose squared norm is below 1 by more than this counts as too short for a direction. Ours.
_SHORT = 1e-3


class _UnitBall(constraints.ParameterFreeConstraint):
    """Vectors of norm at most one, up to rounding: unit vectors, and shorter vectors such as zero (no direction)."""

    event_dim = 1

    def __call__(self, x: Any) -> Any:
        """Return whether each vector, shape (..., D), lies in the ball; shape (...)."""
        rounding = 10 * jnp.finfo(jnp.result_type(x, float)).eps * jnp.shape(x)[-1] ** 0.5
        return jnp.linalg.norm(x, axis=-1) < 1 + rounding

    def feasible_like(self, prototype: Any) -> Any:
        """Return zeros of the shape of the prototype."""
        return jnp.zeros_like(prototype)


#: The constraint of locations on the sphere. The constraint of observations is `constraints.sphere`.
unit_ball = _UnitBall()


class ZonalDistribution(Distribution):
    """A density on the unit sphere of R^D that depends only on the angle from `loc`, and is uniform for κ = 0.

    Differs from its twin in two ways: parameters keep their shapes, up to leading dimensions of 1, as everywhere in
    NumPyro, and any κ that is known not to be finite is refused.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": unit_ball, "concentration": constraints.nonnegative}
    support = constraints.sphere

    def __init__(self, loc: Any, concentration: Any, *, validate_args: bool | None = None) -> None:
        name = type(self).__name__
        if not isinstance(concentration, jax.core.Tracer) and not np.all(np.isfinite(concentration)):
            raise ValueError(
                f"{name} expects finite concentrations of at least 0, got {concentration}; at infinity all mass is at "
                "loc, and there is no density."
            )
        if jnp.ndim(loc) < 1 or jnp.shape(loc)[-1] < 2:
            raise ValueError(
                f"{name} expects loc with a last dimension of two or more features, got shape {jnp.shape(loc)}; the "
                "sphere of R^1 is two points."
            )
        batch_shape = lax.broadcast_shapes(jnp.shape(loc)[:-1], jnp.shape(concentration))
        event_shape = jnp.shape(loc)[-1:]
        (self.loc,) = promote_shapes(loc, shape=batch_shape + event_shape)
        (self.concentration,) = promote_shapes(concentration, shape=batch_shape)
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @staticmethod
    def infer_shapes(loc: tuple[int, ...], concentration: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return batch and event shape from the shapes of the arguments, for NumPyro's shape inference."""
        return lax.broadcast_shapes(loc[:-1], concentration), loc[-1:]

    @property
    def mean(self) -> jax.Array:
        """The mean, shape (..., D), inside the sphere: m μ, with m the mean cosine."""
        return jnp.broadcast_to(self._mean_cosine()[..., None] * self.loc, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> jax.Array:
        """Feature-wise variances, shape (..., D): v μ_j² + s (1 − μ_j²), of the cosine, and of one feature across."""
        (along, across), squared = self._variances(), jnp.square(self.loc)
        variance = along[..., None] * squared + across[..., None] * (1 - squared)
        return jnp.broadcast_to(variance, self.batch_shape + self.event_shape)

    def _mean_cosine(self) -> jax.Array:
        """Return the mean m of the cosine from `loc`, broadcastable with the batch shape."""
        raise NotImplementedError

    def _variances(self) -> tuple[jax.Array, jax.Array]:
        """Return the variance v of the cosine, and s along any direction perpendicular to `loc`; shapes as above."""
        raise NotImplementedError


def log_sphere_area(dim: int) -> float:
    """Return the log area of the unit sphere of R^D, `log 2 + D/2 log π − log Γ(D/2)`; for D = 1, two points, log 2."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)


def versine(loc: Float[Array, "*#batch D"], value: Float[Array, "*#batch D"]) -> Float[Array, "*draws"]:
    """Return one minus the cosine of the angle between unit vectors, as half their squared distance: `½ ‖x − μ‖²`."""
    return 0.5 * (jnp.square(value - loc).sum(-1) + missing_length(loc))


def missing_length(loc: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Return one minus the squared length of a location, shape (...): 0 for a unit vector, 1 for the zero vector."""
    return jax.nn.relu(1 - _SHORT - jnp.square(loc).sum(-1)) / (1 - _SHORT)


def from_versine(
    key: jax.Array, loc: Float[Array, "*batch D"], versine: Float[Array, "*batch"]
) -> Float[Array, "*batch D"]:
    """Draw the point at a given angle from a location, in a uniformly random tangent direction.

    Differs from its twin in the argument `key`, the random key for the tangent.
    """
    normal = random.normal(key, loc.shape, loc.dtype)
    tangent = normal[..., 1:] / jnp.linalg.norm(normal[..., 1:], axis=-1, keepdims=True)
    sine = jnp.sqrt(jnp.maximum(versine * (2 - versine), jnp.finfo(versine.dtype).tiny))
    around_axis = jnp.concatenate([(1 - versine)[..., None], sine[..., None] * tangent], -1)
    squared = jnp.square(loc).sum(-1)
    uniform = normal / jnp.linalg.norm(normal, axis=-1, keepdims=True)
    around_axis = jnp.where((squared < 0.5)[..., None], uniform, around_axis)
    sign = jnp.where(loc[..., :1] < 0, -1.0, 1.0).astype(loc.dtype)
    mirror = jnp.concatenate([loc[..., :1] + sign, loc[..., 1:]], -1)
    along = (mirror * around_axis).sum(-1) / (0.5 * jnp.square(mirror).sum(-1))
    return sign * (along[..., None] * mirror - around_axis)
