"""The generative model of Variational Joint Embedding over embeddings. Twin of `vje_ppl.models.vje`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpyro
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.scales import Tied


@runtime_checkable
class Posterior(Protocol):
    """The part of an amortized posterior that the model uses: its scale, and through its shape the number of images."""

    @property
    def scale(self) -> Any:
        """Posterior standard deviations, shape (..., N, D)."""


class VJE:
    """One conditional direction a→b: a latent embedding s, and the embedding of view b, observed.

    s ~ prior                                 site "latent", event shape (D,)
    z_b ~ likelihood(s, scale(σ_a))           for the polar likelihoods the sites "direction" and "radius"
    """

    def __init__(self, prior: Callable, likelihood: Callable, scale: Callable | None = None) -> None:
        self.prior = prior
        self.likelihood = likelihood
        self.scale = Tied() if scale is None else scale

    def __call__(
        self, posterior: Posterior, target: Float[Array, "*batch N D"] | None = None
    ) -> Float[Array, "*draws N D"]:
        """Declare the sites of N images and return the latents, shape (..., N, D); a target of `None` is drawn."""
        scale = self.scale(posterior.scale)
        with numpyro.plate("images", scale.shape[-2], dim=-1):
            latent = numpyro.sample("latent", self.prior())
            self.likelihood(latent, scale, target)
        return latent
