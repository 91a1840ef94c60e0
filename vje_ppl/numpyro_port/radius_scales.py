"""Scales for the radius of a polar likelihood, from the direction ŝ of the latent and the shared scale.

Twin of `vje_ppl.models.radius_scales`.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.polar import SMALLEST_RADIUS, vector_norm


def unit(direction: Float[Array, "*draws D"], scale: Float[Array, "*batch D"]) -> Float[Array, "*draws"]:
    """Return a constant scale of 1, in units of the embedding, shape (...)."""
    return jnp.ones_like(direction[..., 0])


def projected(direction: Float[Array, "*draws D"], scale: Float[Array, "*batch D"]) -> Float[Array, "*draws"]:
    """Return the standard deviation along ŝ for standard deviations of features: `sqrt(Σ_j ŝ_j² σ_j²)`."""
    return jnp.maximum(vector_norm(direction * scale), SMALLEST_RADIUS)
