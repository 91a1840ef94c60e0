"""The diagonal Normal guide. Twin of `vje_ppl.guides.diagonal_normal`."""

from __future__ import annotations

from dataclasses import dataclass

import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.pytree import as_pytree


@as_pytree
@dataclass(frozen=True)
class DiagonalNormalPosterior:
    """`q(s) = Normal(mean, diag(scale²))`, one per image. A pytree; both fields have shape (..., N, D)."""

    mean: Float[Array, "*batch N D"]
    scale: Float[Array, "*batch N D"]

    def distribution(self) -> dist.Distribution:
        """Return the posterior, batch shape (..., N), event shape (D,)."""
        return dist.Normal(self.mean, self.scale).to_event(1)


class DiagonalNormal:
    """`q(s) = Normal(μ, diag(σ²))` with `(μ, σ)` from the torch guide's `infer`."""

    def __call__(
        self, posterior: DiagonalNormalPosterior, target: Float[Array, "*batch N D"] | None = None
    ) -> Float[Array, "*draws N D"]:
        """Declare the site "latent", event shape (D,), in plate "images"; the target is ignored."""
        with numpyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return numpyro.sample("latent", posterior.distribution())
