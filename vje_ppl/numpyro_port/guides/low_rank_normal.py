"""The low-rank Normal guide: a few directions of correlation beside the diagonal.

Twin of `vje_ppl.guides.low_rank_normal`.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import lax
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.pytree import as_pytree


@as_pytree
@dataclass(frozen=True)
class LowRankNormalPosterior:
    """`q(s) = Normal(mean, W Wᵀ + diag(d²))`, one per image, with W and d from scale and loadings. A pytree.

    W_j = scale_j w_j / sqrt(1 + ‖w_j‖²),    d_j = scale_j / sqrt(1 + ‖w_j‖²)
    """

    mean: Float[Array, "*batch N D"]
    scale: Float[Array, "*batch N D"]
    loadings: Float[Array, "*batch N D R"]

    def distribution(self) -> dist.Distribution:
        """Return the posterior, batch shape (..., N), event shape (D,)."""
        own_scale = self.scale * lax.rsqrt(1 + jnp.square(self.loadings).sum(-1))
        return dist.LowRankMultivariateNormal(self.mean, own_scale[..., None] * self.loadings, jnp.square(own_scale))


class LowRankNormal:
    """`q(s) = Normal(μ, W Wᵀ + diag(d²))` with `(μ, σ, w)` from the torch guide's `infer`."""

    def __call__(
        self, posterior: LowRankNormalPosterior, target: Float[Array, "*batch N D"] | None = None
    ) -> Float[Array, "*draws N D"]:
        """Declare the site "latent", event shape (D,), in plate "images"; the target is ignored."""
        with numpyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return numpyro.sample("latent", posterior.distribution())
