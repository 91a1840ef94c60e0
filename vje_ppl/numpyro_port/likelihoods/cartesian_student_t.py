"""The Cartesian Student-t likelihood: the raw embedding, without a polar decomposition.

Twin of `vje_ppl.models.likelihoods.cartesian_student_t`.
"""

from __future__ import annotations

import numpyro
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.numpyro_port.distributions import DiagonalStudentT


class CartesianStudentT:
    """Target embedding z_b given the latent s, without a polar decomposition:

        z_b ~ StudentT_ν(s, diag(scale²))         site "embedding"

    If ν is learned, its parameter is "likelihood.df.raw", after its path in the Pyro model.
    """

    base_measure = "cartesian"

    def __init__(self, df: float = 1.0, learn_df: bool = False) -> None:
        self.df = DegreesOfFreedom(df, learn_df, "likelihood.df")

    def __call__(
        self,
        latent: Float[Array, "*draws N D"],
        scale: Float[Array, "*batch N D"],
        target: Float[Array, "*batch N D"] | None = None,
    ) -> None:
        """Declare the site "embedding", event shape (D,)."""
        numpyro.sample("embedding", DiagonalStudentT(self.df(latent.dtype), latent, scale), obs=target)
