"""The polar spherical Student-t likelihood: the isotropic Student-t direction, normalized on the sphere.

Twin of `vje_ppl.models.likelihoods.polar_spherical_student_t`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpyro
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.numpyro_port.distributions.spherical_student_t import SphericalStudentT
from vje_ppl.numpyro_port.isotropic import geometric_mean
from vje_ppl.numpyro_port.polar import to_polar
from vje_ppl.numpyro_port.radius import StudentTRadius, base_measure_with, checked_radius


class PolarSphericalStudentT:
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ SphericalStudentT_ν(ŝ, σ̄)           site "direction"
        r_b ~ StudentT_ν'(‖s‖, radius_scale²)     site "radius", that is, on the residual Δr = r_b − ‖s‖

    The guide's D scales become one, their geometric mean σ̄ = exp(mean_j log scale_j), which is the Student-t's scale
    itself: the direction is that of `PolarStudentT` with scale matrix σ̄² I, of the determinant of diag(scale²),
    divided by what it integrates to on the sphere. Where ν is learned, its parameter is "likelihood.df.raw", its path
    in the Pyro model.

    Base measure: the surface measure of the unit sphere for the direction, over which it integrates to one whatever ν
    and the scale, and Lebesgue on R for the radius, which by default leaks below zero.

    Args:
        df: degrees of freedom ν of the direction, positive; small is heavy-tailed.
        learn_df: whether ν is learned, starting from `df`.
        radius: the radial site; by default a `StudentTRadius` of unit scale, with `df` and `learn_df` as here.

    Source: polar Student-t sites: the paper; the normalizer on the sphere, one scale and a learned ν: ours.
    """

    def __init__(self, df: float = 1.0, learn_df: bool = False, radius: Callable[..., None] | None = None) -> None:
        self.df = DegreesOfFreedom(df, learn_df, "likelihood.df")
        self.radius = (
            StudentTRadius(df, learn_df) if radius is None else checked_radius(radius, "PolarSphericalStudentT")
        )

    @property
    def base_measure(self) -> str:
        """The measure that its densities refer to; only likelihoods of the same one compare."""
        return base_measure_with(self.radius, "sphere")

    def __call__(
        self,
        latent: Float[Array, "*draws N D"],
        scale: Float[Array, "*batch N D"],
        target: Float[Array, "*batch N D"] | None = None,
    ) -> None:
        """Declare the sites "direction" (event shape (D,)) and "radius" (event shape ()).

        Args:
            latent: s, shape (..., N, D).
            scale: the shared standard deviations, positive, shape (..., N, D).
            target: the embedding to observe, shape (..., N, D); `None` draws direction (on the sphere) and radius.
        """
        location = to_polar(latent)
        observed = (None, None) if target is None else to_polar(target)
        df = self.df(latent.dtype)
        numpyro.sample("direction", SphericalStudentT(df, location.direction, geometric_mean(scale)), obs=observed[0])
        self.radius(location, scale, observed[1])
