"""The polar spherical Student-t likelihood: the isotropic Student-t direction, normalized on the sphere."""

from __future__ import annotations

import pyro
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.distributions.spherical_student_t import SphericalStudentT
from vje_ppl.models.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.models.isotropic import geometric_mean
from vje_ppl.models.radius import StudentTRadius, base_measure_with, checked_radius
from vje_ppl.program.polar import to_polar


class PolarSphericalStudentT(PyroModule):
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ SphericalStudentT_ν(ŝ, σ̄)           site "direction"
        r_b ~ StudentT_ν'(‖s‖, radius_scale²)     site "radius", that is, on the residual Δr = r_b − ‖s‖

    The guide's D scales become one, their geometric mean σ̄ = exp(mean_j log scale_j), which is the Student-t's scale
    itself: the direction is that of `PolarStudentT` with scale matrix σ̄² I, of the determinant of diag(scale²),
    divided by its integral over the sphere.

    Base measure: the surface measure of the unit sphere for the direction, over which it integrates to one for any ν
    and scale, and Lebesgue on R for the radius, which by default leaks below zero.

    Args:
        df: degrees of freedom ν of the direction, positive; small is heavy-tailed.
        learn_df: whether ν is learned, starting from `df`.
        radius: the radial site; by default a `StudentTRadius` of unit scale, with `df` and `learn_df` as here.

    Source: polar Student-t sites: the paper; the normalizer on the sphere, one scale and a learned ν: ours.
    """

    def __init__(self, df: float = 1.0, learn_df: bool = False, radius: PyroModule | None = None) -> None:
        super().__init__()
        self.df = DegreesOfFreedom(df, learn_df)
        self.radius = (
            StudentTRadius(df, learn_df) if radius is None else checked_radius(radius, "PolarSphericalStudentT")
        )

    @property
    def base_measure(self) -> str:
        """The measure that its densities refer to; ELBOs can be compared only under the same measure."""
        return base_measure_with(self.radius, "sphere")

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
        df = self.df(latent.dtype)
        pyro.sample("direction", SphericalStudentT(df, location.direction, geometric_mean(scale)), obs=observed[0])
        self.radius(location, scale, observed[1])
