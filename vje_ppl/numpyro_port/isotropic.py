"""From a scale per feature to a scale per image. Twin of `vje_ppl.models.isotropic`."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def geometric_mean(scale: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
    """Return the isotropic scale with the same determinant: `σ̄ = exp(1/D Σ_j log σ_j)`, shape (...), of σ (..., D)."""
    return jnp.exp(jnp.log(scale).mean(-1))
