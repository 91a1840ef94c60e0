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
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖ and σ̄ the geometric mean of the scales:

        ẑ_b ~ SphericalStudentT_ν(ŝ, σ̄)           site "direction"
        r_b ~ StudentT_ν'(‖s‖, radius_scale²)     site "radius", that is, on the residual Δr = r_b − ‖s‖

    If ν is learned, its parameter is "likelihood.df.raw", after its path in the Pyro model.
    """

    def __init__(self, df: float = 1.0, learn_df: bool = False, radius: Callable[..., None] | None = None) -> None:
        self.df = DegreesOfFreedom(df, learn_df, "likelihood.df")
        self.radius = (
            StudentTRadius(df, learn_df) if radius is None else checked_radius(radius, "PolarSphericalStudentT")
        )

    @property
    def base_measure(self) -> str:
        """The measure that its densities refer to; ELBOs can be compared only under the same measure."""
        return base_measure_with(self.radius, "sphere")

    def __call__(
        self,
        latent: Float[Array, "*draws N D"],
        scale: Float[Array, "*batch N D"],
        target: Float[Array, "*batch N D"] | None = None,
    ) -> None:
        """Declare the sites "direction" (event shape (D,)) and "radius" (event shape ())."""
        location = to_polar(latent)
        observed = (None, None) if target is None else to_polar(target)
        df = self.df(latent.dtype)
        numpyro.sample("direction", SphericalStudentT(df, location.direction, geometric_mean(scale)), obs=observed[0])
        self.radius(location, scale, observed[1])
