"""The likelihood's feature-wise scale as a function of the guide's. Twin of `vje_ppl.models.scales`."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpyro
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.isotropic import geometric_mean


class Tied:
    """The likelihood's scale is the posterior's: `scale = σ_a`."""

    def __init__(self, detach: bool = False) -> None:
        self.detach = detach

    def __call__(self, posterior_scale: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Return the posterior's scale, shape (..., D), in units of the embedding."""
        return jax.lax.stop_gradient(posterior_scale) if self.detach else posterior_scale


class Isotropic:
    """One scale per image, the geometric mean of the posterior's: `scale_j = exp(1/D Σ_k log σ_k)`."""

    def __call__(self, posterior_scale: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Return the geometric mean of the posterior's scale, the same for all features; shape (..., D)."""
        return jnp.broadcast_to(geometric_mean(posterior_scale)[..., None], posterior_scale.shape)


class Free:
    """The likelihood has its own scale: one learned number per feature, the same for all images.

    The parameter is "scale.log_value", after its path in the Pyro model.
    """

    def __init__(self, dim: int, init: float = 1.0) -> None:
        if not 0 < init < math.inf:
            raise ValueError(
                f"Free expects a positive initial scale, got {init}; it must be finite, and 1 is the default."
            )
        self.dim = dim
        self.init = init

    def __call__(self, posterior_scale: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Return the learned scale, expanded to the shape (..., D) of the posterior's, which is not used."""
        log_value = numpyro.param("scale.log_value", jnp.full((self.dim,), math.log(self.init)))
        return jnp.broadcast_to(jnp.exp(log_value), posterior_scale.shape)
