"""The polar decomposition of an embedding: its direction and its radius. Twin of `vje_ppl.program.polar`."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

#: The smallest radius to divide by. A latent at the origin then has the direction zero, which is not on the sphere, and
#: a finite gradient. Ours.
SMALLEST_RADIUS = 1e-12


class Polar(NamedTuple):
    """A vector in polar form: direction, shape (..., D), zero where the radius is 0, and radius, shape (...)."""

    direction: Float[Array, "*batch D"]
    radius: Float[Array, "*batch"]


def to_polar(vector: Float[Array, "*batch D"]) -> Polar:
    """Split vectors, shape (..., D), into direction and radius: `ẑ = z / ‖z‖`, `r = ‖z‖`."""
    radius = vector_norm(vector)
    return Polar(vector / jnp.maximum(radius, SMALLEST_RADIUS)[..., None], radius)


def vector_norm(vector: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Return the norm over the last dimension, with gradient 0 at the origin, like `torch.linalg.vector_norm`."""
    squared = jnp.square(vector).sum(-1)
    # Two `where`: with one alone, the branch that is not taken would make the gradient NaN.
    nonzero = jnp.where(squared > 0, squared, 1.0)
    return jnp.where(squared > 0, jnp.sqrt(nonzero), 0.0)
