"""The polar tangent Student-t likelihood: a direction with a scale for each feature, and a bound on the evidence."""

from __future__ import annotations

import pyro
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.distributions import TangentStudentT
from vje_ppl.models.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.models.radius import StudentTRadius, base_measure_with, checked_radius
from vje_ppl.program.polar import to_polar


class PolarTangentStudentT(PyroModule):
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ TangentStudentT_ν(ŝ, scale)         site "direction"
        r_b ~ StudentT_ν'(‖s‖, radius_scale²)     site "radius", that is, on the residual Δr = r_b − ‖s‖

    The guide's standard deviations, feature by feature, are the direction's scale, on the tangent plane at ŝ.

    Base measure: the surface measure of the unit sphere for the direction, over which it integrates to less than one
    (a subdensity), and Lebesgue on R for the radius, which by default leaks below zero. So the ELBO is a lower bound on
    the log evidence of a model whose densities integrate to at most one.

    Args:
        df: degrees of freedom ν of the direction, positive; small is heavy-tailed.
        learn_df: whether ν is learned, starting from `df`.
        reference: whether the direction's density is the reference that the subdensity bounds from below. It is for
            evaluation: in training its factor would grow without bound towards the antipode.
        radius: the radial site; by default a `StudentTRadius` of unit scale, with `df` and `learn_df` as here.

    Source: a directional factor on the sphere with the guide's feature-wise variances, and a bound for an associated
    subdensity: the paper (abstract of the published version). The density itself: ours.
    """

    def __init__(
        self, df: float = 1.0, learn_df: bool = False, reference: bool = False, radius: PyroModule | None = None
    ) -> None:
        super().__init__()
        self.df = DegreesOfFreedom(df, learn_df)
        self.reference = reference
        self.radius = StudentTRadius(df, learn_df) if radius is None else checked_radius(radius, "PolarTangentStudentT")

    @property
    def base_measure(self) -> str:
        """The measure that its densities refer to; ELBOs can be compared only under the same measure."""
        return base_measure_with(self.radius, "sphere, at most one")

    def forward(
        self,
        latent: Float[Tensor, "*draws N D"],
        scale: Float[Tensor, "*batch N D"],
        target: Float[Tensor, "*batch N D"] | None = None,
    ) -> None:
        """Declare the sites "direction" (event shape (D,)) and "radius" (event shape ()).

        Args:
            latent: s, shape (..., N, D), with a leading dimension for several particles.
            scale: the shared standard deviations, positive, shape (..., N, D).
            target: the embedding to observe, shape (..., N, D); `None` draws direction (on the sphere) and radius.
        """
        location = to_polar(latent)
        observed = (None, None) if target is None else to_polar(target)
        direction = TangentStudentT(self.df(latent.dtype), location.direction, scale, self.reference)
        pyro.sample("direction", direction, obs=observed[0])
        self.radius(location, scale, observed[1])
