"""The Cartesian Student-t likelihood: the raw embedding, without a polar decomposition."""

from __future__ import annotations

import pyro
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.distributions import DiagonalStudentT
from vje_ppl.models.degrees_of_freedom import DegreesOfFreedom


class CartesianStudentT(PyroModule):
    """Target embedding z_b given the latent s, without a polar decomposition:

        z_b ~ StudentT_ν(s, diag(scale²))         site "embedding"

    The guide's standard deviations, feature by feature, are the scale: here they are those of the latent and of its
    observation in the same units.

    Base measure: Lebesgue on R^D, over which it integrates to one.

    Args:
        df: degrees of freedom ν, positive; small is heavy-tailed.
        learn_df: whether ν is learned, starting from `df`.

    Source: ours, the ablation of the paper's polar decomposition.
    """

    base_measure = "cartesian"

    def __init__(self, df: float = 1.0, learn_df: bool = False) -> None:
        super().__init__()
        self.df = DegreesOfFreedom(df, learn_df)

    def forward(
        self,
        latent: Float[Tensor, "*draws N D"],
        scale: Float[Tensor, "*batch N D"],
        target: Float[Tensor, "*batch N D"] | None = None,
    ) -> None:
        """Declare the site "embedding", event shape (D,).

        Args:
            latent: s, shape (..., N, D), with a leading dimension for several particles.
            scale: the shared standard deviations, positive, shape (..., N, D).
            target: the embedding to observe, shape (..., N, D); `None` draws it.
        """
        pyro.sample("embedding", DiagonalStudentT(self.df(latent.dtype), latent, scale), obs=target)
