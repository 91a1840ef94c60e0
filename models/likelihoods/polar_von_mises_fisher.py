"""The polar von Mises-Fisher likelihood: a direction that is normalized on the sphere."""

from __future__ import annotations

import pyro
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.distributions.von_mises_fisher import VonMisesFisher
from vje_ppl.models.isotropic import geometric_mean
from vje_ppl.models.radius import StudentTRadius, base_measure_with, checked_radius
from vje_ppl.program.polar import to_polar


class PolarVonMisesFisher(PyroModule):
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ VonMisesFisher(ŝ, κ),  κ = 1/σ̄²     site "direction"
        r_b ~ StudentT_ν(‖s‖, radius_scale²)      site "radius", that is, on the residual Δr = r_b − ‖s‖

    The guide's D scales become one, their geometric mean σ̄ = exp(mean_j log scale_j), and κ = 1/σ̄² is the
    concentration at which the log density has curvature −1/σ̄² at its mode: for small σ̄ the density is a Normal on the
    tangent space with standard deviation σ̄ per feature.

    Base measure: the surface measure of the unit sphere for the direction, over which it integrates to one for any
    scale, and Lebesgue on R for the radius, which by default leaks below zero.

    Args:
        radius: the radial site; by default a `StudentTRadius` of one degree of freedom and unit scale.

    Source: ours; the density is that of Mardia and Jupp (2000), the polar form the paper's.
    """

    def __init__(self, radius: PyroModule | None = None) -> None:
        super().__init__()
        self.radius = StudentTRadius() if radius is None else checked_radius(radius, "PolarVonMisesFisher")

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
        concentration = 1 / geometric_mean(scale).square()
        pyro.sample("direction", VonMisesFisher(location.direction, concentration), obs=observed[0])
        self.radius(location, scale, observed[1])
