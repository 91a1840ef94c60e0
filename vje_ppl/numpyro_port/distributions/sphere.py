"""Geometry that all densities on the unit sphere share: distances that keep their digits, area, tangents.

Twin of `vje_ppl.distributions.sphere`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float
from numpyro.distributions import constraints

#: A location whose squared norm is below 1 by more than this counts as too short for a direction. Ours.
_SHORT = 1e-3


class _UnitBall(constraints.ParameterFreeConstraint):
    """Vectors of norm at most one, up to rounding: directions, and the zero that stands for the lack of one."""

    event_dim = 1

    def __call__(self, x: Any) -> Any:
        """Whether each vector, shape (..., D), lies in the ball; shape (...)."""
        rounding = 10 * jnp.finfo(jnp.result_type(x, float)).eps * jnp.shape(x)[-1] ** 0.5
        return jnp.linalg.norm(x, axis=-1) < 1 + rounding

    def feasible_like(self, prototype: Any) -> Any:
        """Zeros of the shape of the prototype."""
        return jnp.zeros_like(prototype)


#: What locations on the sphere are checked against. Observations are checked against `constraints.sphere`.
unit_ball = _UnitBall()


def checked_concentration(concentration: Any, distribution: str) -> Any:
    """A concentration as given, where its numbers are finite, or not known yet, under a transformation of JAX.

    Raises:
        ValueError: for one that is infinite or NaN.
    """
    if not isinstance(concentration, jax.core.Tracer) and not np.all(np.isfinite(concentration)):
        raise ValueError(
            f"{distribution} expects finite concentrations of at least 0, got {concentration}; at infinity all mass is "
            "at loc, and there is no density."
        )
    return concentration


def log_sphere_area(dim: int) -> float:
    """Log of the area of the unit sphere of R^D, `log 2 + D/2 log π − log Γ(D/2)`; log 2, two points, for D = 1."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)


def versine(loc: Float[Array, "*#batch D"], value: Float[Array, "*#batch D"]) -> Float[Array, "*draws"]:
    """One minus the cosine of the angle between two unit vectors, as half their squared distance: `½ ‖x − μ‖²`.

    `1 − μ·x` loses all digits at small angles, and a concentration of 1e8 turns what is lost into nats. Off the sphere
    the two differ, by radial terms only, which a gradient through a normalized vector never sees.

    Args:
        loc: μ, unit vectors, shape (..., D). The zero vector, which has no direction, is at a right angle to all.
        value: x, unit vectors, shape (..., D).

    Returns:
        Shape (...), from 0 to 2.
    """
    lacking = jax.nn.relu(1 - _SHORT - jnp.square(loc).sum(-1)) / (1 - _SHORT)
    return 0.5 * (jnp.square(value - loc).sum(-1) + lacking)


def from_versine(
    key: jax.Array, loc: Float[Array, "*batch D"], versine: Float[Array, "*batch"]
) -> Float[Array, "*batch D"]:
    """Draw the point at a given angle from a location, in a uniformly random tangent direction.

    The tangent is drawn around the first axis, which a Householder reflection then takes to the location. Of the two
    such reflections (to μ, or to −μ and back) the one that is far from degenerate is taken. Gradients reach both
    arguments. Projecting a random vector on the tangent space instead would give gradients with infinite variance for
    D = 3.

    Args:
        key: for the tangent.
        loc: unit vectors, shape (..., D), D ≥ 2. Around the zero vector, points are uniform on the sphere.
        versine: one minus the cosine of the angle, from 0 to 2, shape (...).

    Returns:
        Unit vectors, shape (..., D).

    Source: Davidson and others, Hyperspherical Variational Auto-Encoders (2018), algorithm 1; the choice of reflection
    is ours.
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
