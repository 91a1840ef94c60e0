"""The flow guide: affine couplings on top of the diagonal Normal. Twin of `vje_ppl.guides.flow`."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.distributions.coupling_flow import CouplingFlow, FlowTransform
from vje_ppl.numpyro_port.pytree import as_pytree


@as_pytree
@dataclass(frozen=True)
class FlowPosterior:
    """`s = mean + scale · f((x − mean)/scale; mean)` with x ~ Normal(mean, diag(scale²)), one per image. A pytree."""

    mean: Float[Array, "*batch N D"]
    scale: Float[Array, "*batch N D"]
    flow: CouplingFlow

    def distribution(self) -> dist.Distribution:
        """Return the posterior, batch shape (..., N), event shape (D,)."""
        noise = dist.Normal(jnp.zeros_like(self.mean), jnp.ones_like(self.mean)).to_event(1)
        return dist.TransformedDistribution(noise, [FlowTransform(self.flow, self.mean, self.scale)])


class Flow:
    """`q(s) = flow(base)`, base = Normal(μ, diag(σ²)), with μ, σ and flow from the torch guide's `infer`."""

    def __call__(
        self, posterior: FlowPosterior, target: Float[Array, "*batch N D"] | None = None
    ) -> Float[Array, "*draws N D"]:
        """Declare the site "latent", event shape (D,), in plate "images"; the target is ignored."""
        with numpyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return numpyro.sample("latent", posterior.distribution())
