"""The Cartesian Student-t likelihood: the raw embedding, without a polar decomposition.

Twin of `vje_ppl.models.likelihoods.cartesian_student_t`.
"""

from __future__ import annotations

import numpyro
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.numpyro_port.distributions import DiagonalStudentT


class CartesianStudentT:
    """Target embedding z_b given the latent s, as it comes:

        z_b ~ StudentT_ν(s, diag(scale²))         site "embedding"

    The guide's standard deviations, feature by feature, are the scale: here they are those of the latent and of its
    observation in the same units. Where ν is learned, its parameter is "likelihood.df.raw", its path in the Pyro model.

    Base measure: Lebesgue on R^D, over which it integrates to one.

    Args:
        df: degrees of freedom ν, positive; small is heavy-tailed.
        learn_df: whether ν is learned, starting from `df`.

    Source: ours, the ablation of the paper's polar decomposition.
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
        """Declare the site "embedding", event shape (D,).

        Args:
            latent: s, shape (..., N, D).
            scale: the shared standard deviations, positive, shape (..., N, D).
            target: the embedding to observe, shape (..., N, D); `None` draws it.
        """
        numpyro.sample("embedding", DiagonalStudentT(self.df(latent.dtype), latent, scale), obs=target)
