"""The generative model of Variational Joint Embedding over embeddings."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import pyro
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.models.scales import Tied


@runtime_checkable
class Posterior(Protocol):
    """The part of an amortized posterior that the model uses: its scale, and through its shape the number of images."""

    @property
    def scale(self) -> Tensor:
        """Posterior standard deviations, shape (..., N, D)."""


class VJE(PyroModule):
    """One conditional direction a→b: a latent embedding s, and the embedding of view b, observed.

        s ~ prior                                 site "latent", event shape (D,)
        z_b ~ likelihood(s, scale(σ_a))           for the polar likelihoods the sites "direction" and "radius"

    All sites lie in the plate "images". The model shares no parameter with the guide but the posterior's scale σ_a,
    which is passed in: nothing is learned here unless the prior, the likelihood or the scale has parameters.

    Args:
        prior: called without arguments, returns a distribution with event shape (D,).
        likelihood: a Pyro program `likelihood(latent, scale, target)` that declares the observed sites.
        scale: maps the posterior's scale (..., N, D) to the likelihood's; by default it is the same (`Tied`).

    Source: section 1 of the paper's model (abstract, figure 1); the plate and the swappable parts are ours.
    """

    def __init__(self, prior: PyroModule, likelihood: PyroModule, scale: PyroModule | None = None) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood
        self.scale = Tied() if scale is None else scale

    def forward(
        self, posterior: Posterior, target: Float[Tensor, "*batch N D"] | None = None
    ) -> Float[Tensor, "*draws N D"]:
        """Declare the sites of N images.

        Args:
            posterior: the source view's amortized posterior; only its `scale`, shape (..., N, D), is used.
            target: the other view's embeddings, shape (..., N, D), a fixed observation; `None` draws them instead
                (for prior and posterior predictive checks).

        Returns:
            The latent embeddings, shape (..., N, D).
        """
        scale = self.scale(posterior.scale)
        with pyro.plate("images", scale.shape[-2], dim=-1):
            latent = pyro.sample("latent", self.prior())
            self.likelihood(latent, scale, target)
        return latent
